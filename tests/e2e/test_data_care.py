"""A store is backed up while its tills sell, and brought back, by the commands that a person would give."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
import yaml
from rich.console import Console

from localfaas.backup import connect_for_text, contents
from localfaas.database import DATABASE, with_database
from localfaas.manifest import read_backup
from localfaas.progress import Steps
from localfaas.restore import NEW, REPLACED, RestoreError, restore
from localfaas.up import admin_url
from tests.support.platform import PROJECT, Platform, discard, new_platform
from tests.support.shoppers import Person, Street
from tests.support.waiting import wait_for
from tests.support.webshop import BOOKS

pytestmark = pytest.mark.e2e

FUNCTIONS = ("products", "inventory", "sales")
STORE, PRICE_CENTS, IN_STOCK = "S1", 1_250, 10_000
TILLS, BEFORE = 2, 6


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The shop with what a till needs and no more, so that it is up twice in little time."""
    project = tmp_path_factory.mktemp("project") / "store"
    for folder in (
        "template",
        "kong",
        "db/migrations",
        "functions/shared",
        *(f"functions/{name}" for name in FUNCTIONS),
    ):
        shutil.copytree(PROJECT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    stack = yaml.safe_load((PROJECT / "stack.yml").read_text())
    stack["functions"] = {name: stack["functions"][name] for name in FUNCTIONS}
    (project / "stack.yml").write_text(yaml.safe_dump(stack))
    (project / "localfaas.yml").write_text("secrets: python -m db.seed.secrets\n")
    platform = new_platform(project)
    try:
        platform.run("up")
        yield platform
    finally:
        discard(platform)


@dataclass
class Till:
    """A till that sells one unit after the other, and remembers what it was told."""

    clerk: Person
    register: str
    sku: str

    def open(self) -> None:
        self.clerk.done("POST", f"/sales/registers/{self.register}/open", {"opening_cash_cents": 0})

    def sell(self) -> str:
        lines = [{"sku": self.sku, "quantity": 1}]
        total = self.clerk.done("POST", "/sales/quote", {"lines": lines})["total_cents"]
        tender = {"kind": "card", "amount_cents": total, "reference": "T1"}
        body = {"register": self.register, "lines": lines, "tenders": [tender]}
        answer = self.clerk.insist("/sales", body)
        assert answer.status_code == 201, answer.text
        sale_id: str = answer.json()["sale_id"]
        return sale_id


def backed_up_amid_sales(store: Platform, tills: list[Till]) -> tuple[Path, list[str]]:
    """A backup, and the sales that had been acknowledged when it began; the tills sell before, meanwhile and after."""
    done, told = threading.Event(), list[str]()

    def keep_selling(till: Till) -> None:
        while not done.is_set():
            told.append(till.sell())

    with ThreadPoolExecutor(len(tills)) as pool:
        selling = [pool.submit(keep_selling, till) for till in tills]
        try:
            wait_for(lambda: len(told) >= BEFORE, what="the first sales")
            before = list(told)
            store.run("backup")
            after = len(told)
            wait_for(lambda: len(told) > after, what="sales after the backup")
        finally:
            done.set()
        for one in selling:
            one.result()
    (folder,) = (store.state / "backups").iterdir()
    return folder, before


def ask(store: Platform, statement: str, database: str = DATABASE) -> list[tuple[object, ...]]:
    url = with_database(admin_url(store.settings), database)
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def content(store: Platform) -> dict[str, list[str]]:
    with closing(connect_for_text(admin_url(store.settings))) as connection:
        return contents(connection)


def databases(store: Platform) -> set[str]:
    """Names of databases, none while the server is away."""
    try:
        return {str(name) for (name,) in ask(store, "SELECT datname FROM pg_database", "postgres")}
    except psycopg2.OperationalError:
        return set()


def kill_a_restore(store: Platform, folder: Path) -> None:
    """kill -9 while the new database grows beside the old one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "localfaas", "--project", store.project, "restore", folder, "--yes"],
        env=store.environment(),
        cwd=store.project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while not any(name.endswith(NEW) for name in databases(store)):
            assert time.monotonic() < deadline, "no new database"
            assert process.poll() is None, "the restore has ended"
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL


def test_backup_amid_sales_is_brought_back_whole_and_a_killed_restore_changes_nothing(store: Platform):
    street = Street(store)
    head, sku = street.head_office(), street.new_product(PRICE_CENTS, STORE, IN_STOCK)
    tills = [Till(street.staff(STORE), f"R{number}", sku) for number in range(TILLS)]
    for till in tills:
        till.open()
    folder, acknowledged = backed_up_amid_sales(store, tills)
    manifest = read_backup(folder)
    latest = content(store)
    assert int(latest["sales.sales"][0]) > int(manifest.tables["sales.sales"][0]) >= len(acknowledged)

    with pytest.raises(RestoreError, match="the platform is up: `localfaas down` first"):
        restore(store.settings, folder, Steps(Console(quiet=True)))
    tills[0].sell()
    latest = content(store)

    store.run("down")
    kill_a_restore(store, folder)
    assert content(store) == latest
    output = store.run("restore", str(folder), "--yes").stdout
    assert f"{manifest.rows:,} rows of {manifest.made_at}" in output
    store.run("up")

    assert content(store) == manifest.tables
    assert {name: ask(store, statement) for name, statement in BOOKS.items()} == {name: [] for name in BOOKS}
    assert head.done("GET", "/inventory/invariants")["holds"]
    for sale_id in acknowledged:
        assert head.done("GET", f"/sales/{sale_id}")["status"] == "complete"
    tills[1].sell()
    assert not {name for name in databases(store) if name.endswith((NEW, REPLACED))}
    for person in (head, *(till.clerk for till in tills)):
        person.leave()
