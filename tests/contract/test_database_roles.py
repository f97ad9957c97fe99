"""Each function's role can do what it needs and nothing else; the migrations are held to that, table by table."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest
import yaml
from psycopg2 import errors, sql

from localfaas.database import migrate
from localfaas.postgres import SUPERUSER
from tests.support.postgres import PROJECT, Database, PostgresServer

STACK = yaml.safe_load((PROJECT / "stack.yml").read_text())
FUNCTIONS = sorted(
    name for name, function in STACK["functions"].items() if f"{name}-db" in function.get("secrets", [])
)
OTHERS = [(role, schema) for role in FUNCTIONS for schema in FUNCTIONS if role != schema]
MONITORING = "monitoring"
"""The role of PostgreSQL's exporter, and the schema of the views that it reads; no function."""
EVERYBODY = sorted([*FUNCTIONS, MONITORING])
LEDGERS = (
    "inventory.ledger", "orders.history", "payments.ledger", "payments.refunds", "products.prices",
    "sales.cash_movements", "sales.gift_card_entries",
)  # fmt: skip
"""Tables to which rows are added, and nothing else ever happens."""
GUARDED = ("inventory.ledger", "payments.ledger", "payments.refunds")
"""Those that not even their owner can change; `orders.history` is another, from which erasure takes notes."""
WRITTEN_BY_TRIGGERS = ("orders.history", "payments.ledger", "products.prices")
ERASURES = {("orders.history", "note")}
"""Columns that may be emptied, and which a trigger keeps from being filled (test_orders_life.py)."""


@dataclass
class Logins:
    """A session for each role, kept from one question to the next: logging in takes longer than being refused."""

    database: Database
    kept: dict[str, psycopg2.extensions.connection] = field(default_factory=dict)

    def session(self, role: str) -> psycopg2.extensions.connection:
        """A session that may write, also of a role whose sessions only read unless they say otherwise."""
        if role not in self.kept:
            self.kept[role] = psycopg2.connect(
                self.database.url(role), options="-c default_transaction_read_only=off"
            )
        return self.kept[role]

    def rows(self, statement: str, **parameters: object) -> list[tuple[object, ...]]:
        """What the superuser reads."""
        with self.session(SUPERUSER) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())

    def refused(self, role: str, statement: str | sql.Composable, *, alone: bool = False) -> bool:
        """Whether PostgreSQL refuses `statement` to `role` for lack of privilege; what it does not refuse is undone.

        `alone`: outside of a transaction, which some statements insist on; those cannot be undone.
        """
        connection = self.session(role)
        connection.autocommit = alone
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
        except errors.InsufficientPrivilege:
            return True
        finally:
            connection.rollback()
            connection.autocommit = False
        if alone:  # whatever it did to the session is not for who asks next
            self.kept.pop(role).close()
        return False

    def tables(self, schema: str) -> list[str]:
        found = self.rows("SELECT tablename FROM pg_tables WHERE schemaname = %(schema)s", schema=schema)
        return sorted(str(row[0]) for row in found)

    def views(self) -> list[str]:
        """The views of monitoring."""
        found = self.rows("SELECT viewname FROM pg_views WHERE schemaname = %(schema)s", schema=MONITORING)
        return sorted(str(row[0]) for row in found)


@pytest.fixture(scope="module")
def logins(postgres_server: PostgresServer) -> Iterator[Logins]:
    """Of a database migrated by dbmate itself: a clone would lack the grants on the database."""
    database = postgres_server.create_database()
    migrate(database.url(), PROJECT / "db" / "migrations", Path(sys.executable).parent / "dbmate")
    logins = Logins(database)
    yield logins
    for connection in logins.kept.values():
        connection.close()
    database.drop()


def test_every_database_secret_has_its_schema_owner_and_login(logins: Logins):
    schemas = logins.rows(
        "SELECT nspname, pg_get_userbyid(nspowner) FROM pg_namespace"
        " WHERE nspname !~ '^pg_' AND nspname NOT IN ('public', 'extensions', 'information_schema')",
    )
    assert sorted(schemas) == [(name, f"{name}_owner") for name in EVERYBODY]
    roles = logins.rows("SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper ORDER BY 1")
    assert [row[0] for row in roles] == EVERYBODY


def test_no_role_has_power_over_the_server(logins: Logins):
    powers = logins.rows(
        "SELECT rolname FROM pg_roles WHERE rolname <> 'postgres' AND rolname !~ '^pg_'"
        " AND (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)",
    )
    assert powers == []
    memberships = logins.rows(
        "SELECT member::regrole::text, roleid::regrole::text, admin_option FROM pg_auth_members"
        " WHERE member::regrole::text !~ '^pg_'",
    )
    assert memberships == [(MONITORING, "pg_monitor", False)]


def test_every_table_belongs_to_its_schemas_owner(logins: Logins):
    strays = logins.rows(
        "SELECT schemaname, tablename, tableowner FROM pg_tables WHERE schemaname = ANY(%(schemas)s)"
        " AND tableowner <> schemaname || '_owner'",
        schemas=FUNCTIONS,
    )
    assert strays == []


