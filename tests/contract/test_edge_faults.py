"""The upstream `cart` of the project's own kong.yml: sick replicas, and busy ones."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.own_edge import OwnEdge, own_edge
from benchmarks.replicas import Replica, three_replicas
from tests.support.edge import PROJECT, request, running_edge
from tests.support.open_load import OpenLoad, Outcome
from tests.support.waiting import wait_for

UPSTREAM = "cart"
REQUESTS = {"GET": "/api/cart", "POST": "/api/cart/items"}

QUICK = {"timeout: 1.5": "timeout: 0.4", "interval: 1\n": "interval: 0.1\n"}
"""The file's own checks, with shorter waits."""
EJECTIONS = "cluster.cart@3000.outlier_detection.ejections_detected_consecutive_5xx"


def quick_shop() -> str:
    text = (PROJECT / "kong" / "kong.yml").read_text()
    for slow, quick in QUICK.items():
        assert slow in text
        text = text.replace(slow, quick)
    return text


@pytest.fixture(scope="module")
def replicas() -> Iterator[tuple[Replica, Replica, Replica]]:
    with three_replicas() as three:
        yield three


@pytest.fixture(scope="module")
def own(replicas: tuple[Replica, Replica, Replica]) -> Iterator[OwnEdge]:
    state = Path(tempfile.mkdtemp(prefix="edge-"))
    with running_edge(state, RATE_LIMITS="off") as running:
        edge = OwnEdge(running.edge, running.processes[-1])
        edge.load(quick_shop(), {UPSTREAM: [("127.0.0.1", replica.port) for replica in replicas]})
        yield edge
    shutil.rmtree(state)


@pytest.fixture
def all_well(own: OwnEdge) -> OwnEdge:
    wait_for(lambda: list(own.health(UPSTREAM).values()) == ["HEALTHY"] * 3, what="three healthy replicas")
    return own


@dataclass(frozen=True)
class Fault:
    """A way to be sick."""

    name: str
    begin: Callable[[Replica], None]
    end: Callable[[Replica], None]
    answers: int = 0
    """Of the replica's own, that a client may see before it is out: the file's `http_failures`."""


FAULTS = (
    Fault("killed", Replica.kill, Replica.restart),
    Fault("frozen", Replica.freeze, Replica.thaw),
    Fault("slow, + 2 s", lambda replica: replica.slow(2.0), lambda replica: replica.slow(0.0)),
    Fault("answers 500", lambda replica: replica.answer(500), lambda replica: replica.answer(200), answers=3),
    Fault(
        "answers 500, health check well",
        lambda replica: replica.answer(500, health=200),
        lambda replica: replica.answer(200),
        answers=3,
    ),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_sick_replica_leaves_and_returns_and_costs_no_more_than_it_must(
    all_well: OwnEdge, replicas: tuple[Replica, Replica, Replica], fault: Fault
) -> None:
    ejected = all_well.stat(EJECTIONS)
    with OpenLoad(all_well.port, REQUESTS, rate=30) as load:
        wait_for(load.outcomes, what="the first answers")
        be_sick_for_a_while(all_well, fault, replicas[0])
    lost = [item for item in load.outcomes() if item.status != 200]
    if fault.answers:
        times = all_well.stat(EJECTIONS) - ejected
        # None at all where two probes in a row were quicker than three requests.
        assert {item.status for item in lost} <= {500}
        assert len(lost) <= (fault.answers + most_at_once(load.outcomes())) * (times + 1)
    else:
        assert [item for item in lost if item.method == "GET"] == []
        assert {item.status for item in lost} <= {502, 504}


def most_at_once(outcomes: Sequence[Outcome]) -> int:
    """So many may be on their way to a replica when it is put out; two, one of each kind, unless the machine is busy."""
    return max(sum(one.started <= other.started < one.ended for one in outcomes) for other in outcomes)


def be_sick_for_a_while(own: OwnEdge, fault: Fault, replica: Replica) -> None:
    """Until it was out, and half a second at least; then until it is back."""
    ends = time.monotonic() + 0.5
    fault.begin(replica)
    wait_for(lambda: own.health(UPSTREAM)[replica.port] != "HEALTHY", what="it to leave the rotation")
    wait_for(lambda: time.monotonic() > ends, what="half a second")
    fault.end(replica)
    wait_for(lambda: own.health(UPSTREAM)[replica.port] == "HEALTHY", what="it to be back")


def test_who_answers_wrong_and_whose_probes_fail_stays_out_until_one_succeeds() -> None:
    """Where seconds pass between three wrong answers and two failed probes."""
    text = (PROJECT / "kong" / "kong.yml").read_text().replace("interval: 1\n", "interval: 2\n")
    with own_edge() as own, three_replicas() as (sick, *others):
        ports = [("127.0.0.1", replica.port) for replica in (sick, *others)]
        own.load(text, {UPSTREAM: ports})
        wait_for(
            lambda: list(own.health(UPSTREAM).values()) == ["HEALTHY"] * 3, what="three healthy replicas"
        )
        with OpenLoad(own.port, REQUESTS, rate=30) as load:
            wait_for(load.outcomes, what="the first answers")
            sick.answer(500)
            wait_for(lambda: own.health(UPSTREAM)[sick.port] != "HEALTHY", what="it to leave the rotation")
            until = time.monotonic() + 3
            while time.monotonic() < until:
                assert own.health(UPSTREAM)[sick.port] != "HEALTHY"
                time.sleep(0.05)  # what must not happen announces nothing
            sick.answer(200)
            wait_for(lambda: own.health(UPSTREAM)[sick.port] == "HEALTHY", 10, "it to be back")


def test_who_answers_wrong_comes_back_where_only_the_unhealthy_are_probed() -> None:
    text = (PROJECT / "kong" / "kong.yml").read_text()
    probed = "        healthy:\n          interval: 1\n"
    assert text.count(probed) == 1
    with own_edge() as own, three_replicas() as replicas:
        ports = [("127.0.0.1", replica.port) for replica in replicas]
        own.load(text.replace(probed, probed.replace("1", "0")), {UPSTREAM: ports})
        with OpenLoad(own.port, REQUESTS, rate=30):
            replicas[0].answer(500)
            wait_for(lambda: own.health(UPSTREAM)[replicas[0].port] != "HEALTHY", what="it to leave")
            replicas[0].answer(200)
            wait_for(lambda: own.health(UPSTREAM)[replicas[0].port] == "HEALTHY", 15, "it to be back")


@pytest.mark.parametrize("status", [429, 503, 504])
def test_busy_replica_stays(
    all_well: OwnEdge, replicas: tuple[Replica, Replica, Replica], status: int
) -> None:
    """Its own refusals are passed on, however many, and its health check is still answered well."""
    for replica in replicas:
        replica.answer(status, health=200)
    try:
        answers = [request(all_well.port, "GET", "/api/cart").status for _ in range(12)]
        assert answers == [status] * 12
        assert list(all_well.health(UPSTREAM).values()) == ["HEALTHY"] * 3
    finally:
        for replica in replicas:
            replica.answer(200)
