"""The scenes of a tour. Each does something to a shop that is being asked all the time, and says what has come of it.

What a scene claims is measured: by what visitors were answered, by the platform, or by the provider's ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from localfaas.status import Row
from tests.load.demo.buying import BUYERS, CARD_LOST, pay_once, sell_the_last_piece
from tests.load.demo.drawing import Claim, carts
from tests.load.demo.record import Sum
from tests.load.demo.stage import Stage

CART = "cart"
MOST, FEWER = 5, 3
"""Replicas of cart: as many as stack.yml allows, and for who has them already, some fewer."""
READY_SECONDS = 30.0
"""Within which replicas come and go, on a busy machine too."""


@dataclass(frozen=True)
class Scene:
    """`happens` is said while it is played; `look_at` are names of Shop.pages."""

    name: str
    title: str
    happens: str
    look_at: Sequence[str]
    play: Callable[[Stage], list[Claim]]


def trade_calmly(stage: Stage) -> list[Claim]:
    stage.hold()
    return [nothing_failed(stage.sum)]


def nothing_failed(its: Sum) -> Claim:
    """Of what was asked for in a scene so far."""
    answered, failed = its.answered.total(), its.failed.total()
    if failed or not answered:
        return Claim(f"{failed:,} of {its.sent.total():,} requests failed", holds=False)
    return Claim(f"no request failed: {answered:,} were answered as they should be", holds=True)


def kill_a_replica(stage: Stage) -> list[Claim]:
    serving = stage.shop.serving(CART)
    if len(serving) < 2:
        return [Claim("cart has no two replicas to spare one of: `make scale f=cart n=3`", holds=False)]
    stage.hold(0.2)
    victim, killed = serving[-1], time.monotonic()
    stage.shop.kill(victim)
    stage.note(f"kill -9 {victim.pid}, which was {victim.program}")
    answered = _answers_again(stage, victim, killed)
    stage.note(f"{victim.program} {'answers again' if answered.holds else 'is still away'}")
    stage.hold()
    return [no_get_failed(stage.sum), answered]


def _answers_again(stage: Stage, victim: Row, killed: float) -> Claim:
    """Another process in its place takes traffic, and has answered a visitor."""
    name = victim.program
    if stage.until(lambda: stage.shop.is_back(victim), READY_SECONDS) is not None:
        since = time.monotonic()
        if stage.until(lambda: name in stage.record.served_by(since), READY_SECONDS) is not None:
            seconds = time.monotonic() - killed
            return Claim(
                f"{name} came back as another process, and answered after {seconds:.1f} s", holds=True
            )
    return Claim(f"{name} has not answered for {READY_SECONDS:.0f} s: `make logs f={name}`", holds=False)


def no_get_failed(its: Sum) -> Claim:
    """What changes something may be lost with a replica, because sending it again could do it twice."""
    answered, failed = its.answered["GET"], its.failed["GET"]
    if failed or not answered:
        return Claim(f"{failed:,} of {its.sent['GET']:,} GETs failed", holds=False)
    lost, others = its.failed.total(), its.sent.total() - its.sent["GET"]
    beside = f"; of {others:,} that change something {lost} failed" if lost else ""
    return Claim(f"no GET failed: {answered:,} were answered as they should be{beside}", holds=True)


def scale_out_and_in(stage: Stage) -> list[Claim]:
    before = stage.replicas_of(CART).wanted
    many = MOST if before < MOST else FEWER
    came = _scaled(stage, many)
    since = time.monotonic()
    stage.until(lambda: len(carts(stage.record.served_by(since))) == many, READY_SECONDS)
    stage.hold(0.6)
    shares = carts(stage.record.served_by(since))
    left = _scaled(stage, before)
    stage.hold()
    spread = ", ".join(f"{name} {count}" for name, count in shares.items())
    return [
        came,
        Claim(f"{len(shares)} of them have answered visitors: {spread}", len(shares) == many),
        left,
        nothing_failed(stage.sum),
    ]


def _scaled(stage: Stage, count: int) -> Claim:
    """Replicas have come or gone."""
    stage.client.scale(CART, count)
    stage.note(f"make scale f=cart n={count}")
    seconds = stage.until(lambda: are_there(stage, count), READY_SECONDS)
    if seconds is None:
        return Claim(f"cart has not {count} replicas after {READY_SECONDS:.0f} s: `make status`", holds=False)
    return Claim(f"{count} replicas of cart after {seconds:.1f} s", holds=True)


def are_there(stage: Stage, count: int) -> bool:
    """So many take traffic, as the gateway says, and there are no other processes of cart."""
    return stage.replicas_of(CART).available == len(stage.shop.replicas_of(CART)) == count


SCENES = (
    Scene(
        "calm",
        "calm trade",
        "Visitors browse, search, look at products and fill carts; somebody buys every few seconds.",
        ("shop", "docs", "overview"),
        trade_calmly,
    ),
    Scene(
        "kill",
        "a replica is killed",
        "One of cart's replicas is killed with kill -9. supervisord starts it again; meanwhile the edge sends every GET to the others.",
        ("edge",),
        kill_a_replica,
    ),
    Scene(
        "scale",
        "more replicas, and fewer",
        "cart gets more replicas and gives them back while it is asked. Who leaves takes nothing new, and answers what it has begun.",
        ("autoscaling",),
        scale_out_and_in,
    ),
    Scene(
        "once",
        "an answer is lost",
        f"A customer pays with {CARD_LOST}: the provider holds the money, and its answer never comes. Impatient, the customer sends the same again, with the same key.",
        ("orders", "traces"),
        pay_once,
    ),
    Scene(
        "last",
        "the last piece",
        f"{BUYERS} customers have the same last piece in their carts, and pay at the same moment.",
        ("orders", "traces"),
        sell_the_last_piece,
    ),
)
"""In the order in which they are played."""
