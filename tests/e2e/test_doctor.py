"""`localfaas doctor` on the shop as it runs: all is well; then four faults are planted, and each is named."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import psycopg2
import pytest
import requests

from localfaas.supervisor import starts_file
from localfaas.up import admin_url
from tests.support.platform import PROJECT, Platform
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

BESIDE = {"alerts", "memory", "disk"}
"""What other tests and programs on this machine bring about."""


@pytest.fixture
def platform(shop: Platform) -> Platform:
    if "prometheus" not in shop.processes():
        pytest.skip("neither a Prometheus on PATH nor Debian's package is to be had here")
    return shop


def faults(platform: Platform) -> dict[str, list[dict[str, str]]]:
    """What doctor finds wrong, by check."""
    told = platform.run("doctor", "--json", check=False)
    rows = json.loads(told.stdout)
    wrong = [row for row in rows if row["state"] == "wrong"]
    assert told.returncode == (1 if wrong else 0), told.stderr
    assert all(row["remedy"] for row in wrong)
    found: dict[str, list[dict[str, str]]] = {}
    for row in wrong:
        if row["check"] not in BESIDE:
            found.setdefault(row["check"], []).append(row)
    return found


@contextmanager
def readable_secret(platform: Platform) -> Iterator[str]:
    path = platform.secrets / "cart-db"
    path.chmod(0o644)
    try:
        yield str(path)
    finally:
        path.chmod(0o600)


@contextmanager
def program_that_cannot_start(platform: Platform, name: str) -> Iterator[None]:
    """However often it is tried, it has come back once, so that no alert takes it for one that flaps, here or in other tests."""
    script = platform.settings.supervisor / "conf.d" / f"{name}.sh"
    good, pid = script.read_text(), platform.processes()[name]["pid"]
    starts = starts_file(platform.settings, name)
    bad = good.replace(f"echo >> {starts}", f"printf '\\n\\n' > {starts}; echo no such luck; exit 1", 1)
    assert bad != good
    script.write_text(bad)
    try:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: platform.processes()[name]["state"] == "BACKOFF", 10, f"{name} to fail")
        yield
    finally:
        script.write_text(good)


@contextmanager
def edge_with_another_file(platform: Platform) -> Iterator[None]:
    """The edge is given what kong.yml does not say; the file is the project's, and others read it now."""
    text = (PROJECT / "kong" / "kong.yml").read_text()
    other = text.replace("retries: 2", "retries: 3", 1)
    assert other != text
    url = platform.settings.url("edge-admin") + "/config"
    answer = requests.post(url, data=other.encode(), headers={"Content-Type": "text/yaml"}, timeout=30)
    assert answer.status_code == 201, answer.text
    try:
        yield
    finally:
        platform.run("edge-reload")


@contextmanager
def stock_past_its_ledger(platform: Platform) -> Iterator[str]:
    with closing(psycopg2.connect(admin_url(platform.settings))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            cursor.execute(
                "INSERT INTO inventory.stock (location, sku, on_hand) VALUES ('S1', 'PLANTED', 3) RETURNING sku"
            )
            try:
                yield "PLANTED at S1: 3 on hand, 0 by the ledger"
            finally:
                cursor.execute("DELETE FROM inventory.stock WHERE sku = 'PLANTED'")


def test_all_is_well_until_something_is_planted_and_each_fault_is_named(platform: Platform) -> None:
    wait_for(lambda: not faults(platform), 60, "all well")
    with ExitStack() as planted:
        secret = planted.enter_context(readable_secret(platform))
        planted.enter_context(edge_with_another_file(platform))
        stock = planted.enter_context(stock_past_its_ledger(platform))
        planted.enter_context(program_that_cannot_start(platform, "payments-1"))
        found = faults(platform)
    assert {"secrets", "processes", "kong.yml", "books"} <= found.keys()
    (row,) = found["secrets"]
    assert row["found"].startswith(f"{secret} has the mode 644")
    assert f"chmod 600 {secret}" in row["remedy"]
    (row,) = found["processes"]
    assert row["found"].startswith("payments-1 is ")
    assert row["found"].endswith("its log ends: no such luck")
    assert "make logs f=payments-1" in row["remedy"]
    (row,) = found["kong.yml"]
    assert "retries 3 → 2" in row["found"]
    assert row["remedy"] == "`make edge-reload`"
    (row,) = found["books"]
    assert row["found"] == stock
    assert "StockDiffersFromLedger" in row["remedy"]
    wait_for(lambda: platform.processes()["payments-1"]["state"] == "RUNNING", 30, "payments again")
