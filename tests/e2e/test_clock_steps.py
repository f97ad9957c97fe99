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
from collections.abc import Iterator, Mapping, Sequence
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
    pytest.mark.skipif(not LONG, reason="takes one and a half minutes: VERIFY=1"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, cc"),
]

HOUR, DAY = 3600, 86_400
STEPS: Mapping[str, int] = {
    "an hour ahead": HOUR, "true again": 0, "an hour behind": -HOUR, "true once more": 0, "three days ahead": 3 * DAY, "true at last": 0,
}  # fmt: skip
"""By how much the clock is off then. An hour is longer than a token holds, three days longer than an answer is kept under its key."""
TILLS, BUYERS = 2, 2
BACK_SECONDS = 5.0
"""From a step on; then everybody is served and nobody refused, as after a fault. A function signs its own tokens anew at once,
so no token makes it longer."""
CALM_SECONDS = 3.0
"""For so long then it is watched that nobody is refused."""
GIVE_UP_SECONDS = 30.0
"""In which it is told how long it took, should it be too long."""
REFUSALS = frozenset({401, 429, 503})
"""What somebody who asks again may be answered meanwhile."""


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
class Seen:
    """What somebody who trades has seen, by the monotonic clock."""

    answers: list[tuple[float, int]] = field(default_factory=list)
    """When each came, and its status."""
    served: list[tuple[float, float]] = field(default_factory=list)
    """When each purchase that was served began, and when it was over."""

    def served_since(self, at: float) -> float | None:
        """When the first purchase that began since then was over."""
        return next((ended for began, ended in list(self.served) if began > at), None)


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
    seen: Seen = field(default_factory=Seen)

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
                self.seen.served.append((began, time.monotonic()))
        self.leave()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """Again where the clock has stepped since the token was signed: 401."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            token = mint(self.role, self.platform.secrets, self.clock.now())
            self.token = {"Authorization": f"Bearer {token}"}
            response = super().ask(method, path, body, **headers)
            self.seen.answers.append((time.monotonic(), response.status_code))
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


@dataclass(frozen=True)
class Recovery:
    """From a step of the clock until everybody is served and nobody refused any more."""

    seconds: float
    refused: Counter[int]

    @staticmethod
    def of(traders: Sequence[Seen], at: float) -> Recovery | None:
        """None until everybody has been served since `at`."""
        served = [since for one in traders if (since := one.served_since(at))]
        if len(served) < len(traders):
            return None
        refusals = [
            (when, status)
            for one in traders
            for when, status in list(one.answers)
            if when > at and status in REFUSALS
        ]
        last = max(served + [when for when, _ in refusals])
        return Recovery(last - at, Counter(status for _, status in refusals))

    def __str__(self) -> str:
        refused = ", ".join(f"{number} of {status}" for status, number in sorted(self.refused.items()))
        return f"all well after {self.seconds:.1f} s, refusals: {refused or 'none'}"


def seconds_off(settings: Settings) -> float:
    """By how much PostgreSQL's clock is off."""
    with closing(psycopg2.connect(admin_url(settings))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM now())::float8 - %s", (time.time(),))
        ((off,),) = cursor.fetchall()
    return float(off)


def test_a_clock_that_steps_costs_nobody_a_document(
    clock: tuple[Platform, Clock], request: pytest.FixtureRequest
) -> None:
    """What came of each step is told in the report, as `found`."""
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
    done, recoveries = threading.Event(), dict[str, Recovery]()
    with ThreadPoolExecutor(len(traders)) as pool:
        trading = [pool.submit(trader.keep_trading, done) for trader in traders]
        try:
            wait_for(lambda: all(trader.seen.served for trader in traders), what="the first sales")
            for step, offset in STEPS.items():
                its.step(offset)
                at = time.monotonic()
                # One that starts now believes no token of the time before that others still know.
                Supervisor(platform.settings).signal("inventory-1", "TERM")
                time.sleep(BACK_SECONDS + CALM_SECONDS)  # that nobody is refused any more announces nothing
                recoveries[step] = wait_for(
                    lambda at=at: Recovery.of([trader.seen for trader in traders], at),
                    GIVE_UP_SECONDS,
                    f"that all are served again with the clock {step}",
                )
                request.node.user_properties.append(("found", f"{step}: {recoveries[step]}"))
                # Functions have stepped as well: they have believed tokens of that time.
                assert seconds_off(platform.settings) == pytest.approx(offset, abs=5), step
        finally:
            done.set()
            for one in trading:
                one.result()

    assert {step: str(one) for step, one in recoveries.items() if one.seconds > BACK_SECONDS} == {}
    statuses = Counter(status for trader in traders for _, status in trader.seen.answers)
    assert not {status for status in statuses if status in {500, 502, 504}}, statuses
    kept = [one for trader in traders for one in trader.final]
    by_arm = {arm: [one for one in kept if one.arm == arm] for arm in (Till.arm, Buyer.arm)}
    assert all(any(one.value for one in its) for its in by_arm.values())
    found = reckoning.differences(
        by_arm[Till.arm], by_arm[Buyer.arm], {"sales": 0, "orders": 0}, reckoning.read(platform.settings)
    )
    assert {name: some for name, some in found.items() if some} == {}
    assert shop.done("GET", "/inventory/invariants", token=shop.head)["holds"]


def test_whoever_is_refused_late_or_served_late_is_told_of() -> None:
    soon = Seen([(99.0, 503), (100.5, 401), (101.0, 201)], [(98.0, 100.2), (100.6, 101.0)])
    refused = Seen([(101.0, 201), (106.0, 503)], [(100.1, 101.0)])
    late = Seen([(108.0, 201)], [(100.1, 108.0)])
    never = Seen([(101.0, 503)], [(98.0, 99.0)])
    assert Recovery.of([soon], 100.0) == Recovery(1.0, Counter({401: 1}))
    assert Recovery.of([soon, refused], 100.0) == Recovery(6.0, Counter({401: 1, 503: 1}))
    assert Recovery.of([soon, late], 100.0) == Recovery(8.0, Counter({401: 1}))
    assert Recovery.of([soon, never], 100.0) is None
