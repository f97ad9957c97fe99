"""A payment provider (a simulator) over HTTP: owns the schema payments, and calls no other function.

A reference makes everything repeatable, so no Idempotency-Key is needed. Cards that misbehave wait outside of any
transaction: a caller that was left alone holds up nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import sleep
from typing import Any

from prometheus_client import Counter

from functions.shared import (
    Answer,
    Api,
    Conflict,
    Connection,
    DatabaseSettings,
    FunctionApp,
    NotFound,
    PaymentRequired,
    Row,
    TokenSettings,
    Unavailable,
    UpstreamTimeout,
    current,
    decode_cursor,
    encode_cursor,
    page,
    setting,
)
from functions.shared import (
    create_app as build,
)

from . import store
from .cards import Card, card_of
from .views import (
    AuthorisationView,
    LedgerQuery,
    LedgerView,
    NewAuthorisation,
    NewRefund,
    RefundView,
    check_reference,
)

ENTRIES = Counter("payments_entries_total", "What happened to payments.", ["kind"])
MISBEHAVIOURS = Counter(
    "payments_misbehaviours_total", "Calls that a card left without a timely answer.", ["kind"]
)


@dataclass(frozen=True, kw_only=True)
class PaymentsSettings(DatabaseSettings, TokenSettings):
    hang_seconds: float = setting("A lost answer keeps its caller waiting for this long.", default=12.0)
    late_seconds: float = setting("tok_late takes this long to decide.", default=2.0)
    lost_attempts: int = setting("How many attempts of one reference tok_timeout ignores.", default=1)


api = Api(
    "payments", title="Payment provider (a simulator)", migration="0008", warm_up=["/authorisations/none"]
)


@api.post(
    "/authorisations", body=NewAuthorisation, answers={200: AuthorisationView, 201: AuthorisationView},
    roles=("service",), problems=[402, 409, 503, 504],
)  # fmt: skip
def authorise(body: NewAuthorisation) -> Answer:
    """Hold an amount on a card.

    The same again is answered 200 with the authorisation as it stands, or with the same refusal.
    """
    card = card_of(body.card_token)
    content = body.model_dump()
    if current().database.read(store.find_authorisation, body.reference) is None:
        _misbehave(card, body.reference)
    created, row = current().database.change(
        lambda connection: _authorise(connection, content, card.decline_code)
    )
    if created:
        ENTRIES.labels(row["state"]).inc()
        if card.loses_answer:
            _lose_answer("answer")
    if row["state"] == "declined":
        code = row["decline_code"]
        raise PaymentRequired("The card was declined.", code="card_declined", members={"decline_code": code})
    return Answer(row, 201 if created else 200)


def _misbehave(card: Card, reference: str) -> None:
    """What a card does before anything is decided."""
    if card.times_out and _attempt(reference) <= _settings().lost_attempts:
        _lose_answer("request")
    if card.unavailable_once and _attempt(reference) == 1:
        MISBEHAVIOURS.labels("unavailable").inc()
        raise Unavailable("The card's bank cannot be reached right now.", code="bank_unavailable")
    if card.late:
        MISBEHAVIOURS.labels("late").inc()
        sleep(_settings().late_seconds)


def _attempt(reference: str) -> int:
    return current().database.change(lambda connection: store.count_attempt(connection, reference))


def _lose_answer(what: str) -> None:
    """Keep the caller waiting, and then tell it nothing."""
    MISBEHAVIOURS.labels(f"lost_{what}").inc()
    sleep(_settings().hang_seconds)
    raise UpstreamTimeout("The provider has lost this answer.", code="answer_lost")


def _authorise(connection: Connection, content: Row, decline_code: str | None) -> tuple[bool, Row]:
    created = store.add_authorisation(connection, content, decline_code)
    if not created:
        held = _locked(connection, content["reference"])
        if held["currency"] is None:
            raise Conflict("This reference was voided.", code="reference_voided")
        if any(held[name] != value for name, value in content.items()):
            raise Conflict("This reference was used with another content.", code="reference_taken")
        if held["state"] == "voided":
            raise Conflict("This reference was voided.", code="reference_voided")
    return created, _shown(connection, content["reference"])


@api.get("/authorisations/<reference>", answers={200: AuthorisationView}, roles=("service",), problems=[404])
def read_authorisation(reference: str) -> Row:
    """What became of a reference."""
    return _found(current().database.read(store.find_authorisation, reference))


@api.post(
    "/authorisations/<reference>/capture", answers={200: AuthorisationView}, roles=("service",),
    problems=[402, 404, 409, 504],
)  # fmt: skip
def capture(reference: str) -> Row:
    """Take the whole amount; what was captured before is answered as it stands."""
    entry, card, row = current().database.change(lambda connection: _capture(connection, reference))
    if entry is not None:
        ENTRIES.labels(entry).inc()
    if card.refuses_capture:
        raise PaymentRequired("The card's bank refuses to pay; nothing was taken.", code="capture_refused")
    if entry is not None and card.loses_capture:
        _lose_answer("capture")
    return row


def _capture(connection: Connection, reference: str) -> tuple[str | None, Card, Row]:
    """What was entered into the ledger now, if anything; the card; the authorisation."""
    held = _locked(connection, reference)
    if held["state"] == "declined":
        raise Conflict("The card was declined.", code="authorisation_declined")
    if held["state"] == "voided" and held["void_reason"] == "requested":
        raise Conflict("The authorisation was voided.", code="authorisation_voided")
    card = card_of(held["card_token"])
    entry = None
    if held["state"] == "authorised":
        entry = "voided" if card.refuses_capture else "captured"
        store.settle(connection, reference, entry, "capture_refused" if card.refuses_capture else None)
    return entry, card, _shown(connection, reference)


@api.post(
    "/authorisations/<reference>/void", answers={200: AuthorisationView}, roles=("service",),
    problems=[409, 422],
)  # fmt: skip
def void(reference: str) -> Row:
    """Let go of the amount.

    A reference never seen before can never be authorised afterwards: that settles a call whose answer was lost.
    """
    reference = check_reference(reference)
    entry, row = current().database.change(lambda connection: _void(connection, reference))
    if entry:
        ENTRIES.labels("voided").inc()
    return row


def _void(connection: Connection, reference: str) -> tuple[bool, Row]:
    """Whether it was voided now, and the authorisation."""
    held = store.lock_authorisation(connection, reference)
    if held is None:
        store.forbid_reference(connection, reference)
        held = _locked(connection, reference)
    if held["state"] == "captured":
        raise Conflict("The amount was captured; refund it.", code="authorisation_captured")
    if held["state"] == "authorised":
        store.settle(connection, reference, "voided", "requested")
    return held["state"] == "authorised", _shown(connection, reference)


@api.post(
    "/authorisations/<reference>/refunds", body=NewRefund, answers={200: RefundView, 201: RefundView},
    roles=("service",), problems=[404, 409],
)  # fmt: skip
def refund(reference: str, body: NewRefund) -> Answer:
    """Give back a part of what was captured; the same again is answered 200."""
    content = body.model_dump()
    created, row = current().database.change(lambda connection: _refund(connection, reference, content))
    if created:
        ENTRIES.labels("refunded").inc()
    return Answer(row, 201 if created else 200)


def _refund(connection: Connection, reference: str, content: Row) -> tuple[bool, Row]:
    held = _locked(connection, reference)
    present = store.find_refund(connection, reference, content["refund_reference"])
    if present is not None:
        if any(present[name] != value for name, value in content.items()):
            raise Conflict("This reference is that of another refund.", code="refund_reference_taken")
        return False, present
    if held["state"] != "captured":
        raise Conflict("Nothing was captured, so nothing can be given back.", code="not_captured")
    left = held["captured_cents"] - held["refunded_cents"]
    if content["amount_cents"] > left:
        raise Conflict(
            f"At most {left} cents can be given back.", code="refund_too_large",
            errors=[{"field": "amount_cents", "message": f"must be at most {left}"}],
        )  # fmt: skip
    store.add_refund(connection, reference, content)
    return True, store.find_refund(connection, reference, content["refund_reference"]) or {}


@api.get("/ledger", query=LedgerQuery, answers={200: LedgerView}, roles=("service",))
def list_ledger(query: LedgerQuery) -> dict[str, Any]:
    """What happened to payments, oldest first, with the sums of each reference on the page."""
    after = decode_cursor(query.after, int)[0] if query.after else 0
    with current().database.transaction() as connection:
        rows = store.list_entries(connection, query.reference, after, query.limit + 1)
        shown = page(rows, query.limit, lambda row: encode_cursor(row["entry_id"]))
        references = sorted({row["reference"] for row in shown["items"]})
        return {**shown, "sums": store.sum_entries(connection, references)}


def _settings() -> PaymentsSettings:
    return current().settings(PaymentsSettings)


def _locked(connection: Connection, reference: str) -> Row:
    return _found(store.lock_authorisation(connection, reference))


def _shown(connection: Connection, reference: str) -> Row:
    return _found(store.find_authorisation(connection, reference))


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound("Nothing was authorised under this reference.", code="authorisation_not_found")
    return row


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The payments function in `environ`; the template calls this once."""
    return build(api, PaymentsSettings, environ)
