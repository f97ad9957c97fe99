"""The payment provider: one effect for each reference, whatever its card does and however often it is asked."""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2 import errors

from functions.payments.cards import CARDS
from functions.payments.handler import create_app
from functions.shared import FunctionApp
from localfaas.postgres import SUPERUSER
from tests.support.functions import Secrets, faulty_fields, problem
from tests.support.postgres import TEMPLATE, Database, PostgresServer

HANG_SECONDS = 0.05
MANY = 16


@dataclass
class Provider:
    """Two replicas in this process, on one database; calls go to them in turn."""

    replicas: tuple[FunctionApp, ...]
    secrets: Secrets
    database: Database

    def ask(self, method: str, path: str, body: Any = None, replica: int = 0, role: str = "service") -> Any:
        headers = self.secrets.bearer(role, subject="checkout")
        content = {} if body is None else {"json": body}
        client = self.replicas[replica % len(self.replicas)].test_client()
        return client.open(path, method=method, headers=headers, **content)

    def authorise(self, reference: str, card: str = "tok_ok", replica: int = 0, **more: Any) -> Any:
        body = {"reference": reference, "amount_cents": 1000, "currency": "CAD", "card_token": card, **more}
        return self.ask("POST", "/authorisations", body, replica)

    def read(self, reference: str) -> Any:
        return self.ask("GET", f"/authorisations/{quote(reference, safe='')}")

    def capture(self, reference: str, replica: int = 0) -> Any:
        return self.ask("POST", f"/authorisations/{reference}/capture", None, replica)

    def void(self, reference: str, replica: int = 0) -> Any:
        return self.ask("POST", f"/authorisations/{reference}/void", None, replica)

    def refund(self, reference: str, refund_reference: str, amount_cents: int, replica: int = 0) -> Any:
        body = {"refund_reference": refund_reference, "amount_cents": amount_cents}
        return self.ask("POST", f"/authorisations/{reference}/refunds", body, replica)

    def captured(self, card: str = "tok_ok") -> str:
        """The reference of a payment of 1000 cents."""
        reference = new()
        self.authorise(reference, card)
        assert self.capture(reference).status_code == 200
        return reference

    def kinds(self, reference: str) -> list[str]:
        """What the ledger says of a reference, in order."""
        return [entry["kind"] for entry in self.ledger(reference)["items"]]

    def ledger(self, reference: str) -> Any:
        return self.ask("GET", f"/ledger?reference={quote(reference, safe='')}").get_json()


@pytest.fixture(scope="module")
def provider(postgres_server: PostgresServer) -> Iterator[Provider]:
    """One for the whole file: every test has references of its own."""
    database = postgres_server.create_database(TEMPLATE)
    with tempfile.TemporaryDirectory() as directory:
        secrets = Secrets.make(Path(directory), services=("checkout",), payments_db=database.url("payments"))
        environ = {
            **secrets.environ, "threads": "8", "hang_seconds": str(HANG_SECONDS), "late_seconds": "0.01",
            "lost_attempts": "2",
        }  # fmt: skip
        replicas = tuple(create_app(environ) for _ in range(2))
        yield Provider(replicas, secrets, database)
        for replica in replicas:
            replica.service.database.close()
    database.drop()


def new() -> str:
    return str(uuid4())


def together(calls: list[Any]) -> list[Any]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def decided(response: Any) -> tuple[int, str]:
    """Status and code of a refusal that has a member of its own."""
    return response.status_code, response.get_json()["code"]


def test_a_payment_from_authorisation_to_refund(provider: Provider) -> None:
    reference = new()
    held = provider.authorise(reference, "tok_ok_7", description="Order 1")
    assert held.status_code == 201
    assert held.get_json() == {
        "authorisation_id": held.get_json()["authorisation_id"], "reference": reference,
        "state": "authorised", "amount_cents": 1000, "captured_cents": 0, "refunded_cents": 0,
        "currency": "CAD", "decline_code": None, "created_at": held.get_json()["created_at"], "refunds": [],
    }  # fmt: skip
    taken = provider.capture(reference).get_json()
    assert (taken["state"], taken["captured_cents"]) == ("captured", 1000)
    given_back = [provider.refund(reference, name, cents) for name, cents in (("b", 300), ("a:1", 700))]
    assert [response.status_code for response in given_back] == [201, 201]
    found = provider.read(reference).get_json()
    assert found["refunds"] == [response.get_json() for response in given_back]
    assert (found["state"], found["refunded_cents"]) == ("captured", 1000)
    ledger = provider.ledger(reference)
    assert [(entry["kind"], entry["amount_cents"], entry["refund_reference"]) for entry in ledger["items"]] == [
        ("authorised", 1000, None), ("captured", 1000, None), ("refunded", 300, "b"), ("refunded", 700, "a:1"),
    ]  # fmt: skip
    assert ledger["sums"] == [
        {
            "reference": reference, "authorised_cents": 1000, "declined_cents": 0, "voided_cents": 0,
            "captured_cents": 1000, "refunded_cents": 1000,
        }
    ]  # fmt: skip


