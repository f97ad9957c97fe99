"""What the benchmarks decide from what they saw: memory by program, kills and recoveries."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import kill, memory
from benchmarks.floor import connection_variables, parse_log
from benchmarks.interleaved import interleave
from benchmarks.load import Event, Flow
from localfaas.status import Row

GET, POST = Flow("GET", "/api/cart", (b"",)), Flow("POST", "/api/cart/items", (b"",))


def event(flow: Flow, started: float, ended: float, status: int = 200) -> Event:
    return Event(flow, started, ended, status)


def row(program: str, pid: int = 10, state: str = "RUNNING", traffic: str = "yes") -> Row:
    return Row(program, state, traffic, pid, 8008, 1, 0, 1)


def test_arms_are_interleaved_in_every_round_in_another_order() -> None:
    order: list[str] = []

    def arm(name: str) -> Callable[[int], list[float]]:
        return lambda count: order.append(name) or [1.0] * count

    taken = interleave({name: arm(name) for name in "abcd"}, 20, 3, lambda _done: None)

    assert {name: [len(block) for block in blocks] for name, blocks in taken.items()} == dict.fromkeys(
        "abcd", [3] * 20
    )
    rounds = ["".join(order[index : index + 4]) for index in range(0, 80, 4)]
    assert all(sorted(one) == list("abcd") for one in rounds)
    assert len(set(rounds)) > 5


def test_pgbench_latencies_are_read_in_seconds() -> None:
    assert parse_log("0 1 950 0 1600000000 12\n0 2 50 0 1600000000 900\n") == [0.00095, 0.00005]


def test_the_password_goes_by_environment() -> None:
    assert connection_variables("postgresql://products:s%2Fcret@127.0.0.1:8432/magasin") == {
        "PGHOST": "127.0.0.1",
        "PGPORT": "8432",
        "PGUSER": "products",
        "PGPASSWORD": "s/cret",
        "PGDATABASE": "magasin",
    }


def test_processes_below_a_marked_one_belong_to_the_platform() -> None:
    parents = {2: 1, 3: 2, 4: 3, 5: 1, 6: 5}
    assert memory.platform_pids(parents, [2]) == {2, 3, 4}


def test_memory_is_summed_by_the_nearest_program_above() -> None:
    processes = [
        memory.ProcessMemory(2, 1, "supervisord", 10),
        memory.ProcessMemory(3, 2, "postgres", 20),
        memory.ProcessMemory(4, 3, "postgres", 30),
        memory.ProcessMemory(5, 2, "python", 5),
    ]
    assert memory.by_program(processes, {3: "postgres", 5: "cart-1"}) == [
        memory.ProgramMemory("postgres", 2, 50),
        memory.ProgramMemory("supervisord", 1, 10),
        memory.ProgramMemory("cart-1", 1, 5),
    ]


def test_only_the_pss_line_counts() -> None:
    assert (
        memory.parse_pss("00400000-7fff ---p 0 00:00 0 [rollup]\nRss: 99 kB\nPss: 12 kB\nPss_Anon: 8 kB\n")
        == 12288
    )
    assert memory.parse_pss("") == 0


def test_a_platforms_processes_are_found_by_their_mark_and_descent(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'], env={})"
    environment = {"LOCALFAAS_STATE": str(tmp_path), "PATH": os.environ["PATH"]}
    marked = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert marked.stdout is not None
        assert marked.stdout.readline() == "1\n"
        found = memory.read_processes(tmp_path)
    finally:
        marked.communicate("\n", timeout=10)

    assert len(found) == 2
    assert marked.pid in {process.pid for process in found}
    assert all(process.pss_bytes > 1_000_000 for process in found)
    assert memory.read_processes(tmp_path) == []


def test_only_running_programs_of_the_kind_are_killed() -> None:
    found = [row("cart-1"), row("cart-2", state="BACKOFF"), row("cartography"), row("edge"), row("gateway")]
    assert [target.program for target in kill.targets(found, "cart-")] == ["cart-1"]
    assert [target.program for target in kill.targets(found, "edge")] == ["edge"]
    assert kill.targets(found, "api") == []


@pytest.mark.parametrize(
    ("now", "back"),
    [
        (row("cart-1", pid=11), True),
        (row("cart-1", pid=10), False),
        (row("cart-1", pid=0, state="BACKOFF"), False),
        (row("cart-1", pid=11, traffic="no"), False),
        (row("cart-2", pid=11), False),
    ],
)
def test_a_process_is_back_when_another_one_runs_and_takes_traffic(now: Row, back: bool) -> None:
    assert kill.is_back([now], row("cart-1", pid=10)) is back


@pytest.mark.parametrize(
    ("events", "recovered"),
    [
        ([event(GET, 9.0, 9.1), event(POST, 9.0, 9.1)], True),
        ([event(GET, 9.0, 9.1)], False),
        ([event(GET, 9.0, 9.1), event(POST, 7.0, 9.1)], False),
        ([event(GET, 9.0, 9.1), event(POST, 9.0, 9.1), event(GET, 9.2, 9.3, 503)], False),
        ([event(GET, 9.0, 9.1), event(POST, 9.0, 9.1), event(GET, 5.0, 6.0, 0)], True),
    ],
)
def test_recovered_means_that_every_flow_succeeds_and_none_has_failed_lately(
    events: list[Event], recovered: bool
) -> None:
    assert kill.has_recovered(events, [GET, POST], since=5.0, now=10.0) is recovered


def test_nothing_has_recovered_at_once() -> None:
    assert not kill.has_recovered([event(GET, 9.0, 9.1)], [GET], since=9.5, now=10.0)


def test_failures_are_counted_by_kind_and_method() -> None:
    kind = "one of the cart replicas"
    trials = [
        kill.Trial(kind, "cart-1", 100.0, 1.2, True, [event(GET, 100, 100.1), event(POST, 100, 100.5, 0)]),
        kill.Trial(
            kind, "cart-2", 200.0, 0.8, True, [event(POST, 200, 202.0, 503), event(POST, 201, 201.1, 302)]
        ),
    ]
    get, post = kill.summarize(trials, [GET, POST])

    assert (get.requests, get.failed, get.longest_outage_seconds) == (1, 0, 0.0)
    assert (post.requests, post.failed) == (3, 3)
    assert post.faults == {"no answer": 1, "503": 1, "302": 1}
    assert post.longest_outage_seconds == pytest.approx(2.0)
    assert kill.carts_goal([get, post]) == "met"


def test_one_failed_get_misses_the_goal() -> None:
    trial = kill.Trial("one of the cart replicas", "cart-1", 100.0, 1.0, True, [event(GET, 100, 100.1, 502)])
    assert kill.carts_goal(kill.summarize([trial], [GET])) == "missed (1 of 1)"
    assert kill.carts_goal([]) == "not measured"
