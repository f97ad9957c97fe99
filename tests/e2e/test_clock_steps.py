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
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
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
from tests.experiments.common.shop import REGISTER, STORE, Shop
from tests.experiments.failover.stage import all_is_well
from tests.experiments.soak import reckoning
from tests.support.effort import LONG
from tests.support.platform import PROJECT, Platform, discard, new_platform
from tests.support.shoppers import PATIENCE_SECONDS, Person, check_out
from tests.support.waiting import wait_for

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


@dataclass(kw_only=True)
class Trader(Person, ABC):
    """Somebody who trades in one thing at the prices of a shop, with a token of that moment for each request."""

    arm: ClassVar[str]
    document: ClassVar[str]
    """The field with the id of what was made."""
    shop: Shop
    clock: Clock
    sku: str
    role: TokenRequest
    final: list[Kept] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    served_at: float = 0.0
    """When the last request that was served began, by the monotonic clock."""

    @abstractmethod
    def trade(self) -> requests.Response | None:
        """The final answer to one purchase, if it came to that."""

    def keep_trading(self, done: threading.Event) -> None:
        while not done.is_set():
            began = time.monotonic()
            if (answer := self.trade()) is None:
                continue
            key = str(answer.request.headers["Idempotency-Key"])
            made = answer.json()[self.document] if answer.status_code == 201 else None
            self.final.append(Kept(self.arm, key, answer.status_code, 1, made))
            if made:
                self.served_at = began
        self.leave()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """Again where the clock has stepped since the token was signed: 401."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            token = mint(self.role, self.platform.secrets, self.clock.now())
            self.token = {"Authorization": f"Bearer {token}"}
            response = super().ask(method, path, body, **headers)
            self.statuses[response.status_code] += 1
            if response.status_code != 401:
                return response
            assert time.monotonic() < deadline, response.text


class Till(Trader):
    arm, document = "till sale", "sale_id"

    def trade(self) -> requests.Response:
        tender = {"kind": "card", "amount_cents": self.shop.total_cents, "reference": "T1"}
        lines = [{"sku": self.sku, "quantity": 1}]
        return self.insist("/sales", {"register": REGISTER, "lines": lines, "tenders": [tender]})


class Buyer(Trader):
    arm, document = "checkout", "order_id"

    def trade(self) -> requests.Response | None:
        cart = self.ask("PUT", f"/cart/items/{self.sku}", {"quantity": 1})
        return check_out(self, cart.json()) if cart.status_code == 200 else None


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
    clerk = TokenRequest(("staff",), "experiment", STORE)
    traders: list[Trader] = [
        *(Till(platform=platform, shop=shop, clock=its, sku=next(skus), role=clerk) for _ in range(TILLS)),
        *(
            Buyer(
                platform=platform, shop=shop, clock=its, sku=next(skus), role=TokenRequest(("customer",), str(uuid4()), None)
            )
            for _ in range(BUYERS)
        ),
    ]  # fmt: skip
    done = threading.Event()
    with ThreadPoolExecutor(len(traders)) as pool:
        trading = [pool.submit(trader.keep_trading, done) for trader in traders]
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
            done.set()
            for one in trading:
                one.result()

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
