"""A web shop is copied while customers buy, brought back, and goes on; whatever does not fit changes nothing."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest
from rich.console import Console

from localfaas.backup import backup, connect_for_text, contents
from localfaas.database import migrate
from localfaas.manifest import MANIFEST_FILE, BackupError, read_backup, render
from localfaas.progress import Steps
from localfaas.restore import NEW, REPLACED, RestoreError, restore, server
from localfaas.settings import Settings
from localfaas.up import SUPERUSER_SECRET
from tests.support.chain import make_app, shut
from tests.support.ports import free_offset
from tests.support.postgres import PROJECT, Database, PostgresServer
from tests.support.waiting import wait_for
from tests.support.webshop import WebShop, running_webshop

MIGRATIONS = sorted((PROJECT / "db" / "migrations").glob("*.sql"))
BUYERS, BEFORE = 3, 4
STATE_OF_ORDER = "SELECT status FROM orders.orders WHERE order_id = %s"


def steps() -> Steps:
    return Steps(Console(quiet=True))


@dataclass(frozen=True)
class Copied:
    """A backup that was made amid trade, and the orders that customers had been told of before it began."""

    folder: Path
    acknowledged: list[str]


def settings_of(database: Database, state: Path) -> Settings:
    return Settings(project=PROJECT, state=state, database_url=database.url())


@pytest.fixture(scope="module")
def shop(postgres_server: PostgresServer) -> Iterator[WebShop]:
    with running_webshop(postgres_server) as shop:
        shop.renew()
        yield shop


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def copied(shop: WebShop, state: Path) -> Copied:
    """Customers buy before, during and after the backup."""
    done, told, ids = threading.Event(), threading.Lock(), list[str]()

    def keep_buying(buyer: int) -> None:
        who = shop.customer(f"buyer-{buyer}")
        while not done.is_set():
            order = shop.bought(who, A=1, B=2)
            with told:
                ids.append(order["order_id"])

    def bought(more: int) -> bool:
        with told:
            return len(ids) >= more

    with ThreadPoolExecutor(BUYERS) as pool:
        buying = [pool.submit(keep_buying, buyer) for buyer in range(BUYERS)]
        try:
            wait_for(lambda: bought(BEFORE), what="the first orders")
            with told:
                before = list(ids)
            folder, _ = backup(settings_of(shop.database, state), None, steps())
            wait_for(lambda: bought(len(before) + BUYERS), what="orders after it")
        finally:
            done.set()
        for one in buying:
            one.result()
    return Copied(folder, before)


def close_shop(shop: WebShop) -> None:
    """As `make down` does: nobody is connected to the database any more."""
    for app in shop.gateway.apps.values():
        shut(app)
    if shop.connection is not None:
        shop.connection.close()


def open_shop(shop: WebShop) -> None:
    shop.gateway.apps = {name: make_app(name, shop.environ) for name in shop.gateway.apps}


def databases(server: PostgresServer) -> set[str]:
    with closing(psycopg2.connect(server.url("postgres"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        return {row[0] for row in cursor.fetchall()}


def content(database: Database) -> dict[str, list[str]]:
    with closing(connect_for_text(database.url())) as connection:
        return contents(connection)


def test_shop_that_was_copied_amid_trade_comes_back_with_its_books_in_order(
    shop: WebShop, copied: Copied, state: Path
) -> None:
    close_shop(shop)
    restore(settings_of(shop.database, state), copied.folder, steps())
    assert content(shop.database) == read_backup(copied.folder).tables
    open_shop(shop)
    shop.recover()
    shop.check_books()
    assert copied.acknowledged
    for order_id in copied.acknowledged:
        assert shop.execute(STATE_OF_ORDER, (order_id,)) == [("paid",)]
    shop.bought(shop.customer("late"), A=1)
    shop.check_books()
    assert not {name for name in databases(shop.database.server) if name.endswith((NEW, REPLACED))}


def test_files_are_their_owners_alone_and_hold_no_secret(copied: Copied, shop: WebShop) -> None:
    assert copied.folder.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in copied.folder.iterdir()) == ["database.dump", "manifest.json"]
    whole = b""
    for path in copied.folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        whole += path.read_bytes()
    passwords = [*shop.database.server.passwords.values()]
    assert not [password for password in passwords if password.encode() in whole]
    assert b"BEGIN PRIVATE KEY" not in whole


def test_database_in_use_is_not_replaced(shop: WebShop, copied: Copied, state: Path) -> None:
    with closing(shop.database.connect("cart")):
        before = content(shop.database)
        with pytest.raises(RestoreError, match=r"in use by .*cart"):
            restore(settings_of(shop.database, state), copied.folder, steps())
        assert content(shop.database) == before


def test_connection_that_is_on_its_way_out_is_waited_for(
    database: Database, copied: Copied, state: Path
) -> None:
    leaving = threading.Timer(0.5, database.connect("cart").close)
    leaving.start()
    restore(settings_of(database, state), copied.folder, steps())
    leaving.join()


def test_dump_that_is_not_what_the_manifest_says_is_found_and_nothing_is_changed(
    database: Database, copied: Copied, tmp_path: Path
) -> None:
    before = content(database)
    other = tmp_path / "other"
    shutil.copytree(copied.folder, other)
    manifest = read_backup(other)
    tables = {**manifest.tables, "sales.sales": ["1", "0"]}
    rows, _ = tables["orders.orders"]
    tables["orders.orders"] = [rows, "1"]
    (other / MANIFEST_FILE).write_text(render(replace(manifest, tables=tables)))
    with pytest.raises(RestoreError, match=r"not as the backup says: orders\.orders, sales\.sales$"):
        restore(settings_of(database, tmp_path), other, steps())
    assert content(database) == before
    assert not {name for name in databases(database.server) if name.endswith((NEW, REPLACED))}


def project_of(path: Path, migrations: list[Path]) -> Path:
    """A project with these migrations and nothing else."""
    (path / "db" / "migrations").mkdir(parents=True)
    for file in migrations:
        shutil.copy(file, path / "db" / "migrations")
    return path


def test_backup_of_an_older_migration_is_migrated_and_of_a_newer_one_is_refused(
    postgres_server: PostgresServer, database: Database, copied: Copied, tmp_path: Path
) -> None:
    old = project_of(tmp_path / "project", MIGRATIONS[:-1])
    older = postgres_server.create_database()
    settings = Settings(project=old, state=tmp_path / "state", database_url=older.url())
    try:
        migrate(older.url(), old / "db" / "migrations", settings.programs / "dbmate")
        folder, manifest = backup(settings, None, steps())
        assert manifest.migration == MIGRATIONS[-2].name[:4]
        with pytest.raises(RestoreError, match="newer"):
            restore(settings, copied.folder, steps())
        restore(settings_of(older, tmp_path), folder, steps())
        _, now = backup(settings_of(older, tmp_path), None, steps())
        assert now.migration == MIGRATIONS[-1].name[:4]
        assert now.privileges == manifest.privileges
        assert ["", "CONNECT"] not in now.privileges
        assert ["cart", "CONNECT"] in now.privileges
    finally:
        older.drop()


def roles(connection: psycopg2.extensions.connection) -> list[tuple[Any, ...]]:
    """Every role with its settings."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolname, rolcanlogin, rolsuper, (SELECT array_agg(one ORDER BY one) FROM unnest(rolconfig) AS one)"
            " FROM pg_roles ORDER BY rolname"
        )
        return cursor.fetchall()


def test_shop_comes_back_in_a_home_where_nothing_ever_ran(shop: WebShop, copied: Copied) -> None:
    state = Path(tempfile.mkdtemp(prefix="mg-", dir="/tmp"))
    settings = Settings(project=PROJECT, state=state, port_offset=free_offset())
    with closing(shop.database.connect()) as connection:
        expected = roles(connection)
    try:
        restore(settings, copied.folder, steps())
        with server(settings) as url:
            with closing(connect_for_text(url)) as connection:
                assert contents(connection) == read_backup(copied.folder).tables
            with closing(psycopg2.connect(url)) as connection:
                assert roles(connection) == expected
        assert (settings.secrets / SUPERUSER_SECRET).stat().st_mode & 0o777 == 0o600
        with pytest.raises(BackupError, match="does not answer"):
            backup(settings, None, steps())
    finally:
        shutil.rmtree(state, ignore_errors=True)
