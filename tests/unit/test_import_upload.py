"""Loading through the public API: waiting as told, going on after a failure, naming what the shop refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from db.seed.catalogue import (
    LONGEST_NAME,
    LONGEST_SKU,
    MAX_PRICE_CENTS,
    ROWS_PER_REQUEST,
    Answer,
    Catalogue,
    Outcome,
    Send,
    ShopConnection,
    UploadError,
)
from functions.products import domain
from functions.shared import validation


class FakeShop:
    """Answers from a script; then stores what it is sent, as the products function does."""

    def __init__(self, *script: Answer | Exception) -> None:
        self.script = list(script)
        self.stored: dict[str, Mapping[str, Any]] = {}
        self.now = 0.0
        self.waits: list[float] = []
        self.said: list[str] = []
        self.batches: list[int] = []

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        if self.script:
            step = self.script.pop(0)
            if isinstance(step, Exception):
                raise step
            return step
        items = json.loads(body or b"{}")["items"]
        self.batches.append(len(items))
        bad = [index for index, item in enumerate(items) if item["price_cents"] < 0]
        if bad:
            errors = [{"field": f"items.{index}.price_cents", "message": "too small"} for index in bad]
            return Answer(422, {}, json.dumps({"detail": "no", "errors": errors}).encode())
        return Answer(200, {}, json.dumps(self._store(items)).encode())

    def _store(self, items: list[dict[str, Any]]) -> dict[str, int]:
        counts = {"created": 0, "updated": 0, "unchanged": 0}
        for item in items:
            present = self.stored.get(item["sku"])
            counts["created" if present is None else "unchanged" if present == item else "updated"] += 1
            self.stored[item["sku"]] = item
        return counts

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def catalogue(self) -> Catalogue:
        return Catalogue(self.send, self.said.append, lambda: "token", self.sleep, lambda: self.now)


def rows(count: int, price_cents: int = 100) -> list[dict[str, Any]]:
    return [{"sku": f"S{index}", "price_cents": price_cents} for index in range(count)]


def busy(status: int, **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"{}")


def ignore(_done: int) -> None:
    pass


def test_rows_go_in_batches_and_a_second_time_changes_nothing() -> None:
    shop, seen = FakeShop(), list[int]()
    first = shop.catalogue().upsert(rows(2 * ROWS_PER_REQUEST + 1), seen.append)
    second = shop.catalogue().upsert(rows(2 * ROWS_PER_REQUEST + 1), ignore)

    assert first == Outcome(created=2001)
    assert second == Outcome(unchanged=2001)
    assert shop.batches == [1000, 1000, 1] * 2
    assert seen == [1000, 2000, 2001]


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (busy(429, retry_after="7"), 7.0),
        (busy(429, ratelimit_reset="3"), 3.0),
        (busy(503, retry_after="2"), 2.0),
        (busy(503), 0.5),
        (busy(502, retry_after="soon"), 0.5),
        (busy(504, retry_after="Thu, 01 Jan 1970 00:00:00 GMT"), 0.0),
        (busy(429, retry_after="9999"), 60.0),
    ],
)
def test_a_busy_shop_is_waited_for_as_told(answer: Answer, wait: float) -> None:
    shop = FakeShop(answer)
    assert shop.catalogue().upsert(rows(1), ignore).created == 1
    assert shop.waits == [wait]
    assert len(shop.said) == 1


def test_a_connection_lost_half_way_is_opened_again_and_the_import_goes_on() -> None:
    shop = FakeShop(ConnectionResetError("reset"), TimeoutError(), ConnectionRefusedError("refused"))
    assert shop.catalogue().upsert(rows(3), ignore).created == 3
    assert shop.waits == [0.5, 1.0, 2.0]


def test_a_shop_that_stays_away_is_given_up_in_bounded_time() -> None:
    shop = FakeShop(*[busy(503)] * 1000)
    with pytest.raises(UploadError, match="the shop answers 503; gave up"):
        shop.catalogue().upsert(rows(1), ignore)
    assert sum(shop.waits) <= 180


def test_a_shop_that_is_not_running_is_said_within_seconds() -> None:
    shop = FakeShop(*[ConnectionRefusedError("refused")] * 1000)
    with pytest.raises(UploadError, match="is it running"):
        shop.catalogue().check()
    assert sum(shop.waits) <= 2


def test_rows_the_shop_refuses_are_named_and_the_others_are_stored() -> None:
    shop = FakeShop()
    batch = rows(5)
    batch[1] = {"sku": "BAD", "price_cents": -1}
    outcome = shop.catalogue().upsert(batch, ignore)

    assert outcome == Outcome(created=4, refused={"BAD": "price_cents: too small"})
    assert sorted(shop.stored) == ["S0", "S2", "S3", "S4"]


def test_a_batch_of_refused_rows_alone_is_not_sent_again() -> None:
    shop = FakeShop()
    assert shop.catalogue().upsert(rows(3, price_cents=-1), ignore).refused.keys() == {"S0", "S1", "S2"}
    assert shop.batches == [3]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(401, {}, b'{"detail": "unknown key"}'), "belong to one platform"),
        (Answer(403, {}, b"{}"), "may not change"),
        (Answer(404, {}, b'{"message": "no Route matched"}'), "no Route matched.*is it deployed"),
        (Answer(413, {}, b"too large"), "too large.*larger than the edge takes"),
        (
            Answer(422, {}, b'{"detail": "no", "errors": [{"field": "items", "message": "m"}]}'),
            "not expected",
        ),
        (Answer(422, {}, b'{"errors": [{"field": "items.99.sku", "message": "m"}]}'), "not expected"),
        (Answer(500, {}, b"\xff"), "not expected"),
    ],
)
def test_an_answer_that_ends_the_import_is_explained(answer: Answer, message: str) -> None:
    with pytest.raises(UploadError, match=message):
        FakeShop(answer).catalogue().upsert(rows(1), ignore)


@pytest.mark.parametrize("address", ["", "localhost:8000", "ftp://shop", "http://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UploadError, match="EDGE_URL must be an address"):
        ShopConnection(address)


def test_a_connection_is_something_that_sends() -> None:
    send: Send = ShopConnection("http://127.0.0.1:9")
    with pytest.raises(OSError):
        send("GET", "/", None, {})


def test_the_limits_known_here_are_those_of_the_products_function() -> None:
    assert (LONGEST_SKU, LONGEST_NAME, MAX_PRICE_CENTS, ROWS_PER_REQUEST) == (
        domain.LONGEST_SKU,
        validation.LONGEST_NAME,
        domain.HIGHEST_PRICE_CENTS,
        domain.ROWS_PER_BULK,
    )
