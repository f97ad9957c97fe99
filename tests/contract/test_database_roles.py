"""Each function's role can do what it needs and nothing else; the migrations are held to that, table by table."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import psycopg2.extensions
import pytest
import yaml
from psycopg2 import errors, sql

from localfaas.database import migrate
from tests.support.postgres import PROJECT, Database, PostgresServer

STACK = yaml.safe_load((PROJECT / "stack.yml").read_text())
FUNCTIONS = sorted(
    name for name, function in STACK["functions"].items() if f"{name}-db" in function.get("secrets", [])
)
OTHERS = [(role, schema) for role in FUNCTIONS for schema in FUNCTIONS if role != schema]
MONITORING = "monitoring"
"""The role of PostgreSQL's exporter, and the schema of the views that it reads; no function."""
EVERYBODY = sorted([*FUNCTIONS, MONITORING])


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    """Migrated by dbmate itself: a clone would lack the grants on the database."""
    database = postgres_server.create_database()
    migrate(database.url(), PROJECT / "db" / "migrations", Path(sys.executable).parent / "dbmate")
    yield database
    database.drop()


def rows(database: Database, statement: str, **parameters: object) -> list[tuple[object, ...]]:
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def logged_in(database: Database, role: str) -> psycopg2.extensions.connection:
    """A session that may write, also of a role whose sessions only read unless they say otherwise."""
    return psycopg2.connect(database.url(role), options="-c default_transaction_read_only=off")


def refused(database: Database, role: str, statement: str | sql.Composable) -> bool:
    """Whether PostgreSQL refuses `statement` to `role` for lack of privilege."""
    with closing(logged_in(database, role)) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(statement)
        except errors.InsufficientPrivilege:
            return True
        return False


def tables(database: Database, schema: str) -> list[str]:
    found = rows(database, "SELECT tablename FROM pg_tables WHERE schemaname = %(schema)s", schema=schema)
    return sorted(str(row[0]) for row in found)


def test_every_database_secret_has_its_schema_owner_and_login(database: Database):
    schemas = rows(
        database,
        "SELECT nspname, pg_get_userbyid(nspowner) FROM pg_namespace"
        " WHERE nspname !~ '^pg_' AND nspname NOT IN ('public', 'extensions', 'information_schema')",
    )
    assert sorted(schemas) == [(name, f"{name}_owner") for name in EVERYBODY]
    logins = rows(database, "SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper ORDER BY 1")
    assert [row[0] for row in logins] == EVERYBODY


def test_no_role_has_power_over_the_server(database: Database):
    powers = rows(
        database,
        "SELECT rolname FROM pg_roles WHERE rolname <> 'postgres' AND rolname !~ '^pg_'"
        " AND (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)",
    )
    assert powers == []
    memberships = rows(
        database,
        "SELECT member::regrole::text, roleid::regrole::text, admin_option FROM pg_auth_members"
        " WHERE member::regrole::text !~ '^pg_'",
    )
    assert memberships == [(MONITORING, "pg_monitor", False)]


def test_every_table_belongs_to_its_schemas_owner(database: Database):
    strays = rows(
        database,
        "SELECT schemaname, tablename, tableowner FROM pg_tables WHERE schemaname = ANY(%(schemas)s)"
        " AND tableowner <> schemaname || '_owner'",
        schemas=FUNCTIONS,
    )
    assert strays == []


@pytest.mark.parametrize("role", FUNCTIONS)
def test_function_reads_every_table_of_its_own(database: Database, role: str):
    assert tables(database, role)
    for table in tables(database, role):
        statement = sql.SQL("SELECT * FROM {} LIMIT 0").format(sql.Identifier(table))
        assert not refused(database, role, statement), "found by its name alone: search_path"


@pytest.mark.parametrize(("role", "schema"), OTHERS)
@pytest.mark.parametrize("verb", ["SELECT * FROM {}", "DELETE FROM {}", "TRUNCATE {}", "LOCK TABLE {}"])
def test_no_function_reaches_anothers_tables(database: Database, role: str, schema: str, verb: str):
    for table in tables(database, schema):
        assert refused(database, role, sql.SQL(verb).format(sql.Identifier(schema, table)))


def test_only_reports_has_a_grant_on_anothers_objects_and_only_to_read_views(database: Database):
    """The catalogue itself, so that nothing is missed for want of a statement that tries it."""
    grants = rows(
        database,
        """
        SELECT role.rolname, namespace.nspname, class.relname, class.relkind,
            has_any_column_privilege(role.rolname, class.oid, 'INSERT, UPDATE, REFERENCES')
            OR has_table_privilege(role.rolname, class.oid, 'DELETE, TRUNCATE, TRIGGER')
        FROM pg_class class
        JOIN pg_namespace namespace ON namespace.oid = class.relnamespace
        CROSS JOIN pg_roles role
        WHERE namespace.nspname = ANY(%(schemas)s)
            AND role.rolname = ANY(%(schemas)s)
            AND role.rolname <> namespace.nspname
            AND class.relkind IN ('r', 'p', 'v', 'm')
            AND (
                has_any_column_privilege(role.rolname, class.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
                OR has_table_privilege(role.rolname, class.oid, 'DELETE, TRUNCATE, TRIGGER')
            )
        """,
        schemas=FUNCTIONS,
    )
    assert sorted(grants) == [
        ("reports", "inventory", view, "v", False)
        for view in ("report_locations", "report_requests", "report_stock")
    ] + [("reports", "products", "report_products", "v", False)]


def views(database: Database) -> list[str]:
    found = rows(database, "SELECT viewname FROM pg_views WHERE schemaname = %(schema)s", schema=MONITORING)
    return sorted(str(row[0]) for row in found)


