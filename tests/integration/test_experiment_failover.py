"""The failover experiment brings about what it says, and sees it: a real edge, and a replica that answers 500."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.own_edge import own_edge
from benchmarks.replicas import three_replicas
from benchmarks.report import PROJECT
from tests.experiments.failover.faults import BY_NAME, UPSTREAM, Fault, Happening, Small
from tests.support.edge import request
from tests.support.open_load import OpenLoad
from tests.support.waiting import wait_for


def test_a_fault_happens_under_load_and_its_leaving_and_returning_is_seen() -> None:
    fault = replace(BY_NAME["replica-500"], hold_seconds=0.5)
    with own_edge() as own, three_replicas() as replicas:
        own.load(
            (PROJECT / "kong" / "kong.yml").read_text(),
            {UPSTREAM: [("127.0.0.1", replica.port) for replica in replicas]},
        )
        wait_for(lambda: set(own.health(UPSTREAM).values()) == {"HEALTHY"}, what="three healthy replicas")
        happening = Happening(fault, Small(own, replicas[0]), "replica", own.edge.settings, after=0.2)
        happening.start()
        started = time.time()
        with OpenLoad(own.port, {"GET": "/api/cart"}, rate=60):
            wait_for(
                lambda: happening.seen.over > happening.seen.at and happening.seen.back, what="it to be back"
            )
        happening.stop()
    seen = happening.seen
    assert seen.left
    assert seen.back
    assert started + 0.2 <= seen.at <= seen.left <= seen.back
    assert seen.over >= seen.at + 0.5
    assert seen.returned is None
    assert seen.shown


def test_a_small_replica_that_ails_is_told_from_one_that_is_well() -> None:
    no_edge: Any = None
    with three_replicas() as (replica, *_):
        small = Small(no_edge, replica)
        assert not small.ails()
        for name in ("replica-slow", "replica-500", "replica-500-well"):
            fault = BY_NAME[name]
            fault.begin(small)
            assert small.ails()
            assert fault.end
            fault.end(small)
            assert not small.ails()


def test_a_fault_that_cannot_be_brought_about_is_told() -> None:
    def fails(_small: Small) -> None:
        raise OSError("no such process")

    fault = Fault("x", "x", "", fails)
    with own_edge() as own:
        happening = Happening(fault, Gone(), "replica", own.edge.settings, after=0)
        happening.start()
        own.load(ANSWERING, {})
        request(own.port, "GET", "/")
        wait_for(lambda: happening.error, what="the error")
        with pytest.raises(OSError, match="no such process"):
            happening.stop()


class Gone:
    def returned(self) -> None:
        return None

    def in_rotation(self) -> None:
        return None


ANSWERING = """
_format_version: "3.0"
services: []
"""
