"""The payment provider's client: a decision is told, and whatever is not one leaves the outcome open."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from requests import Response

from functions.shared import Unavailable, UpstreamTimeout
from functions.shared.client import ServiceClient
from functions.shared.payments import CaptureRefused, CardDeclined, PaymentProvider, PaymentRefused

AUTHORISATION = {
    "authorisation_id": "7f6dd7b2-0b6b-4b0e-8f0b-1f0e8f0b1f0e",
    "reference": "r1",
    "state": "authorised",
    "amount_cents": 100,
    "captured_cents": 0,
    "refunded_cents": 0,
    "currency": "CAD",
    "decline_code": None,
    "created_at": "2026-03-01T10:00:00Z",
    "refunds": [],
}
REFUND = {
    "refund_reference": "o1:cancel",
    "amount_cents": 40,
    "reason": "",
    "created_at": "2026-03-01T11:00:00Z",
}


class FakeClient:
    """Answers each call with the same thing, and remembers what was asked."""

    def __init__(self) -> None:
        self.status, self.body = 200, b""
        self.fails: Exception | None = None
        self.asked: list[tuple[str, str, str, Any]] = []
        self.keys: list[str | None] = []
        self.timeouts: list[float] = []

    def answers(self, status: int, body: Any) -> None:
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()

    def call(
        self, method: str, function: str, path: str, *, json: Any = None,
        idempotency_key: str | None = None, timeout_seconds: float,
    ) -> Response:  # fmt: skip
        self.asked.append((method, function, path, json))
        self.keys.append(idempotency_key)
        self.timeouts.append(timeout_seconds)
        if self.fails:
            raise self.fails
        response = Response()
        response.status_code, response._content = self.status, self.body
        return response

    def get(self, function: str, path: str, *, timeout_seconds: float) -> Response:
        return self.call("GET", function, path, timeout_seconds=timeout_seconds)


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def provider(client: FakeClient) -> PaymentProvider:
    return PaymentProvider(cast(ServiceClient, client), 1.5)


def problem(code: str, **members: Any) -> dict[str, Any]:
    return {"code": code, "detail": "No.", "errors": [], **members}


def authorise(provider: PaymentProvider) -> Any:
    return provider.authorise("r1", 100, "CAD", "tok_ok")


def test_each_call_is_bounded_and_has_a_key_of_its_own(client: FakeClient, provider: PaymentProvider) -> None:
    client.answers(201, AUTHORISATION)
    assert authorise(provider).state == "authorised"
    authorise(provider)
    body = {"reference": "r1", "amount_cents": 100, "currency": "CAD", "card_token": "tok_ok"}
    assert client.asked == [("POST", "payments", "/authorisations", body)] * 2
    assert client.timeouts == [1.5, 1.5]
    assert None not in client.keys
    assert len(set(client.keys)) == 2


def test_a_reference_is_quoted_into_the_path(client: FakeClient, provider: PaymentProvider) -> None:
    client.answers(200, {**AUTHORISATION, "reference": "o1:x?#%", "state": "voided"})
    provider.void("o1:x?#%")
    assert client.asked[0][2] == "/authorisations/o1%3Ax%3F%23%25/void"


def test_refunds_are_read_with_the_authorisation(client: FakeClient, provider: PaymentProvider) -> None:
    client.answers(200, {**AUTHORISATION, "refunds": [REFUND]})
    found = provider.find("r1")
    client.answers(201, REFUND)
    assert found is not None
    assert found.refunds == (provider.refund("r1", "o1:cancel", 40),)


def test_nothing_under_a_reference_is_none(client: FakeClient, provider: PaymentProvider) -> None:
    client.answers(404, problem("authorisation_not_found"))
    assert provider.find("r1") is None
    client.answers(404, problem("not_found"))
    with pytest.raises(Unavailable):
        provider.find("r1")


def test_a_decline_says_why(client: FakeClient, provider: PaymentProvider) -> None:
    client.answers(402, problem("card_declined", decline_code="expired_card"))
    with pytest.raises(CardDeclined) as caught:
        authorise(provider)
    assert caught.value.decline_code == "expired_card"


def test_no_more_of_what_it_says_is_kept_than_a_person_reads(
    client: FakeClient, provider: PaymentProvider
) -> None:
    client.answers(402, {**problem("card_declined", decline_code="x" * 10**6), "detail": "y" * 10**6})
    with pytest.raises(CardDeclined) as caught:
        authorise(provider)
    assert (len(caught.value.decline_code), len(caught.value.detail)) == (100, 500)


def test_a_refused_capture_has_a_name_of_its_own(client: FakeClient, provider: PaymentProvider) -> None:
    client.answers(402, problem("capture_refused"))
    with pytest.raises(CaptureRefused):
        provider.capture("r1")


@pytest.mark.parametrize(
    ("status", "code"),
    [(409, "reference_taken"), (409, "reference_voided"), (404, "authorisation_not_found"), (422, "invalid")],
)
def test_a_decision_is_told_by_its_code(
    client: FakeClient, provider: PaymentProvider, status: int, code: str
) -> None:
    fault = {"field": "card_token", "message": "is not a card"}
    client.answers(status, problem(code, errors=[fault]))
    with pytest.raises(PaymentRefused) as caught:
        authorise(provider)
    assert caught.value.code == code
    assert caught.value.detail == "No. card_token: is not a card"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>"),
        (200, b"[]"),
        (200, b'"text"'),
        (200, {**AUTHORISATION, "created_at": "soon"}),
        (200, {**AUTHORISATION, "reference": "r2"}),
        (200, {**AUTHORISATION, "amount_cents": 99}),
        (200, {**AUTHORISATION, "state": "voided"}),
        (200, {name: AUTHORISATION[name] for name in ("reference", "state")}),
        (302, b""),
        (401, problem("unauthorized")),
        (402, problem("card_declined")),
        (402, b"pay"),
        (404, problem("not_found")),
        (409, problem("idempotency_key_in_flight")),
        (500, problem("card_declined", decline_code="x")),
        (500, problem("internal_error")),
        (200, b"[" * 100_000),
        (200, b'{"reference": ' + b"[" * 100_000),
        (200, {**AUTHORISATION, "amount_cents": "100"}),
        (200, {**AUTHORISATION, "refunds": {"0": REFUND}}),
        (200, json.dumps(AUTHORISATION).replace("100", "NaN").encode()),
        (200, json.dumps(AUTHORISATION).replace("100", "1" * 5000).encode()),
        (402, b'{"code": "card_declined", "decline_code": "\\ud800", "detail": "No."}'),
        (402, b'{"code": "card_declined", "code": "invalid", "decline_code": "x", "detail": "No."}'),
        (402, {**problem("card_declined", decline_code="x"), "errors": "no list"}),
        (402, {**problem("card_declined", decline_code="x"), "errors": [[]]}),
    ],
)
def test_whatever_is_no_decision_leaves_the_outcome_open(
    client: FakeClient, provider: PaymentProvider, status: int, body: Any
) -> None:
    client.answers(status, body)
    with pytest.raises(Unavailable) as caught:
        authorise(provider)
    assert caught.value.code == "payments_unavailable"


def test_an_answer_about_another_step_leaves_the_outcome_open(
    client: FakeClient, provider: PaymentProvider
) -> None:
    client.answers(200, AUTHORISATION)
    for step in (provider.capture, provider.void):
        with pytest.raises(Unavailable):
            step("r1")
    client.answers(200, REFUND)
    with pytest.raises(Unavailable):
        provider.refund("r1", "o1:cancel", 41)


@pytest.mark.parametrize("failure", [Unavailable("away"), UpstreamTimeout("late")])
def test_a_lost_answer_stays_unknown(
    client: FakeClient, provider: PaymentProvider, failure: Exception
) -> None:
    client.fails = failure
    for step in (authorise, lambda p: p.capture("r1"), lambda p: p.void("r1"), lambda p: p.find("r1")):
        with pytest.raises(type(failure)):
            step(provider)
