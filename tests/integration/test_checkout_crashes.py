"""kill -9 of the replica that checks out, at every named point, once and twice in a row: finished or undone, and once.

`make crash-test` repeats each ten times, with both ways to recover and with each card that is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from functions.checkout.saga import points
from tests.support.crashes import By, CrashLab, running_crash_lab
from tests.support.postgres import PostgresServer

RUNS = int(os.environ.get("CRASH_RUNS", "1"))
BACK = ("checkout.undo-", "checkout.refuse.")
FORWARD = [point for point in points() if not point.startswith(BACK)]
BACKWARD = [point for point in points() if point.startswith(BACK)]
REFUSED_CARDS = ("tok_capture_refused", "tok_declined")
WAYS: tuple[By, ...] = ("client", "maintenance")


@pytest.fixture(scope="module")
def lab(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashLab]:
    with running_crash_lab(postgres_server, tmp_path_factory.mktemp("crashes")) as lab:
        yield lab


def is_passed_again(point: str) -> bool:
    """Whether who goes on comes by this point once more: what is stored is not done again."""
    return not point.endswith(".stored")


def cases(named: list[str]) -> list[tuple[str, int]]:
    return [(point, times) for point in named for times in (1, 2) if times == 1 or is_passed_again(point)]


def ways(times: int) -> list[By]:
    """In one run each way has its share; in many runs each case has both."""
    return list(WAYS) * RUNS if RUNS > 1 else [WAYS[times - 1]]


@pytest.mark.parametrize(("point", "times"), cases(FORWARD))
def test_killed_on_the_way_it_is_bought_once(lab: CrashLab, point: str, times: int) -> None:
    for by in ways(times):
        bought = lab.customer()
        lab.killed(bought, point, times)
        lab.check_bought(bought, lab.settle(bought, by))


@pytest.mark.parametrize(("point", "times"), cases(BACKWARD))
def test_killed_on_the_way_back_nothing_is_left(lab: CrashLab, point: str, times: int) -> None:
    for run, by in enumerate(ways(times)):
        bought = lab.customer(REFUSED_CARDS[(run // len(WAYS) + times) % len(REFUSED_CARDS)])
        lab.killed(bought, point, times)
        lab.check_refused(bought, lab.settle(bought, by))
