"""A clock that steps under the running shop, forward and back: who asks again is served, and the books agree.

A library of a few lines (tests/support/stepping_clock.c) tells the time to whatever asks the C library for it: functions,
PostgreSQL, both Envoys, the API. What is written in Go asks the kernel and keeps the true time, as this test does.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
import requests

from db.seed.token import TokenRequest, mint
from localfaas.database import write_secret
from localfaas.settings import Settings
from localfaas.status import rows
from localfaas.supervisor import Supervisor
from localfaas.up import admin_url
from tests.experiments.common.driving import Kept
from tests.experiments.common.platforms import is_back
from tests.experiments.common.shop import JSON, REGISTER, STORE, Shop
from tests.experiments.failover.stage import all_is_well
from tests.experiments.soak import reckoning
from tests.support.effort import LONG
from tests.support.platform import PROJECT, Platform, discard, new_platform
from tests.support.waiting import wait_for
from tests.support.webshop import checkout_body

SOURCE = PROJECT / "tests" / "support" / "stepping_clock.c"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not LONG, reason="takes a minute: VERIFY=1"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, cc"),
]

HOUR, DAY = 3600, 86_400
STEPS: Mapping[str, int] = {
    "an hour ahead": HOUR, "true again": 0, "an hour behind": -HOUR, "true once more": 0, "three days ahead": 3 * DAY, "true at last": 0,
}  # fmt: skip
"""By how much the clock is off then. An hour is longer than a token holds, three days longer than an answer is kept under its key."""
TILLS, BUYERS = 2, 2
PATIENCE_SECONDS = 60.0
BACK_SECONDS = 20.0
"""In which everybody has been served after a step."""


@dataclass
class Clock:
    """The time of a platform, as its processes are told it."""

    folder: Path
    offset: int = 0

    def __post_init__(self) -> None:
        self.step(0)
        command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE)]
        subprocess.run(command, check=True)

    def step(self, offset: int) -> None:
        """From one moment to the next, by so many seconds off the true time."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", offset * 10**9))
        self.offset = offset

    def now(self) -> float:
        return time.time() + self.offset

    def rule(self, settings: Settings) -> None:
        """Have a platform's processes tell time by it, by the scripts that start them, from their next start on: now."""
        # What scales would write scripts anew.
        Supervisor(settings).stop("alertmanager")
        words = f"exec env -i LD_PRELOAD={self._library} STEPPING_CLOCK={self._file} "
        for script in (settings.supervisor / "conf.d").glob("[!.]*.sh"):
            write_secret(script, script.read_text().replace("exec env -i ", words, 1))
        before = [row for row in rows(settings) if row.program != "alertmanager"]
        for row in before:
            # PostgreSQL's word for ending in order.
            Supervisor(settings).signal(row.program, "INT" if row.program == "postgres" else "TERM")
        wait_for(
            lambda: all(is_back(rows(settings), row) for row in before), 60, "that all have started again"
        )
        wait_for(lambda: all_is_well(settings), 60, "that all is well")

    @property
    def _file(self) -> Path:
        return self.folder / "clock"

    @property
    def _library(self) -> Path:
        return self.folder / "stepping_clock.so"


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, Clock]]:
    """A shop whose clock can be set."""
    platform, its = new_platform(PROJECT), Clock(tmp_path_factory.mktemp("clock"))
    try:
        platform.run("up")
        its.rule(platform.settings)
        yield platform, its
    finally:
        discard(platform)


