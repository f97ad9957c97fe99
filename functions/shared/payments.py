"""The payment provider as checkout and orders use it: every call is safe to repeat under its reference.

    provider = PaymentProvider(current().client, settings.payment_timeout_seconds)
    authorisation = provider.authorise(checkout_id, 4598, "CAD", "tok_…")

An exception derived from PaymentRefused is a decision: nothing was charged, and asking again brings the same.
Unavailable and UpstreamTimeout say that the outcome is not known: ask again with the same reference, never assume.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from requests import Response

from .client import ServiceClient
from .errors import BadRequest, Unavailable
from .validation import parse_json

T = TypeVar("T")

FUNCTION = "payments"
TIMEOUT_SECONDS = 3.0
"""How long one call may take at most, unless its user says otherwise."""
DECIDING_CODES = frozenset(
    {
        "authorisation_captured",
        "authorisation_declined",
        "authorisation_not_found",
        "authorisation_voided",
        "capture_refused",
        "card_declined",
        "invalid",
        "not_captured",
        "reference_taken",
        "reference_voided",
        "refund_reference_taken",
        "refund_too_large",
    }
)
"""The provider's own refusals. Any other one (a token that expired, a gateway's page) leaves the outcome open."""
LONGEST_CODE = 100
LONGEST_DETAIL = 500
"""Characters of the provider's words that are kept and shown to customers."""

_log = logging.getLogger("magasin")


@dataclass(frozen=True)
class Refund:
    """Money given back, once for its reference within its authorisation."""

    refund_reference: str
    amount_cents: int
    reason: str
    created_at: datetime


@dataclass(frozen=True)
class Authorisation:
    """What the provider holds under one reference.

    `state` is authorised, captured, voided or declined; `currency` is None for a reference that was voided
    before anything was authorised under it.
    """

    authorisation_id: str
    reference: str
    state: str
    amount_cents: int
    captured_cents: int
    refunded_cents: int
    currency: str | None
    decline_code: str | None
    created_at: datetime
    refunds: tuple[Refund, ...] = ()


class PaymentRefused(Exception):
    """The provider has decided against it: nothing was charged, and nothing will be under this request."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class CardDeclined(PaymentRefused):
    """The card's bank refuses; `decline_code` says why."""

    def __init__(self, decline_code: str, detail: str) -> None:
        super().__init__("card_declined", detail)
        self.decline_code = decline_code


class CaptureRefused(PaymentRefused):
    """What was authorised cannot be taken after all; the authorisation is void."""

    def __init__(self, detail: str) -> None:
        super().__init__("capture_refused", detail)


