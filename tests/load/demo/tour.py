"""A tour from beginning to end: make ready, play the scenes, reckon, and leave everything as it was found."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import psycopg2

from localfaas.client import ClientError
from localfaas.supervisor import SupervisorError
from tests.load import scenario
from tests.load.demo.drawing import Claim, Replicas, View
from tests.load.demo.goods import Surprise
from tests.load.demo.outcome import SUM, Outcome, all_answered, of_requests
from tests.load.demo.reckoning import reckon, unsettled
from tests.load.demo.record import Record, Sum
from tests.load.demo.scenes import CART, READY_SECONDS, Scene, are_there
from tests.load.demo.shop import Shop
from tests.load.demo.stage import AFTER, UNREAD, Screen, Stage, Watch
from tests.load.demo.visits import Trade, products

FEWEST_PRODUCTS = 20
"""The scenario's visitors look at a page of so many."""
PLENTY = 200
"""More pieces than a tour buys."""
SETTLED_SECONDS = 30.0
COUNTED_SECONDS = 3.0
EXPECTED = (ClientError, Surprise, SupervisorError, psycopg2.Error)
"""What may come of a shop that is not well; the message says what."""
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def tour(shop: Shop, scenes: Sequence[Scene], screen: Screen, seconds: float) -> Outcome:
    """Play the scenes, each for so many seconds at least. Raises one of EXPECTED when it cannot begin.

    Whatever happens, the load ends, and replicas and goods are as they were.
    """
    outcome, left = Outcome(), list[Claim]()
    with closing(shop.client()) as client:
        stage = Stage(shop, Record(time.monotonic()), client, screen, Watch(shop.client()), seconds)
        found, counted = stage.replicas_of(CART), shop.counted_by_edge()
        ends = ExitStack()
        try:
            ends.callback(lambda: left.append(_put_back(stage, found)))
            ends.callback(stage.watch.stop)
            stage.watch.start()
            trade = _made_ready(stage)
            ends.callback(trade.stop)
            trade.start()
            _play(stage, scenes, outcome)
            trade.stop()
            outcome.claims[SUM] = _reckoned(stage, len(scenes) + 1)
        except KeyboardInterrupt:
            outcome.stopped = True
        finally:
            with signals(signal.SIG_IGN):
                ends.close()
                with UNREAD:
                    screen.close()
    outcome.sums = stage.record.sums()
    outcome.edge_counted = _counted(shop, counted, outcome.sums)
    outcome.claims.setdefault(SUM, []).extend([*of_requests(outcome.sums, outcome.edge_counted), *left])
    return outcome


@contextmanager
def signals(handler: Callable[..., Any] | signal.Handlers) -> Iterator[None]:
    """Whoever asks to end, by Ctrl-C or by closing the terminal, is heard by this handler for a while."""
    kept = {number: signal.signal(number, handler) for number in STOPS}
    try:
        yield
    finally:
        for number, before in kept.items():
            signal.signal(number, before)


def _made_ready(stage: Stage) -> Trade:
    """Visitors who know what they may look at, and something to buy. Raises Surprise."""
    with closing(stage.caller()) as visitor:
        rows = products(visitor)
    if len(rows) < FEWEST_PRODUCTS:
        raise Surprise(
            f"the shop shows {len(rows)} products to begin with; {FEWEST_PRODUCTS} at least are needed: "
            "`python -m db.seed.demo` loads some"
        )
    with closing(stage.caller("hq", "tour")) as head:
        bought = stage.goods.add(head, "A lantern for the tour", PLENTY)
    values = rows[0] | {"sku": bought.sku, "product_id": bought.product_id}
    return Trade(stage.caller, scenario.load(), rows, lambda: (stage.shop.bearer("customer"), values))


def _play(stage: Stage, scenes: Sequence[Scene], outcome: Outcome) -> None:
    pages = stage.shop.pages(stage.shop.running())
    for number, scene in enumerate(scenes, 1):
        look_at = [pages[name] for name in scene.look_at if name in pages]
        stage.begin(scene.name, View(number, len(scenes) + 1, scene.title, scene.happens, look_at))
        try:
            claims = scene.play(stage)
        except EXPECTED as exc:
            claims = [Claim(f"it could not be played to its end: {exc}", holds=False)]
        outcome.claims[scene.name], outcome.picture = claims, stage.view()
        with UNREAD:
            stage.screen.end(claims)


def _reckoned(stage: Stage, number: int) -> list[Claim]:
    """The books, once nothing is under way."""
    stage.begin(SUM, View(number, number, "the sum", "The load has ended, and the books are checked."))
    settings = stage.shop.settings
    try:
        if stage.until(lambda: unsettled(settings) == 0, SETTLED_SECONDS) is None:
            return [Claim(f"{unsettled(settings)} checkouts are not settled: `make doctor`", holds=False)]
        return reckon(settings, os.environ, stage.goods)
    except EXPECTED as exc:
        return [Claim(f"the books could not be read: {exc}", holds=False)]


def _put_back(stage: Stage, found: Replicas) -> Claim:
    """As many replicas as there were, and nothing of the tour on sale or in stock."""
    stage.begin(AFTER, View(0, 0, "the end", "Everything is put back as it was found."))
    faults = []
    try:
        if stage.replicas_of(CART).wanted != found.wanted:
            stage.client.scale(CART, found.wanted)
        if stage.until(lambda: are_there(stage, found.wanted), READY_SECONDS) is None:
            faults.append(f"cart is not yet at its {found.wanted} replicas again: `make status`")
    except EXPECTED as exc:
        faults.append(f"cart may not have its {found.wanted} replicas: {exc}")
    with closing(stage.caller("hq", "tour")) as head:
        try:
            faults += stage.goods.take_out(head)
        except EXPECTED as exc:
            faults.append(f"some of the tour's goods may still be on sale: {exc}")
    as_found = f"all is as it was found: {found.wanted} replicas of cart, and nothing of the tour on sale"
    return Claim("; ".join(faults) or as_found, not faults)


def _counted(shop: Shop, before: int | None, sums: Mapping[str, Sum]) -> int | None:
    """How many requests the edge has counted since; it may count the last ones a moment after they were answered."""
    deadline, answered = time.monotonic() + COUNTED_SECONDS, all_answered(sums)
    while True:
        now = shop.counted_by_edge()
        if now is None or before is None:
            return None
        if now - before >= answered or time.monotonic() > deadline:
            return now - before
        time.sleep(0.1)
