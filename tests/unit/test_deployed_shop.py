"""The end-to-end suite's shop that is known by its address alone."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import requests

from tests.support.platform import Deployed, new_platform

ENVIRON = {
    "E2E_EDGE_URL": "https://shop.example/",
    "E2E_GATEWAY_URL": "http://127.0.0.1:31112",
    "E2E_SECRETS": "/keys",
}


def answer(status: int, **headers: str) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return made


def test_addresses_are_those_that_were_given() -> None:
    shop = Deployed.named_in(ENVIRON)
    assert shop is not None
    assert shop.edge("/api/cart") == shop.browsers_edge + "/api/cart" == "https://shop.example/api/cart"
    assert shop.gateway("/function/cart") == "http://127.0.0.1:31112/function/cart"
    assert shop.secrets == Path("/keys")
    told = shop.environment()
    assert (told["EDGE_URL"], told["SECRETS_DIR"]) == ("https://shop.example", "/keys")


def test_without_an_address_the_suite_makes_its_own_platform() -> None:
    assert Deployed.named_in({}) is None


@pytest.mark.parametrize("look", ["settings", "state", "offset"])
def test_what_only_one_machine_has_is_skipped_with_the_reason(look: str) -> None:
    with pytest.raises(pytest.skip.Exception, match="one machine"):
        getattr(Deployed(ENVIRON), look)


def test_what_only_one_machine_can_be_told_is_skipped_with_the_reason() -> None:
    shop = Deployed(ENVIRON)
    for tell in (shop.processes, lambda: shop.run("down")):
        with pytest.raises(pytest.skip.Exception, match="one machine"):
            tell()


def test_what_was_not_given_is_named() -> None:
    with pytest.raises(pytest.skip.Exception, match="E2E_GATEWAY_URL is not set"):
        Deployed({"E2E_EDGE_URL": "http://localhost:8000"}).gateway("/")


def test_no_platform_is_started_beside_a_shop_that_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E2E_EDGE_URL", "http://localhost:8000")
    with pytest.raises(pytest.skip.Exception, match="of its own"):
        new_platform(Path())


def test_limits_of_the_edge_are_waited_for_and_a_functions_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    answers = [answer(429, RateLimit_Limit="20", Retry_After="7"), answer(201, RateLimit_Limit="20")]
    assert Deployed(ENVIRON).patiently(lambda: answers.pop(0)).status_code == 201
    assert slept == [7.0]
    assert Deployed(ENVIRON).patiently(lambda: answer(429)).status_code == 429