def test_the_same_again_is_answered_as_it_stands(provider: Provider) -> None:
    reference = new()
    first, again = provider.authorise(reference), provider.authorise(reference, replica=1)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.get_json() == again.get_json()
    assert provider.capture(reference).get_json() == provider.capture(reference, 1).get_json()
    assert provider.authorise(reference).get_json()["state"] == "captured"
    first, again = (provider.refund(reference, "r", 10, replica) for replica in (0, 1))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.get_json() == again.get_json()
    assert provider.kinds(reference) == ["authorised", "captured", "refunded"]


@pytest.mark.parametrize(
    "other",
    [{"amount_cents": 999}, {"currency": "USD"}, {"card_token": "tok_ok_2"}, {"description": "other"}],
)
def test_a_reference_is_never_used_for_something_else(provider: Provider, other: dict[str, Any]) -> None:
    reference = new()
    provider.authorise(reference)
    assert problem(provider.authorise(reference, **other)) == (409, "reference_taken")
    assert provider.kinds(reference) == ["authorised"]


@pytest.mark.parametrize(
    ("card", "decline_code"),
    [
        ("tok_declined", "do_not_honour"),
        ("tok_insufficient_funds_3", "insufficient_funds"),
        ("tok_expired", "expired_card"),
    ],
)
def test_a_declined_card_stays_declined(provider: Provider, card: str, decline_code: str) -> None:
    reference = new()
    refusals = [provider.authorise(reference, card, replica) for replica in range(3)]
    for refusal in refusals:
        assert decided(refusal) == (402, "card_declined")
        assert refusal.get_json()["decline_code"] == decline_code
    assert problem(provider.capture(reference)) == (409, "authorisation_declined")
    assert provider.void(reference).get_json()["state"] == "declined"
    assert decided(provider.authorise(reference, card)) == (402, "card_declined")
    assert provider.kinds(reference) == ["declined"]


def test_a_voided_authorisation_is_never_captured_and_a_captured_one_never_voided(provider: Provider) -> None:
    reference = new()
    provider.authorise(reference)
    states = [provider.void(reference, replica).get_json()["state"] for replica in range(3)]
    assert states == ["voided"] * 3
    assert problem(provider.capture(reference)) == (409, "authorisation_voided")
    assert problem(provider.authorise(reference)) == (409, "reference_voided")
    assert problem(provider.refund(reference, "r", 1)) == (409, "not_captured")
    assert provider.kinds(reference) == ["authorised", "voided"]
    assert problem(provider.void(provider.captured())) == (409, "authorisation_captured")


def test_what_was_voided_before_it_was_seen_is_never_authorised(provider: Provider) -> None:
    reference = new()
    tombstone = provider.void(reference).get_json()
    assert (tombstone["state"], tombstone["amount_cents"], tombstone["currency"]) == ("voided", 0, None)
    assert provider.void(reference).get_json() == tombstone
    for card in CARDS:
        assert problem(provider.authorise(reference, card)) == (409, "reference_voided")
    assert problem(provider.capture(reference)) == (409, "authorisation_voided")
    assert provider.kinds(reference) == ["voided"]


def test_nothing_is_known_of_a_reference_never_seen(provider: Provider) -> None:
    for response in (provider.read("x"), provider.capture("x"), provider.refund("x", "r", 1)):
        assert problem(response) == (404, "authorisation_not_found")


def test_a_card_that_times_out_does_nothing_at_first(provider: Provider) -> None:
    reference = new()
    for replica in range(2):
        assert problem(provider.authorise(reference, "tok_timeout", replica)) == (504, "answer_lost")
        assert problem(provider.read(reference)) == (404, "authorisation_not_found")
    assert provider.authorise(reference, "tok_timeout").status_code == 201
    assert provider.authorise(reference, "tok_timeout").status_code == 200


def test_a_card_whose_bank_is_away_once_is_answered_then(provider: Provider) -> None:
    reference = new()
    assert problem(provider.authorise(reference, "tok_unavailable_once")) == (503, "bank_unavailable")
    assert provider.kinds(reference) == []
    assert provider.authorise(reference, "tok_unavailable_once", 1).status_code == 201


