"""`localfaas doctor` and a real database: whoever cannot log in, migrations, and every question of db/doctor.yml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localfaas.doctor import books
from localfaas.doctor import database as checks
from localfaas.doctor.finding import Finding, NotLookedAt, State
from localfaas.doctor.installation import Installation
from localfaas.settings import Settings
from tests.support.postgres import PROJECT, Database

QUESTIONS = {question.check: question for question in books.load_books(PROJECT / "db" / "doctor.yml")}
LONG_AGO = "now() - interval '30 days'"
PLANTED = {
    "stock is the sum of its ledger": (
        "INSERT INTO inventory.stock (location, sku, on_hand) VALUES ('S1', 'MAG-1', 7)",
        "MAG-1 at S1: 7 on hand, 0 by the ledger",
    ),
    "what is reserved is promised": (
        "INSERT INTO inventory.stock (location, sku, on_hand, reserved) VALUES ('S1', 'MAG-1', 7, 2);"
        " INSERT INTO inventory.ledger (location, sku, quantity, on_hand, kind, moved_by)"
        " VALUES ('S1', 'MAG-1', 7, 7, 'receipt', 'x')",
        "MAG-1 at S1: 2 reserved, 0 promised",
    ),
    "no reservation outlives its time": (
        "INSERT INTO inventory.reservations (reservation_id, state, location, expires_at)"
        f" VALUES (gen_random_uuid(), 'open', 'S1', {LONG_AGO})",
        "1 reservations hold stock",
    ),
    "every checkout is settled within seven minutes": (
        "INSERT INTO checkout.checkouts (checkout_id, customer_id, request_key, body_sha256, request_id, state, step,"
        " cart_version, agreed_cents, location, created_at, give_up_at) VALUES (gen_random_uuid(), 'ada',"
        f" gen_random_uuid(), sha256(''), 'r', 'open', 'capture', 1, 1, 'W1', {LONG_AGO}, now())",
        "is open at the step capture",
    ),
    "no sale or return of a till is left half-way": (
        "INSERT INTO sales.sales (sale_id, status, origin, store, cashier, business_date, sold_at, created_at, currency,"
        " subtotal_cents, taxes, tax_cents, document) VALUES (gen_random_uuid(), 'pending', 'import', 'S1', 'c',"
        f" current_date, now(), {LONG_AGO}, 'CAD', 1, '[]', 0, gen_random_uuid())",
        "at S1 has been pending",
    ),
    "cancelled and returned orders have their goods and money back": (
        "INSERT INTO orders.orders (order_id, number, checkout_id, customer_id, location, time_zone, reservation_id,"
        " currency, subtotal_cents, taxes, tax_cents, address, content_sha256, changed_by, status, paid_at,"
        " captured_cents, payment_reference, cancelled_at, trouble) VALUES (gen_random_uuid(), '123456789',"
        " gen_random_uuid(), 'ada', 'W1', 'America/Toronto', gen_random_uuid(), 'CAD', 1, '[]', 0, '{}', '', 'x',"
        f" 'cancelled', {LONG_AGO}, 1, gen_random_uuid(), {LONG_AGO}, 'payments is away')",
        "order 123456789 has waited ten minutes to be settled: payments is away",
    ),
    "who asked to be forgotten is": (
        f"INSERT INTO customers.erasures (customer_id, requested_at) VALUES (gen_random_uuid(), {LONG_AGO})",
        "1 people asked",
    ),
}


@pytest.fixture
def installation(database: Database, tmp_path: Path) -> Iterator[Installation]:
    """The shop's installation on this test's database, with a secret for each role."""
    settings = Settings(project=PROJECT, state=tmp_path, database_url=database.url())
    settings.secrets.mkdir()
    found = Installation(settings, {})
    for name in found.secret_names:
        if name.endswith("-db"):
            (settings.secrets / name).write_text(database.url(name.removesuffix("-db")))
    yield found
    found.close()


def write(target: Database, statement: str) -> None:
    """As the superuser, who is held to no trigger."""
    connection = target.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(statement)
    connection.close()


def wrong(findings: list[Finding]) -> list[Finding]:
    return [one for one in findings if one.state is State.WRONG]


def test_database_of_an_empty_shop_is_well(installation: Installation) -> None:
    for look in (checks.reachable, checks.migrations, checks.connections, checks.logins, books.hold):
        assert not wrong(look(installation)), look


def test_every_question_has_a_fault_planted() -> None:
    assert PLANTED.keys() == QUESTIONS.keys()


@pytest.mark.parametrize("check", PLANTED)
def test_question_finds_what_is_planted_and_names_the_next_step(
    check: str, installation: Installation, database: Database
) -> None:
    statement, told = PLANTED[check]
    write(database, statement)
    (found,) = wrong(books.hold(installation))
    assert told in found.found
    assert found.remedy == QUESTIONS[check].do


def test_migration_that_is_missing_or_unknown_is_told(installation: Installation, database: Database) -> None:
    newest = max(path.name[:4] for path in (PROJECT / "db" / "migrations").glob("*.sql"))
    write(database, f"UPDATE public.schema_migrations SET version = '9999' WHERE version = '{newest}'")
    missing, unknown = wrong(checks.migrations(installation))
    assert newest in missing.found
    assert "localfaas up" in missing.remedy
    assert "9999" in unknown.found
    write(database, "DROP TABLE public.schema_migrations")
    assert newest[:2] in wrong(checks.migrations(installation))[0].found


def test_secret_with_another_password_is_named_and_never_shown(
    installation: Installation, database: Database
) -> None:
    path = installation.settings.secrets / "cart-db"
    path.write_text(database.url("cart").replace("cart:", "cart:not-"))
    (found,) = wrong(checks.logins(installation))
    assert found.found.startswith(f"cart cannot log in with {path}")
    assert "not-" not in found.found
    assert not wrong(books.hold(installation)), "asks as other roles"


def test_server_that_is_away_is_told_once(installation: Installation, database: Database) -> None:
    with database.server.outage():
        assert "refused" in wrong(checks.reachable(installation))[0].found
        for look in (checks.migrations, checks.connections, checks.logins, books.hold):
            with pytest.raises(NotLookedAt):
                look(installation)