def test_monitoring_reads_its_views_and_the_statistics(database: Database):
    assert views(database)
    for view in views(database):
        statement = sql.SQL("SELECT * FROM {}").format(sql.Identifier(MONITORING, view))
        assert not refused(database, MONITORING, statement)
    for statement in (
        "SELECT * FROM pg_stat_activity WHERE backend_type = 'checkpointer' AND backend_start IS NOT NULL",
        "SELECT pg_database_size('postgres')",
        "SELECT * FROM pg_stat_user_tables",
    ):
        assert not refused(database, MONITORING, statement)


@pytest.mark.parametrize("schema", FUNCTIONS)
@pytest.mark.parametrize("verb", ["SELECT * FROM {}", "DELETE FROM {}", "TRUNCATE {}", "LOCK TABLE {}"])
def test_monitoring_reaches_no_functions_tables(database: Database, schema: str, verb: str):
    for table in tables(database, schema):
        assert refused(database, MONITORING, sql.SQL(verb).format(sql.Identifier(schema, table)))


def test_monitoring_has_no_grant_but_on_its_views_and_only_to_read(database: Database):
    """The catalogue itself; what everybody may read of PostgreSQL's own is left out."""
    grants = rows(
        database,
        """
        SELECT namespace.nspname, class.relname, acl.privilege_type, acl.is_grantable
        FROM pg_class class
        JOIN pg_namespace namespace ON namespace.oid = class.relnamespace
        CROSS JOIN aclexplode(class.relacl) acl
        WHERE acl.grantee = 'monitoring'::regrole
        UNION ALL
        SELECT 'schema', nspname, acl.privilege_type, acl.is_grantable
        FROM pg_namespace CROSS JOIN aclexplode(nspacl) acl
        WHERE acl.grantee = 'monitoring'::regrole
        UNION ALL
        SELECT 'database', '', acl.privilege_type, acl.is_grantable
        FROM pg_database CROSS JOIN aclexplode(datacl) acl
        WHERE acl.grantee = 'monitoring'::regrole AND datname = current_database()
        """,
    )
    expected = [(MONITORING, view, "SELECT", False) for view in views(database)]
    expected += [("schema", MONITORING, "USAGE", False), ("database", "", "CONNECT", False)]
    assert sorted(grants) == sorted(expected)
    callable_by_it = "SELECT proname FROM pg_proc WHERE position('monitoring=' IN proacl::text) > 0"
    assert rows(database, callable_by_it) == []


def test_no_function_may_look_at_or_into_the_monitoring_schema(database: Database):
    allowed = rows(
        database,
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%(roles)s)"
        " AND has_schema_privilege(rolname, 'monitoring', 'USAGE, CREATE')",
        roles=[*FUNCTIONS, *(f"{name}_owner" for name in FUNCTIONS)],
    )
    assert allowed == []


def test_views_of_monitoring_tell_numbers_and_small_sets_of_words(database: Database):
    """No id, no address, no SKU: whoever reads the metrics learns of nobody."""
    columns = rows(
        database,
        "SELECT DISTINCT column_name::text FROM information_schema.columns"
        " WHERE table_schema = 'monitoring' AND data_type NOT IN ('bigint', 'double precision')",
    )
    assert {row[0] for row in columns} == {"state", "step", "location"}


@pytest.mark.parametrize("role", EVERYBODY)
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (a int)",
        "CREATE TEMPORARY TABLE mine (a int)",
        "CREATE TABLE public.mine (a int)",
        "CREATE TABLE extensions.mine (a int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE EXTENSION hstore",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "CALL public.create_function_home('mine')",
        "CALL public.drop_function_home('cart')",
        "DELETE FROM public.schema_migrations",
        "INSERT INTO public.schema_migrations VALUES ('9999')",
        "ALTER ROLE cart SUPERUSER",
        "SET ROLE cart_owner",
        "SET SESSION AUTHORIZATION postgres",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT lo_import('/etc/passwd')",
    ],
)
def test_function_cannot_create_or_take_over(database: Database, role: str, statement: str):
    with closing(logged_in(database, role)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor, pytest.raises(errors.InsufficientPrivilege):
            cursor.execute(statement)


@pytest.mark.parametrize("role", FUNCTIONS)
def test_function_cannot_change_its_own_tables(database: Database, role: str):
    for table in tables(database, role):
        for verb in ("DROP TABLE {}", "ALTER TABLE {} ADD COLUMN extra int", "TRUNCATE {}"):
            assert refused(database, role, sql.SQL(verb).format(sql.Identifier(table))), (table, verb)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE carts SET token_sha256 = NULL",
        "UPDATE carts SET customer_id = 'someone else'",
        "UPDATE carts SET created_at = now()",
        "UPDATE items SET cart_id = gen_random_uuid()",
        "UPDATE items SET sku = 'other'",
        "UPDATE items SET added_at = now()",
    ],
)
def test_cart_cannot_change_what_never_changes(database: Database, statement: str):
    assert refused(database, "cart", statement)


@pytest.mark.parametrize("role", FUNCTIONS)
def test_function_may_read_which_migrations_are_applied(database: Database, role: str):
    assert not refused(database, role, "SELECT version FROM public.schema_migrations")


def test_nobody_in_particular_may_do_nothing(database: Database):
    public = rows(
        database,
        "SELECT has_schema_privilege('pg_monitor', 'public', 'USAGE'),"
        " has_database_privilege('pg_monitor', current_database(), 'CONNECT'),"
        " has_database_privilege('pg_monitor', current_database(), 'TEMPORARY')",
    )
    assert public == [(False, False, False)]


def test_migrations_hold_no_password():
    for path in (PROJECT / "db" / "migrations").glob("*.sql"):
        assert not re.search(r"password\s+'", path.read_text(), re.IGNORECASE), path.name