def test_a_lost_answer_has_been_authorised(provider: Provider) -> None:
    reference = new()
    assert problem(provider.authorise(reference, "tok_lost_answer")) == (504, "answer_lost")
    assert provider.kinds(reference) == ["authorised"]
    assert provider.authorise(reference, "tok_lost_answer").status_code == 200
    assert provider.capture(reference).status_code == 200


def test_a_lost_capture_has_been_captured(provider: Provider) -> None:
    reference = new()
    assert provider.authorise(reference, "tok_lost_capture").status_code == 201
    assert problem(provider.capture(reference)) == (504, "answer_lost")
    assert provider.kinds(reference) == ["authorised", "captured"]
    assert provider.capture(reference).get_json()["captured_cents"] == 1000


def test_a_refused_capture_takes_nothing_and_stays_refused(provider: Provider) -> None:
    reference = new()
    provider.authorise(reference, "tok_capture_refused")
    for replica in range(3):
        assert problem(provider.capture(reference, replica)) == (402, "capture_refused")
    found = provider.read(reference).get_json()
    assert (found["state"], found["captured_cents"]) == ("voided", 0)
    assert provider.void(reference).get_json() == found
    assert provider.kinds(reference) == ["authorised", "voided"]


class Asleep:
    """Takes the place of the provider's sleep: whoever hangs does so until `released`."""

    def __init__(self) -> None:
        self.waiting = threading.Semaphore(0)
        self.released = threading.Event()

    def __call__(self, seconds: float) -> None:
        self.waiting.release()
        assert self.released.wait(30)

    def wait_for(self, sleepers: int) -> None:
        for _ in range(sleepers):
            assert self.waiting.acquire(timeout=30)


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asleep]:
    sleeper = Asleep()
    monkeypatch.setattr("functions.payments.handler.sleep", sleeper)
    yield sleeper
    sleeper.released.set()


def test_a_late_decision_finds_that_its_caller_has_voided_it(provider: Provider, asleep: Asleep) -> None:
    reference = new()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(provider.authorise, reference, "tok_late")
        asleep.wait_for(1)
        assert provider.void(reference, 1).get_json()["state"] == "voided"
        asleep.released.set()
        assert problem(answer.result()) == (409, "reference_voided")
    assert provider.kinds(reference) == ["voided"]


@pytest.mark.parametrize("card", ["tok_timeout", "tok_lost_answer", "tok_late"])
def test_who_is_kept_waiting_holds_no_connection_and_no_lock(
    provider: Provider, asleep: Asleep, card: str
) -> None:
    references = [new() for _ in range(MANY)]
    small = create_app({**provider.secrets.environ, "threads": "1"})
    narrow = Provider((small,), provider.secrets, provider.database)
    with ThreadPoolExecutor(MANY) as pool:
        waiting = [pool.submit(narrow.authorise, reference, card) for reference in references]
        asleep.wait_for(MANY)
        voided = [narrow.void(reference).get_json()["state"] for reference in references]
        asleep.released.set()
        assert {call.result().status_code for call in waiting} <= {409, 504}
    small.service.database.close()
    assert voided == ["voided"] * MANY


@pytest.mark.parametrize("card", ["tok_ok", "tok_lost_answer", "tok_late", "tok_declined"])
def test_many_at_once_through_two_replicas_are_one_payment(provider: Provider, card: str) -> None:
    reference = new()
    answers = together([partial(provider.authorise, reference, card, n) for n in range(MANY)])
    statuses = Counter(answer.status_code for answer in answers)
    if card == "tok_declined":
        assert statuses == {402: MANY}
        return
    assert statuses == {200: MANY - 1, 504 if card == "tok_lost_answer" else 201: 1}
    captures = together([partial(provider.capture, reference, n) for n in range(MANY)])
    assert len({capture.data for capture in captures}) == 1
    assert provider.kinds(reference) == ["authorised", "captured"]


def test_many_attempts_at_once_are_counted_each(provider: Provider) -> None:
    reference = new()
    answers = together([partial(provider.authorise, reference, "tok_timeout", n) for n in range(MANY)])
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {201: 1, 200: MANY - 3, 504: 2}


