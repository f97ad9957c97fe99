"""The parts of benchmarks: arms in turn, what pgbench tells, memory by program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import memory
from benchmarks.floor import connection_variables, parse_log
from benchmarks.hot_sku import Count, measure
from benchmarks.interleaved import interleave
from benchmarks.own_platform import NOT_INHERITED, inherited


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


def test_repeats_and_reservations_are_counted_in_the_same_rounds() -> None:
    class Worker:
        def send(self, order: object) -> None:
            return

        def recv(self) -> Count:
            return Count(made=2, repeated=1)

    taken = measure([Worker()], 3, 0.1, lambda _done: None)
    assert {way: taken.repeated[way] / made for way, made in taken.made.items()} == dict.fromkeys(
        taken.made, 0.5
    )


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


def test_a_platform_of_ones_own_inherits_nothing_that_is_meant_for_the_one_that_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRACES", "on")
    monkeypatch.setenv("PG_BIN", "/usr/bin")
    assert inherited()["PG_BIN"] == "/usr/bin"
    assert NOT_INHERITED & inherited().keys() == set()


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
