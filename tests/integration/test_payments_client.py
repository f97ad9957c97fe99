"""Checkout's side of a payment, over the wire: what is decided is told, what is lost is found out by asking again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from functions.payments.handler import create_app
from functions.shared import Unavailable, UpstreamTimeout
from functions.shared.auth import ServiceTokens
from functions.shared.client import ServiceClient
from functions.shared.payments import CaptureRefused, CardDeclined, PaymentProvider, PaymentRefused
from tests.support.chain import shut
from tests.support.functions import Secrets
from tests.support.hand_made_gateway import HandMadeGateway, running_gateway
from tests.support.postgres import TEMPLATE, PostgresServer
from tests.support.waiting import wait_for

PATIENCE_SECONDS = 5.0
IMPATIENCE_SECONDS = 0.1
HANG_SECONDS = 0.5


@dataclass
class Checkout:
    """What checkout has: a provider that it waits for, and one that it gives up on soon."""

    gateway: HandMadeGateway
    patient: PaymentProvider
    impatient: PaymentProvider

    def authorise(self, reference: str, card: str, provider: PaymentProvider | None = None) -> str:
        return (provider or self.patient).authorise(reference, 1000, "CAD", card).state

    def wait_for(self, reference: str, state: str) -> None:
        """Wait until the provider has done what its caller did not wait for."""
        wait_for(
            lambda: getattr(self.patient.find(reference), "state", None) == state, what=f"{reference} {state}"
        )


@pytest.fixture(scope="module")
def checkout(postgres_server: PostgresServer) -> Iterator[Checkout]:
    database = postgres_server.create_database(TEMPLATE)
    with tempfile.TemporaryDirectory() as name, running_gateway() as gateway:
        directory = Path(name)
        secrets = Secrets.make(directory, services=("checkout",), payments_db=database.url("payments"))
        settings = {"threads": "8", "hang_seconds": str(HANG_SECONDS), "late_seconds": "0.01"}
        app = create_app({**secrets.environ, **settings})
        gateway.apps["payments"] = app
        tokens = ServiceTokens("checkout", (directory / "checkout-key").read_text())
        client = ServiceClient(gateway.url, tokens.token)
        yield Checkout(
            gateway, PaymentProvider(client, PATIENCE_SECONDS), PaymentProvider(client, IMPATIENCE_SECONDS)
        )
        client.close()
        shut(app)
    database.drop()


@pytest.fixture(autouse=True)
def mended(checkout: Checkout) -> Iterator[None]:
    yield
    checkout.gateway.mend()


@pytest.fixture
def reference() -> str:
    return str(uuid4())


def test_a_payment_over_the_wire(checkout: Checkout, reference: str) -> None:
    assert checkout.patient.find(reference) is None
    assert checkout.authorise(reference, "tok_ok") == "authorised"
    assert checkout.patient.capture(reference).captured_cents == 1000
    assert checkout.authorise(reference, "tok_ok") == "captured"
    refund = checkout.patient.refund(reference, "o-1:cancel", 400)
    assert checkout.patient.refund(reference, "o-1:cancel", 400) == refund
    found = checkout.patient.find(reference)
    assert found is not None
    assert (found.refunded_cents, found.refunds) == (400, (refund,))


@pytest.mark.parametrize("card", ["tok_unavailable_once", "tok_late"])
def test_a_passing_trouble_is_waited_out(checkout: Checkout, reference: str, card: str) -> None:
    assert checkout.authorise(reference, card) == "authorised"


@pytest.mark.parametrize("card", ["tok_timeout", "tok_lost_answer"])
def test_a_patient_caller_asks_again_by_itself(checkout: Checkout, reference: str, card: str) -> None:
    assert checkout.authorise(reference, card) == "authorised"


def test_a_lost_answer_is_found_by_asking_again(checkout: Checkout, reference: str) -> None:
    with pytest.raises(UpstreamTimeout):
        checkout.authorise(reference, "tok_lost_answer", checkout.impatient)
    checkout.wait_for(reference, "authorised")
    assert checkout.authorise(reference, "tok_lost_answer") == "authorised"


def test_a_lost_request_has_done_nothing(checkout: Checkout, reference: str) -> None:
    with pytest.raises(UpstreamTimeout):
        checkout.authorise(reference, "tok_timeout", checkout.impatient)
    assert checkout.patient.find(reference) is None
    assert checkout.authorise(reference, "tok_timeout") == "authorised"


def test_a_lost_capture_is_found_by_asking_again(checkout: Checkout, reference: str) -> None:
    checkout.authorise(reference, "tok_lost_capture")
    with pytest.raises(UpstreamTimeout):
        checkout.impatient.capture(reference)
    checkout.wait_for(reference, "captured")
    assert checkout.patient.capture(reference).captured_cents == 1000


def test_a_call_lost_on_its_way_back_was_done(checkout: Checkout, reference: str) -> None:
    checkout.gateway.lost = {"payments"}
    with pytest.raises(Unavailable):
        checkout.authorise(reference, "tok_ok")
    checkout.gateway.mend()
    found = checkout.patient.find(reference)
    assert found is not None
    assert found.state == "authorised"


def test_what_was_given_up_never_comes_back(checkout: Checkout, reference: str) -> None:
    assert checkout.patient.void(reference).state == "voided"
    with pytest.raises(PaymentRefused, match="voided") as refused:
        checkout.authorise(reference, "tok_ok")
    assert refused.value.code == "reference_voided"


def test_a_declined_card_is_told_and_may_be_voided(checkout: Checkout, reference: str) -> None:
    for _ in range(2):
        with pytest.raises(CardDeclined) as declined:
            checkout.authorise(reference, "tok_expired")
        assert declined.value.decline_code == "expired_card"
    assert checkout.patient.void(reference).state == "declined"


def test_a_refused_capture_is_told_every_time(checkout: Checkout, reference: str) -> None:
    checkout.authorise(reference, "tok_capture_refused")
    for _ in range(2):
        with pytest.raises(CaptureRefused):
            checkout.patient.capture(reference)
    assert checkout.patient.void(reference).state == "voided"


REFUSED: list[tuple[str, Callable[[Checkout, str], object]]] = [
    ("reference_taken", lambda checkout, reference: checkout.authorise(reference, "tok_ok_2")),
    ("invalid", lambda checkout, reference: checkout.authorise(reference, "4242")),
    ("authorisation_captured", lambda checkout, reference: checkout.patient.void(reference)),
    ("refund_too_large", lambda checkout, reference: checkout.patient.refund(reference, "r", 1001)),
    ("authorisation_not_found", lambda checkout, _: checkout.patient.capture("never")),
    ("authorisation_not_found", lambda checkout, _: checkout.patient.refund("never", "r", 1)),
]


@pytest.mark.parametrize(("code", "ask"), REFUSED, ids=[code for code, _ in REFUSED])
def test_every_refusal_of_the_provider_is_known_to_its_caller(
    checkout: Checkout, reference: str, code: str, ask: Callable[[Checkout, str], object]
) -> None:
    checkout.authorise(reference, "tok_ok")
    checkout.patient.capture(reference)
    with pytest.raises(PaymentRefused) as refused:
        ask(checkout, reference)
    assert refused.value.code == code


def test_refusals_of_another_state_are_known_too(checkout: Checkout, reference: str) -> None:
    checkout.authorise(reference, "tok_ok")
    with pytest.raises(PaymentRefused) as refused:
        checkout.patient.refund(reference, "r", 1)
    assert refused.value.code == "not_captured"
    checkout.patient.void(reference)
    with pytest.raises(PaymentRefused) as refused:
        checkout.patient.capture(reference)
    assert refused.value.code == "authorisation_voided"