def test_of_capture_and_void_at_once_one_wins(provider: Provider) -> None:
    for _ in range(4):
        reference = new()
        provider.authorise(reference)
        calls = [partial(call, reference, n) for n in range(4) for call in (provider.capture, provider.void)]
        answers = together(calls)
        state = provider.read(reference).get_json()["state"]
        assert provider.kinds(reference) == ["authorised", state]
        assert Counter(answer.status_code for answer in answers) == {200: 4, 409: 4}


def test_of_authorise_and_void_at_once_the_void_holds(provider: Provider) -> None:
    for _ in range(4):
        reference = new()
        calls = [partial(call, reference) for _ in range(4) for call in (provider.authorise, provider.void)]
        together(calls)
        assert provider.kinds(reference) in (["voided"], ["authorised", "voided"])


def test_refunds_at_once_never_exceed_what_was_captured(provider: Provider) -> None:
    reference = provider.captured()
    calls = [partial(provider.refund, reference, f"r{n % 8}", 300, n) for n in range(MANY)]
    answers = together(calls)
    assert Counter(answer.status_code for answer in answers)[201] == 3
    assert provider.read(reference).get_json()["refunded_cents"] == 900
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert problem(refused) == (409, "refund_too_large")
    assert faulty_fields(refused) == ["amount_cents"]


def test_a_refunds_reference_is_its_own_within_its_payment(provider: Provider) -> None:
    one, other = provider.captured(), provider.captured()
    assert provider.refund(one, "r", 100).status_code == 201
    assert provider.refund(other, "r", 200).status_code == 201
    assert problem(provider.refund(one, "r", 200)) == (409, "refund_reference_taken")


Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["capture", "void", "authorise"]), st.just(0)),
        st.tuples(st.sampled_from(["refund"]), st.integers(1, 700)),
    ),
    max_size=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, card=st.sampled_from(["tok_ok", "tok_declined", "tok_capture_refused"]))
def test_whatever_happens_the_ledger_adds_up_to_the_state(
    provider: Provider, steps: list[Step], card: str
) -> None:
    reference = new()
    for place, (step, cents) in enumerate(steps):
        if step == "refund":
            response = provider.refund(reference, f"r{place}", cents, place)
        elif step == "authorise":
            response = provider.authorise(reference, card, place)
        else:
            response = getattr(provider, step)(reference, place)
        assert response.status_code < 500, response.get_json()
    response, found = provider.read(reference), provider.read(reference).get_json()
    if response.status_code == 404:
        assert provider.ledger(reference)["items"] == []
        return
    (sums,) = provider.ledger(reference)["sums"]
    state = found["state"]
    held = sums["authorised_cents"]
    assert sums["captured_cents"] == found["captured_cents"] == (held if state == "captured" else 0)
    assert sums["voided_cents"] == (held if state == "voided" else 0)
    assert sums["declined_cents"] == (found["amount_cents"] if state == "declined" else 0)
    assert sums["refunded_cents"] == found["refunded_cents"] <= found["captured_cents"]
    assert found["refunded_cents"] == sum(refund["amount_cents"] for refund in found["refunds"])
    assert found["amount_cents"] == held + sums["declined_cents"]


@pytest.mark.parametrize(
    ("role", "statement", "error"),
    [
        ("payments", "UPDATE authorisations SET amount_cents = 1", errors.InsufficientPrivilege),
        ("payments", "UPDATE authorisations SET refunded_cents = 0", errors.InsufficientPrivilege),
        ("payments", "DELETE FROM authorisations", errors.InsufficientPrivilege),
        ("payments", "UPDATE refunds SET amount_cents = 1", errors.InsufficientPrivilege),
        ("payments", "DELETE FROM refunds", errors.InsufficientPrivilege),
        ("payments", "DELETE FROM ledger", errors.InsufficientPrivilege),
        (
            "payments",
            "INSERT INTO ledger (reference, kind, amount_cents) VALUES ('x', 'captured', 1)",
            errors.InsufficientPrivilege,
        ),
        ("payments", "UPDATE authorisations SET state = 'authorised'", errors.CheckViolation),
        ("payments", "UPDATE authorisations SET state = 'voided', void_reason = 'requested'", errors.CheckViolation),
        (
            "payments",
            "INSERT INTO authorisations (reference, state, amount_cents, currency, card_token)"
            " VALUES ('new', 'captured', 1, 'CAD', 'tok_ok')",
            errors.CheckViolation,
        ),
        (
            "payments",
            "INSERT INTO refunds (reference, refund_reference, amount_cents)"
            " SELECT reference, 'more', 901 FROM authorisations WHERE refunded_cents = 100",
            errors.CheckViolation,
        ),
        (SUPERUSER, "UPDATE payments.ledger SET amount_cents = 1", errors.InsufficientPrivilege),
        (SUPERUSER, "DELETE FROM payments.ledger", errors.InsufficientPrivilege),
        (SUPERUSER, "TRUNCATE payments.ledger", errors.InsufficientPrivilege),
        (SUPERUSER, "DELETE FROM payments.refunds", errors.InsufficientPrivilege),
        (SUPERUSER, "UPDATE payments.authorisations SET refunded_cents = 1001", errors.CheckViolation),
    ],
)  # fmt: skip
def test_the_database_itself_refuses(
    provider: Provider, role: str, statement: str, error: type[psycopg2.Error]
) -> None:
    provider.refund(provider.captured(), "r", 100)
    provider.authorise(new())
    with (
        closing(provider.database.connect(role)) as connection,
        connection.cursor() as cursor,
        pytest.raises(error),
    ):
        cursor.execute(statement)