class PaymentProvider:
    """Calls the provider through `client`; each call, repetitions included, takes at most `timeout_seconds`."""

    def __init__(self, client: ServiceClient, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds

    def authorise(self, reference: str, amount_cents: int, currency: str, card_token: str) -> Authorisation:
        """Hold the amount on the card. The answer may be `captured` when that was done before.

        Raises CardDeclined, or PaymentRefused (reference_taken: another amount, currency or card;
        reference_voided; invalid: an unknown card token).
        """
        body = {
            "reference": reference,
            "amount_cents": amount_cents,
            "currency": currency,
            "card_token": card_token,
        }
        found = self._change("/authorisations", body, _authorisation)
        content = (found.reference, found.amount_cents, found.currency)
        return _expect(
            found,
            content == (reference, amount_cents, currency) and found.state in {"authorised", "captured"},
        )

    def capture(self, reference: str) -> Authorisation:
        """Take the whole amount. Raises CaptureRefused, or PaymentRefused (nothing is authorised any more)."""
        found = self._change(f"{_path(reference)}/capture", None, _authorisation)
        return _expect(found, (found.reference, found.state) == (reference, "captured"))

    def void(self, reference: str) -> Authorisation:
        """Let go of the amount, and never authorise it again under this reference, even one never seen before.

        The answer is `voided`, or `declined` as it was. Raises PaymentRefused (authorisation_captured).
        """
        found = self._change(f"{_path(reference)}/void", None, _authorisation)
        return _expect(found, found.reference == reference and found.state in {"voided", "declined"})

    def refund(self, reference: str, refund_reference: str, amount_cents: int) -> Refund:
        """Give back a part of what was captured, once for `refund_reference`.

        Raises PaymentRefused (refund_too_large, refund_reference_taken: another amount, not_captured).
        """
        body = {"refund_reference": refund_reference, "amount_cents": amount_cents}
        found = self._change(f"{_path(reference)}/refunds", body, _refund)
        return _expect(
            found, (found.refund_reference, found.amount_cents) == (refund_reference, amount_cents)
        )

    def find(self, reference: str) -> Authorisation | None:
        """What the provider holds under this reference; None when it has never seen it."""
        response = self._client.get(FUNCTION, _path(reference), timeout_seconds=self._timeout_seconds)
        try:
            found = _decided(response, _authorisation)
        except PaymentRefused as refused:
            if refused.code == "authorisation_not_found":
                return None
            raise
        return _expect(found, found.reference == reference)

    def _change(self, path: str, body: Any, read: Callable[[dict[str, Any]], T]) -> T:
        """Under a key of its own: the reference is what makes it safe to repeat."""
        response = self._client.call(
            "POST", FUNCTION, path, json=body, idempotency_key=str(uuid.uuid4()),
            timeout_seconds=self._timeout_seconds,
        )  # fmt: skip
        return _decided(response, read)


def _path(reference: str) -> str:
    return f"/authorisations/{quote(reference, safe='')}"


def _decided(response: Response, read: Callable[[dict[str, Any]], T]) -> T:
    """What the answer holds; raises PaymentRefused for a decision, Unavailable when the outcome stays open."""
    try:
        body = parse_json(response.content)
        if response.status_code in {200, 201}:
            return read(body)
        code, detail = str(body["code"]), _detail(body)[:LONGEST_DETAIL]
        decline_code = str(body["decline_code"])[:LONGEST_CODE] if code == "card_declined" else ""
    except (BadRequest, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _open(response) from error
    if response.status_code not in {402, 404, 409, 422} or code not in DECIDING_CODES:
        raise _open(response)
    if code == "card_declined":
        raise CardDeclined(decline_code, detail)
    raise CaptureRefused(detail) if code == "capture_refused" else PaymentRefused(code, detail)


def _detail(problem: dict[str, Any]) -> str:
    """The sentence of a refusal, with the fields at fault when it names some."""
    faults = [f"{fault['field']}: {fault['message']}" for fault in problem.get("errors", ())]
    return " ".join([str(problem["detail"]), *faults])


def _open(response: Response) -> Unavailable:
    _log.error("the payment provider answered %s: %.300s", response.status_code, response.text)
    return Unavailable(
        "The payment provider cannot be used right now; try again shortly.", code="payments_unavailable"
    )


def _expect(found: T, fits: bool) -> T:
    """An answer about something else than what was asked for is no answer."""
    if fits:
        return found
    _log.error("the payment provider answered what was not asked: %s", found)
    raise Unavailable(
        "The payment provider cannot be used right now; try again shortly.", code="payments_unavailable"
    )


def _authorisation(row: dict[str, Any]) -> Authorisation:
    return Authorisation(
        authorisation_id=row["authorisation_id"],
        reference=row["reference"],
        state=row["state"],
        amount_cents=row["amount_cents"],
        captured_cents=row["captured_cents"],
        refunded_cents=row["refunded_cents"],
        currency=row["currency"],
        decline_code=row["decline_code"],
        created_at=datetime.fromisoformat(row["created_at"]),
        refunds=tuple(_refund(refund) for refund in row["refunds"]),
    )


def _refund(row: dict[str, Any]) -> Refund:
    return Refund(
        refund_reference=row["refund_reference"],
        amount_cents=row["amount_cents"],
        reason=row["reason"],
        created_at=datetime.fromisoformat(row["created_at"]),
    )