@dataclass
class Trader(threading.Thread):
    """Who buys one thing after the other, and insists on a final answer to each, with a token of that moment."""

    shop: Shop
    clock: Clock
    sku: str
    final: list[Kept] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    served_at: float = 0.0
    """When the last request that was served began, by the monotonic clock."""
    error: Exception | None = None
    arm = ""

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._done = threading.Event()
        self._session = requests.Session()

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        try:
            while not self._done.is_set():
                began = time.monotonic()
                if self.trade():
                    self.served_at = began
        except Exception as error:  # told by `stop`, in the thread that waits
            self.error = error
        self._session.close()

    def stop(self) -> None:
        self._done.set()
        self.join(PATIENCE_SECONDS)
        assert not self.is_alive(), f"{self.arm} still waits for an answer"
        if self.error:
            raise self.error

    def trade(self) -> bool:
        """Ask for one document; whether it was made."""
        raise NotImplementedError

    def who(self) -> TokenRequest:
        raise NotImplementedError

    def keep(self, path: str, body: Any, name: str) -> bool:
        """Insist, and keep the final answer with the id that is its field `name`."""
        key = str(uuid4())
        response, tries = self.insist("POST", path, body, key)
        value = response.json()[name] if response.status_code == 201 else None
        self.final.append(Kept(self.arm, key, response.status_code, tries, value))
        return value is not None

    def insist(self, method: str, path: str, body: Any, key: str = "") -> tuple[requests.Response, int]:
        """The first answer that is final, and the number of requests that it took."""
        deadline, tries = time.monotonic() + PATIENCE_SECONDS, 0
        while True:
            tries += 1
            response = self.ask(method, path, body, key)
            if not _asks_again(response):
                return response, tries
            assert time.monotonic() < deadline, (path, response.status_code, response.text)
            time.sleep(0.1)

    def ask(self, method: str, path: str, body: Any, key: str) -> requests.Response:
        token = mint(self.who(), self.shop.settings.secrets, self.clock.now())
        headers = {**JSON, "Authorization": f"Bearer {token}", **({"Idempotency-Key": key} if key else {})}
        url = f"{self.shop.settings.url('edge')}/api{path}"
        response = self._session.request(method, url, json=body, headers=headers, timeout=PATIENCE_SECONDS)
        self.statuses[response.status_code] += 1
        return response


def _asks_again(response: requests.Response) -> bool:
    """Whether it is no final answer: not now, somebody is at it, or a token of another time."""
    if response.status_code == 409:
        return bool(response.json()["code"] == "idempotency_key_in_flight")
    return response.status_code == 401 or response.status_code in reckoning.PASSING


class Till(Trader):
    arm = "till sale"

    def who(self) -> TokenRequest:
        return TokenRequest(("staff",), "experiment", STORE)

    def trade(self) -> bool:
        tender = {"kind": "card", "amount_cents": self.shop.total_cents, "reference": "T1"}
        lines = [{"sku": self.sku, "quantity": 1}]
        return self.keep("/sales", {"register": REGISTER, "lines": lines, "tenders": [tender]}, "sale_id")


class Buyer(Trader):
    arm = "checkout"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._customer = TokenRequest(("customer",), str(uuid4()), None)

    def who(self) -> TokenRequest:
        return self._customer

    def trade(self) -> bool:
        cart, _ = self.insist("PUT", f"/cart/items/{self.sku}", {"quantity": 1})
        if cart.status_code != 200:
            return False
        return self.keep("/checkout", checkout_body(cart.json()), "order_id")


def seconds_off(settings: Settings) -> float:
    """By how much PostgreSQL's clock is off."""
    with closing(psycopg2.connect(admin_url(settings))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM now())::float8 - %s", (time.time(),))
        ((off,),) = cursor.fetchall()
    return float(off)


def test_a_clock_that_steps_costs_nobody_a_document(clock: tuple[Platform, Clock]) -> None:
    platform, its = clock
    shop = Shop(platform.settings)
    shop.open(goods=TILLS + BUYERS, customers=1)
    skus = iter(shop.skus)
    traders: list[Trader] = [
        *(Till(shop, its, next(skus)) for _ in range(TILLS)),
        *(Buyer(shop, its, next(skus)) for _ in range(BUYERS)),
    ]
    for trader in traders:
        trader.start()
    try:
        wait_for(lambda: all(trader.served_at for trader in traders), what="the first sales")
        for step, offset in STEPS.items():
            its.step(offset)
            at = time.monotonic()
            # One that starts now believes no token of the time before that others still know.
            Supervisor(platform.settings).signal("inventory-1", "TERM")
            wait_for(
                lambda at=at: all(trader.served_at > at for trader in traders),
                BACK_SECONDS,
                f"that all are served again with the clock {step}",
            )
            # Functions have stepped as well: they have believed tokens of that time.
            assert seconds_off(platform.settings) == pytest.approx(offset, abs=5), step
    finally:
        for trader in traders:
            trader.stop()

    statuses = sum((trader.statuses for trader in traders), Counter[int]())
    assert not {status for status in statuses if status in {500, 502, 504}}, statuses
    kept = [one for trader in traders for one in trader.final]
    by_arm = {arm: [one for one in kept if one.arm == arm] for arm in (Till.arm, Buyer.arm)}
    assert all(any(one.value for one in its) for its in by_arm.values())
    found = reckoning.differences(
        by_arm[Till.arm], by_arm[Buyer.arm], {"sales": 0, "orders": 0}, reckoning.read(platform.settings)
    )
    assert {name: some for name, some in found.items() if some} == {}
    assert shop.done("GET", "/inventory/invariants", token=shop.head)["holds"]
