"""kill -9 of the replica that checks out, at every named point, once and twice in a row: finished or undone, and once.

`make crash-test` repeats each ten times, with both ways to recover and with each card that is refused.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from functions.checkout.saga import points
from functions.shared import crash
from tests.support.crashes import By, CrashLab, Refusal, running_crash_lab
from tests.support.hand_made_gateway import Hold
from tests.support.postgres import PostgresServer

RUNS = int(os.environ.get("CRASH_RUNS", "1"))
BACK = ("checkout.undo-", "checkout.refuse.")
FORWARD = [point for point in points() if not point.startswith(BACK)]
BACKWARD = [point for point in points() if point.startswith(BACK)]
REFUSALS: tuple[Refusal, ...] = ("capture refused", "stock gone", "card declined")
WAYS: tuple[By, ...] = ("client", "maintenance")


@pytest.fixture(scope="module")
def lab_of_all(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CrashLab]:
    with running_crash_lab(postgres_server, tmp_path_factory.mktemp("crashes")) as lab:
        yield lab


@pytest.fixture
def lab(lab_of_all: CrashLab) -> CrashLab:
    if RUNS > 1:  # looking through the books of thousands of checkouts would take longer than the checkouts
        lab_of_all.shop.renew()
    return lab_of_all


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
        refusal = REFUSALS[(run // len(WAYS) + times - 1) % len(REFUSALS)]
        with lab.refusing(refusal) as bought:
            lab.killed(bought, point, times)
            lab.check_refused(bought, lab.settle(bought, by), refusal)


def test_a_replica_that_hangs_loses_its_claim_and_does_nothing_twice_when_it_wakes(lab: CrashLab) -> None:
    """It is stopped while its call to reserve is under way; another finishes; then it goes on."""
    crash.write(lab.plan, {})
    bought = lab.customer()
    hanging, lab.replica = lab.start(HANG_SECONDS=1), lab.start()
    hold = lab.shop.gateway.hold = Hold("reservations", "before")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(lab.ask, bought, hanging)
        assert hold.reached.wait(10)
        hanging.send(signal.SIGSTOP)
        lab.shop.gateway.hold = None
        hold.release.set()
        assert lab.ask(bought).json()["code"] == "idempotency_key_in_flight", (
            "it has its claim while it hangs"
        )
        answer = lab.settle(bought, "client")
        hanging.send(signal.SIGCONT)
        assert asking.result().json()["code"] == "checkout_unfinished"
    hanging.kill()
    lab.check_bought(bought, answer)
    asked = lab.shop.ask("checkout", f"GET /{answer.json()['checkout_id']}", bought.who).get_json()
    assert {step["step"]: step["attempts"] for step in asked["steps"] if step["attempts"] > 1} == {
        "reserve": 2
    }
