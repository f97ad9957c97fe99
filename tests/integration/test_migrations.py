"""Migrations go up, down and up again, and end where they began."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from localfaas.postgres import programs_directory
from localfaas.settings import Settings
from tests.conftest import running_server
from tests.support.migrations import FILES, down, migrate_first, up
from tests.support.postgres import PROJECT, Database, PostgresServer


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this file's own: roles belong to a whole server, and these tests drop them."""
    with running_server() as server:
        yield server


@pytest.fixture
def empty(server: PostgresServer) -> Iterator[Database]:
    database = server.create_database()
    yield database
    database.drop()


def dump(database: Database) -> list[str]:
    """The schema with owners, grants and roles, as pg_dump writes it; without what changes from run to run."""
    programs = programs_directory(Settings.load(os.environ, PROJECT))
    if not (programs / "pg_dump").exists():
        pytest.skip(f"no pg_dump in {programs}")
    options = ["--schema-only", "--exclude-table=public.schema_migrations"]
    text = subprocess.run(
        [programs / "pg_dump", *options, database.url()], capture_output=True, text=True, check=True
    ).stdout
    lines = [line for line in text.splitlines() if line and not line.startswith(("--", "\\"))]
    return lines + settings_of_roles(database)


def settings_of_roles(database: Database) -> list[str]:
    """Roles with their settings, and who may do what with the database, whether written down or by default."""
    statement = """
        SELECT concat_ws(' ', rolname, rolcanlogin, rolsuper, rolconfig)
        FROM pg_roles
        WHERE rolname !~ '^pg_'
        UNION ALL
        SELECT concat_ws(' ', 'database', grant_.grantee::regrole, grant_.privilege_type)
        FROM pg_database, aclexplode(COALESCE(datacl, acldefault('d', datdba))) AS grant_
        WHERE datname = current_database()
        ORDER BY 1
        """
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return [row[0] for row in cursor.fetchall()]


def test_every_migration_has_a_number_of_its_own_and_says_why():
    numbers = [path.name.split("_", 1)[0] for path in FILES]
    assert numbers == [f"{number:04}" for number in range(1, len(FILES) + 1)]
    for path in FILES:
        text = path.read_text()
        assert text.startswith("-- "), path.name
        assert "\n-- migrate:up\n" in text, path.name
        assert text.split("\n-- migrate:down\n")[1].strip(), path.name


def test_each_migration_taken_back_leaves_what_was_there_before(empty: Database):
    """A dump before each one; then back down, comparing step by step."""
    before = []
    for number in range(1, len(FILES) + 1):
        before.append(dump(empty))
        migrate_first(empty, number)
    for expected in reversed(before):
        down(empty)
        assert dump(empty) == expected


def test_up_after_down_is_the_same_as_up(empty: Database):
    up(empty)
    first = dump(empty)
    for _ in FILES:
        down(empty)
    up(empty)
    assert dump(empty) == first


def test_up_twice_is_harmless(empty: Database):
    up(empty)
    first = dump(empty)
    up(empty)
    assert dump(empty) == first


def test_two_databases_of_one_server_share_the_roles(server: PostgresServer, empty: Database):
    other = server.create_database()
    up(empty)
    up(other)
    for _ in FILES:
        down(empty)
    connection = psycopg2.connect(other.url())
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname IN ('cart', 'cart_owner')")
        assert cursor.fetchone() == (2,)
        cursor.execute("SELECT has_table_privilege('cart', 'cart.items', 'SELECT')")
        assert cursor.fetchone() == (True,)
    connection.close()
    for _ in FILES:
        down(other)
    other.drop()


def test_down_drops_every_role():
    with running_server() as server:  # on which nobody has made a role before
        database = server.create_database()
        before = settings_of_roles(database)
        up(database)
        for _ in FILES:
            down(database)
        assert settings_of_roles(database) == before
