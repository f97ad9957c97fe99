"""How long requests have waited is known although the gateway's clock is another, and whatever somebody forges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from functions.shared.waiting import DISPROVED_SECONDS, LONGEST_WAIT_SECONDS, Waits, seconds_since

NOW = 1_800_000_000.0
PERIOD_SECONDS = 0.1
"""Between two requests of a steady traffic."""


@dataclass
class Replica:
    """A replica whose time is told to it, and a gateway whose clock is `behind` the replica's by some seconds."""

    behind: float = 0.0
    now: float = 0.0
    waits: Waits = field(init=False)

    def __post_init__(self) -> None:
        self.waits = Waits(clock=lambda: NOW + self.now, monotonic=lambda: self.now)

    def is_refused(self, waited: float, *, claimed: float | None = None) -> bool:
        """Whether a request is that waited so long; one that claims to have waited has its own header, forged."""
        _, too_long = self.waits.judge(self._header(waited + self.behind if claimed is None else claimed))
        return too_long

    def known(self, waited: float) -> float | None:
        """How long it is thought to have waited."""
        return self.waits.judge(self._header(waited + self.behind))[0]

    def steady(self, seconds: float, waited: float = 0.01, forged: Sequence[float] = ()) -> list[bool]:
        """Whether each request of a while is refused; whoever forges comes before each of them, with one claim after the other."""
        found = []
        for number in range(round(seconds / PERIOD_SECONDS)):
            self.now += PERIOD_SECONDS
            if forged:
                self.is_refused(0, claimed=forged[number % len(forged)])
            found.append(self.is_refused(waited))
        return found

    def _header(self, ago: float) -> str:
        return str(round((NOW + self.now - ago) * 1e9))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("1799999999500000000", 0.5),
        ("1800000000000000000", 0.0),
        ("1800000003000000000", -3.0),
        ("1800000100000000000", None),
        ("1799999000000000000", None),
        ("1", None),
        ("", None),
        ("-1799999999500000000", None),
        ("1.5", None),
        ("soon", None),
        ("١٢٣", None),
        ("9" * 5000, None),
    ],
)
def test_nonsense_says_nothing_and_refuses_nobody(header: str, expected: float | None) -> None:
    found = seconds_since(header, NOW)
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-6))
    if expected is None:
        assert Replica().waits.judge(header) == (None, False)


@pytest.mark.parametrize("behind", [-45.0, -10.0, 0.0, 0.4, 3.0, 10.0, 45.0])
def test_what_waited_too_long_is_refused_whatever_the_gateways_clock_says(behind: float) -> None:
    replica = Replica(behind)
    assert not any(replica.steady(1))
    assert not replica.is_refused(2)
    assert replica.known(2) == pytest.approx(2, abs=0.5)
    assert replica.is_refused(7)
    assert not any(replica.steady(60))


def test_a_clock_that_is_set_back_has_requests_refused_for_a_moment_only() -> None:
    replica = Replica()
    assert not any(replica.steady(5))
    replica.behind = 10
    assert sum(replica.steady(60)) <= DISPROVED_SECONDS / PERIOD_SECONDS + 1
    assert replica.known(2) == pytest.approx(2, abs=0.1)
    replica.behind = 0
    assert not any(replica.steady(5))
    assert replica.is_refused(7)


def test_a_clock_that_is_set_ahead_has_nothing_refused_and_is_known_soon() -> None:
    replica = Replica()
    assert not any(replica.steady(5))
    replica.behind = -10
    assert not any(replica.steady(5))
    assert replica.known(2) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    "forged", [[10.0], [-10.0], [40.0], [-40.0], [4.0], [-4.0], [10.0, -10.0], [4.0, -40.0, 30.0]]
)
def test_whoever_forges_has_nobody_else_refused(forged: list[float]) -> None:
    replica = Replica()
    assert not any(replica.steady(20, forged=forged))
    for _ in range(200):  # at night, alone
        replica.now += PERIOD_SECONDS
        for claimed in forged:
            replica.is_refused(0, claimed=claimed)
    assert not any(replica.steady(20, forged=forged))
    assert not any(replica.steady(20, waited=0.9, forged=forged))


def test_the_first_to_come_may_forge_too() -> None:
    for claimed in (-40.0, -10.0, 4.0, 10.0, 40.0):
        replica = Replica()
        replica.is_refused(0, claimed=claimed)
        assert not any(replica.steady(20))
        assert replica.is_refused(7)


def test_after_a_stall_everybody_who_is_still_in_time_is_served() -> None:
    replica = Replica()
    replica.steady(5)
    replica.now += 3
    assert not any(replica.is_refused(3 - 0.05 * number) for number in range(60))
    replica.now += 8
    waited = [8 - 0.11 * number for number in range(64)]
    assert [replica.is_refused(seconds) for seconds in waited] == [
        seconds > LONGEST_WAIT_SECONDS for seconds in waited
    ]


def test_in_a_queue_that_stands_nobody_waits_for_long() -> None:
    replica = Replica()
    assert not replica.is_refused(0.01)
    assert not any(replica.steady(LONGEST_WAIT_SECONDS, waited=3))
    replica.now += 2 * PERIOD_SECONDS
    assert replica.is_refused(3)
    assert not replica.is_refused(0.9), "there is always somebody to be served"
    assert replica.is_refused(1.5)
    assert not replica.is_refused(0.1), "the queue has ended"
    assert not replica.is_refused(3)


def test_waiting_for_less_than_a_second_is_never_refused() -> None:
    replica = Replica()
    assert not any(replica.steady(60, waited=0.9))
