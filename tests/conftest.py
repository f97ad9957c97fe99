"""Database fixtures: one PostgreSQL server per session, one database per test.

`database` is a clone of a migrated template: `database.url("cart")` is the address of a login role,
`database.url()` the superuser's, `database.connect(role)` a connection, and
`with database.server.outage():` takes the whole server away for a while.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from localfaas.database import migrate
from tests.support.postgres import PROJECT, TEMPLATE, Database, PostgresServer

# A machine that is busy is no fault of what is tested.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

WHOLE_SHOP = "tests/e2e/"
PLATFORMS_OF_THEIR_OWN = frozenset(
    {
        "tests/e2e/test_localfaas.py",
        "tests/e2e/test_autoscaling.py",
        "tests/e2e/test_data_care.py",
        "tests/e2e/test_documents.py",
    }
)


class FileScheduling(LoadFileScheduling):  # type: ignore[misc]
    """The tests of one file in one process, and all files that use the whole shop in one, which then starts once."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return WHOLE_SHOP if file.startswith(WHOLE_SHOP) and file not in PLATFORMS_OF_THEIR_OWN else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling | None:
    return FileScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


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


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """What a power cut leaves is not tested; a process that is killed loses nothing of what it has written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True)
def _settled() -> Iterator[None]:
    """What a test's requests left to be logged is in that test's output."""
    yield
    later = sys.modules.get("functions.shared.later")
    if later is not None:
        later.settle()


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    """A database of this test's own, migrated and empty."""
    clone = postgres_server.create_database(TEMPLATE)
    yield clone
    clone.drop()