@pytest.mark.parametrize("role", FUNCTIONS)
def test_function_reads_every_table_of_its_own(logins: Logins, role: str):
    assert logins.tables(role)
    for table in logins.tables(role):
        statement = sql.SQL("SELECT * FROM {} LIMIT 0").format(sql.Identifier(table))
        assert not logins.refused(role, statement), "found by its name alone: search_path"


@pytest.mark.parametrize(("role", "schema"), OTHERS)
@pytest.mark.parametrize("verb", ["SELECT * FROM {}", "DELETE FROM {}", "TRUNCATE {}", "LOCK TABLE {}"])
def test_no_function_reaches_anothers_tables(logins: Logins, role: str, schema: str, verb: str):
    for table in logins.tables(schema):
        assert logins.refused(role, sql.SQL(verb).format(sql.Identifier(schema, table)))


def test_only_reports_has_a_grant_on_anothers_objects_and_only_to_read_views(logins: Logins):
    """The catalogue itself, so that nothing is missed for want of a statement that tries it."""
    grants = logins.rows(
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


def test_monitoring_reads_its_views_and_the_statistics(logins: Logins):
    assert logins.views()
    for view in logins.views():
        statement = sql.SQL("SELECT * FROM {}").format(sql.Identifier(MONITORING, view))
        assert not logins.refused(MONITORING, statement)
    for statement in (
        "SELECT * FROM pg_stat_activity WHERE backend_type = 'checkpointer' AND backend_start IS NOT NULL",
        "SELECT pg_database_size('postgres')",
        "SELECT * FROM pg_stat_user_tables",
    ):
        assert not logins.refused(MONITORING, statement)


@pytest.mark.parametrize("schema", FUNCTIONS)
@pytest.mark.parametrize("verb", ["SELECT * FROM {}", "DELETE FROM {}", "TRUNCATE {}", "LOCK TABLE {}"])
def test_monitoring_reaches_no_functions_tables(logins: Logins, schema: str, verb: str):
    for table in logins.tables(schema):
        assert logins.refused(MONITORING, sql.SQL(verb).format(sql.Identifier(schema, table)))


def test_monitoring_has_no_grant_but_on_its_views_and_only_to_read(logins: Logins):
    """The catalogue itself; what everybody may read of PostgreSQL's own is left out."""
    grants = logins.rows(
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
    expected = [(MONITORING, view, "SELECT", False) for view in logins.views()]
    expected += [("schema", MONITORING, "USAGE", False), ("database", "", "CONNECT", False)]
    assert sorted(grants) == sorted(expected)
    callable_by_it = "SELECT proname FROM pg_proc WHERE position('monitoring=' IN proacl::text) > 0"
    assert logins.rows(callable_by_it) == []


def test_no_function_may_look_at_or_into_the_monitoring_schema(logins: Logins):
    allowed = logins.rows(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%(roles)s)"
        " AND has_schema_privilege(rolname, 'monitoring', 'USAGE, CREATE')",
        roles=[*FUNCTIONS, *(f"{name}_owner" for name in FUNCTIONS)],
    )
    assert allowed == []


def test_views_of_monitoring_tell_numbers_and_small_sets_of_words(logins: Logins):
    """No id, no address, no SKU: whoever reads the metrics learns of nobody."""
    columns = logins.rows(
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
def test_function_cannot_create_or_take_over(logins: Logins, role: str, statement: str):
    assert logins.refused(role, statement, alone=True)


@pytest.mark.parametrize("role", FUNCTIONS)
def test_function_cannot_change_its_own_tables(logins: Logins, role: str):
    for table in logins.tables(role):
        for verb in ("DROP TABLE {}", "ALTER TABLE {} ADD COLUMN extra int", "TRUNCATE {}"):
            assert logins.refused(role, sql.SQL(verb).format(sql.Identifier(table))), (table, verb)


def test_tables_that_say_that_they_never_change_are_the_ledgers(logins: Logins):
    said = logins.rows(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
        " AND obj_description(oid, 'pg_class') ~ '(never changed|nothing is changed)'"
    )
    assert {"products.prices", *(row[0] for row in said)} == set(LEDGERS)


def name_of(ledger: str) -> sql.Composable:
    return sql.Identifier(*ledger.split("."))


@pytest.mark.parametrize("role", EVERYBODY)
@pytest.mark.parametrize("ledger", LEDGERS)
def test_no_function_rewrites_a_ledger(logins: Logins, ledger: str, role: str):
    for verb in ("DELETE FROM {}", "TRUNCATE {}"):
        assert logins.refused(role, sql.SQL(verb).format(name_of(ledger))), verb
    columns = logins.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = %(ledger)s::regclass AND attnum > 0", ledger=ledger
    )
    assert columns
    for (column,) in columns:
        if (ledger, column) in ERASURES and ledger.startswith(f"{role}."):
            continue
        statement = sql.SQL("UPDATE {} SET {} = DEFAULT").format(name_of(ledger), sql.Identifier(str(column)))
        assert logins.refused(role, statement), column


@pytest.mark.parametrize("role", EVERYBODY)
@pytest.mark.parametrize("ledger", WRITTEN_BY_TRIGGERS)
def test_no_function_writes_what_only_triggers_write(logins: Logins, ledger: str, role: str):
    assert logins.refused(role, sql.SQL("INSERT INTO {} DEFAULT VALUES").format(name_of(ledger)))


@pytest.mark.parametrize("ledger", GUARDED)
@pytest.mark.parametrize("verb", ["UPDATE {} SET reference = reference", "DELETE FROM {}", "TRUNCATE {}"])
def test_not_even_its_owner_rewrites_a_guarded_ledger(logins: Logins, ledger: str, verb: str):
    owner = sql.Identifier(ledger.split(".", maxsplit=1)[0] + "_owner")
    statement = sql.SQL("SET LOCAL ROLE {}; " + verb).format(owner, name_of(ledger))
    assert logins.refused(SUPERUSER, statement)


@pytest.mark.parametrize("verb", ["DELETE FROM", "TRUNCATE", "UPDATE"])
def test_a_ledger_that_can_be_rewritten_is_found(logins: Logins, verb: str):
    """Granted what it must not have, a role is not refused any more."""
    privilege, rest = verb.split(" ", maxsplit=1)[0], " SET sku = DEFAULT" if verb == "UPDATE" else ""
    statement = (
        f"GRANT {privilege} ON inventory.ledger TO inventory; DROP TRIGGER ledger_is_append_only ON inventory.ledger;"
        f"SET LOCAL ROLE inventory; {verb} inventory.ledger{rest}"
    )
    assert not logins.refused(SUPERUSER, statement)


PRIVILEGES = yaml.safe_load((PROJECT / "tests" / "contract" / "privileges.yml").read_text())
"""Role to table to verb to its columns, or `all`."""
ON_OWN_TABLES = """
    SELECT role, class.relname, verb,
        CASE
            WHEN verb = 'delete' OR count(*) = (
                SELECT count(*) FROM pg_attribute
                WHERE attrelid = class.oid AND attnum > 0 AND NOT attisdropped
            ) THEN 'all'
            ELSE string_agg(attname, ' ' ORDER BY attname)
        END
    FROM unnest(%(roles)s) role
    JOIN pg_class class ON class.relnamespace = role::regnamespace AND class.relkind IN ('r', 'p')
    JOIN pg_attribute attribute ON attrelid = class.oid AND attnum > 0 AND NOT attisdropped
    CROSS JOIN unnest(ARRAY['insert', 'update', 'delete']) verb
    WHERE CASE verb
        WHEN 'delete' THEN has_table_privilege(role, class.oid, verb)
        ELSE has_column_privilege(role, class.oid, attnum, verb)
    END
    GROUP BY role, class.oid, class.relname, verb
    ORDER BY role, class.relname, verb
"""


def granted(cursor: psycopg2.extensions.cursor) -> dict[str, Any]:
    """What each role may do to rows of its own tables, in the form of PRIVILEGES."""
    cursor.execute(ON_OWN_TABLES, {"roles": FUNCTIONS})
    found: dict[str, Any] = {}
    for role, table, verb, columns in cursor.fetchall():
        allowed = columns if columns == "all" else columns.split()
        found.setdefault(role, {}).setdefault(table, {})[verb] = allowed
    return found


def test_each_role_may_do_what_the_table_says_and_no_more(logins: Logins):
    with logins.session(SUPERUSER) as connection, connection.cursor() as cursor:
        assert granted(cursor) == PRIVILEGES


@pytest.mark.parametrize(
    "grant",
    [
        "UPDATE (role) ON customers.accounts TO customers",
        "DELETE ON orders.orders TO orders",
        "UPDATE (total_cents) ON sales.sales TO sales",
        "INSERT ON reports.progress TO reports",
        "UPDATE ON checkout.checkouts TO PUBLIC",
    ],
)
def test_a_grant_too_many_is_found(logins: Logins, grant: str):
    connection = logins.session(SUPERUSER)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"GRANT {grant}")
            assert granted(cursor) != PRIVILEGES
    finally:
        connection.rollback()


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
def test_cart_cannot_change_what_never_changes(logins: Logins, statement: str):
    assert logins.refused("cart", statement)


@pytest.mark.parametrize("role", FUNCTIONS)
def test_function_may_read_which_migrations_are_applied(logins: Logins, role: str):
    assert not logins.refused(role, "SELECT version FROM public.schema_migrations")


def test_nobody_in_particular_may_do_nothing(logins: Logins):
    public = logins.rows(
        "SELECT has_schema_privilege('pg_monitor', 'public', 'USAGE'),"
        " has_database_privilege('pg_monitor', current_database(), 'CONNECT'),"
        " has_database_privilege('pg_monitor', current_database(), 'TEMPORARY')",
    )
    assert public == [(False, False, False)]


def test_migrations_hold_no_password():
    for path in (PROJECT / "db" / "migrations").glob("*.sql"):
        assert not re.search(r"password\s+'", path.read_text(), re.IGNORECASE), path.name
