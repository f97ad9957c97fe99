"""Database fixtures: one PostgreSQL server per session, one database per test.

`database` is a clone of a migrated template: `database.url("cart")` is the address of a login role,
`database.url()` the superuser's, `database.connect(role)` a connection, and
`with database.server.outage():` takes the whole server away for a while.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest

from localfaas.database import migrate
from tests.support.postgres import PROJECT, TEMPLATE, Database, PostgresServer

# A machine that is busy is no fault of what is tested.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of one file in one process, and all those that use the whole shop in one, which then starts once."""
    for item in items:
        whole_shop = "shop" in getattr(item, "fixturenames", ()) and item.get_closest_marker("e2e")
        item.add_marker(pytest.mark.xdist_group("shop" if whole_shop else str(item.path)))


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """A server in a short temporary directory, gone with all its databases at the end."""
    directory = Path(tempfile.mkdtemp(prefix="magasin-pg-"))
    server = PostgresServer(directory)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The session's server, with the migrated template in it and a password for each role."""
    with running_server() as server:
        migrate(server.url(TEMPLATE), PROJECT / "db" / "migrations", Path(sys.executable).parent / "dbmate")
        server.set_passwords()
        yield server


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    """A database of this test's own, migrated and empty."""
    clone = postgres_server.create_database(TEMPLATE)
    yield clone
    clone.drop()