LONG = "x" * 101


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"reference": ""}, "reference"),
        ({"reference": LONG}, "reference"),
        ({"reference": "a b"}, "reference"),
        ({"reference": "a/b"}, "reference"),
        ({"reference": "é"}, "reference"),
        ({"reference": None}, "reference"),
        ({"amount_cents": 0}, "amount_cents"),
        ({"amount_cents": -1}, "amount_cents"),
        ({"amount_cents": 10**16}, "amount_cents"),
        ({"amount_cents": "1000"}, "amount_cents"),
        ({"amount_cents": 1.5}, "amount_cents"),
        ({"currency": "cad"}, "currency"),
        ({"currency": "CADD"}, "currency"),
        ({"card_token": "4242424242424242"}, "card_token"),
        ({"card_token": "tok_declinedly"}, "card_token"),
        ({"card_token": "tok_okay"}, "card_token"),
        ({"card_token": ""}, "card_token"),
        ({"description": "x" * 201}, "description"),
        ({"more": 1}, "more"),
    ],
)
def test_what_cannot_be_authorised_is_told_by_its_field(
    provider: Provider, change: dict[str, Any], field: str
) -> None:
    body = {"reference": new(), "amount_cents": 1, "currency": "CAD", "card_token": "tok_ok", **change}
    response = provider.ask("POST", "/authorisations", body)
    assert problem(response) == (422, "invalid")
    assert faulty_fields(response) == [field]


def test_a_reference_may_be_anything_that_fits_into_a_path(provider: Provider) -> None:
    reference = f"{new()}:%?#[]@!$&'()*+,;=~"
    assert provider.authorise(reference).status_code == 201
    assert provider.read(reference).get_json()["reference"] == reference
    assert provider.kinds(reference) == ["authorised"]


@pytest.mark.parametrize("reference", ["a%20b", "%C3%A9", LONG, "a%0a"])
def test_a_tombstone_needs_a_reference_that_could_be(provider: Provider, reference: str) -> None:
    response = provider.void(reference)
    assert problem(response) == (422, "invalid")
    assert faulty_fields(response) == ["reference"]


def test_the_ledger_is_read_in_pages(provider: Provider) -> None:
    for _ in range(3):
        provider.captured()
    seen, after = [], ""
    while True:
        answer = provider.ask("GET", f"/ledger?limit=5{after}").get_json()
        seen += [entry["entry_id"] for entry in answer["items"]]
        assert [row["reference"] for row in answer["sums"]] == sorted(
            {row["reference"] for row in answer["items"]}
        )
        if answer["next"] is None:
            break
        after = f"&after={answer['next']}"
    assert seen == sorted(set(seen))
    assert len(seen) >= 6
    assert problem(provider.ask("GET", "/ledger?limit=0")) == (422, "invalid")
    assert problem(provider.ask("GET", "/ledger?after=x")) == (400, "bad_cursor")
    assert provider.ask("GET", "/ledger?reference=unknown").get_json() == {
        "items": [],
        "next": None,
        "sums": [],
    }


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /authorisations", "GET /authorisations/x", "POST /authorisations/x/capture",
        "POST /authorisations/x/void", "POST /authorisations/x/refunds", "GET /ledger",
    ],
)  # fmt: skip
def test_only_functions_may_ask(provider: Provider, request_line: str) -> None:
    method, path = request_line.split()
    body: Any = {} if method == "POST" else None
    for role in ("customer", "hq"):
        assert problem(provider.ask(method, path, body, role=role)) == (403, "forbidden")
    response = provider.replicas[0].test_client().open(path, method=method, json=body)
    assert problem(response) == (401, "unauthorized")
