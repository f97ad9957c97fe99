"""The balance experiment: its kong.yml, how it counts, and what it says of what it saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from localfaas.edge.parse import parse
from tests.experiments.balance.experiment import (
    ALGORITHMS,
    EXPERIMENT,
    OTHERS,
    Seen,
    counts_in,
    disagreements,
    expectations,
    fewest_open,
    kong_yml,
    refusals,
    verdicts,
)
from tests.experiments.common import answers
from tests.experiments.common.answers import Answers
from tests.experiments.common.clocks import Ticks
from tests.experiments.common.folder import Folder

PORTS = [8001, 8002, 8003]
EVEN, FEW_TO_SLOW = [300, 300, 300], [400, 400, 108]


def test_each_algorithm_has_an_upstream_and_all_have_the_same_targets() -> None:
    upstreams = parse(kong_yml(PORTS)).upstreams
    assert {one.name: one.fields["algorithm"] for one in upstreams} == {name: name for name in ALGORITHMS}
    assert {tuple(target.port for target in one.targets) for one in upstreams} == {tuple(PORTS)}


def test_what_kong_has_and_the_edge_refuses_is_named_with_its_words() -> None:
    refused = refusals([*ALGORITHMS, *OTHERS])
    assert list(refused) == ["latency"]
    assert "not supported by the embedded edge" in refused["latency"]


def test_requests_are_counted_by_upstream_and_replica_in_the_order_of_the_ports() -> None:
    lines = [
        f"{name}@60000::127.0.0.1:{port}::{what}::{port - 8000 + 10 * place}"
        for place, name in enumerate(ALGORITHMS)
        for port in reversed(PORTS)
        for what in ("rq_active", "rq_total")
    ]
    text = "\n".join(["round-robin@60000::default_priority::max_requests::9", *lines])
    assert counts_in(text, PORTS) == {
        "round-robin": [1, 2, 3],
        "least-connections": [11, 12, 13],
        "consistent-hashing": [21, 22, 23],
    }


@pytest.mark.parametrize(
    ("taken", "answered", "objections"),
    [([3, 3], 6, []), ([3, 4], 6, ["the replicas [3, 4]"]), ([3, 3], 5, ["5 were answered"])],
)
def test_a_run_whose_counts_disagree_is_not_believed(
    taken: list[int], answered: int, objections: list[str]
) -> None:
    found = disagreements({"round-robin": [3, 3]}, taken, {"round-robin": answered})
    assert len(found) == len(objections)
    assert all(part in one for part, one in zip(objections, found, strict=True))


def test_with_few_requests_the_slow_one_gets_its_third_and_with_many_less_and_less() -> None:
    rare, some, many = (fewest_open(rate, (0.002, 0.002, 0.020))[-1] for rate in (0.1, 400, 2_000))
    assert rare == pytest.approx(1 / 3, abs=0.01)
    assert rare > some > many


def test_replicas_that_are_alike_get_a_third_each_from_the_simulation() -> None:
    assert fewest_open(400, (0.002, 0.002, 0.002)) == pytest.approx([1 / 3] * 3, abs=0.01)


def seen(counts: list[int], slow_seconds: float = 0.021) -> Seen:
    taken = np.repeat([0.003, 0.003, slow_seconds], counts)
    return Seen([counts] * 3, [taken] * 3)


@pytest.mark.parametrize(
    ("name", "alike", "slow", "words"),
    [
        ("round-robin", seen(EVEN), seen(EVEN), ["met", "met", "met"]),
        ("round-robin", seen([400, 250, 250]), seen(FEW_TO_SLOW), ["missed", "missed", "met"]),
        ("least-connections", seen(EVEN), seen(FEW_TO_SLOW), ["met", "met", "met"]),
        ("least-connections", seen(EVEN), seen(EVEN, 0.5), ["met", "missed", "missed"]),
        ("consistent-hashing", seen([400, 250, 250]), seen([350, 250, 300]), ["met", "met"]),
    ],
)
def test_each_algorithm_is_held_to_what_was_expected_of_it(
    name: str, alike: Seen, slow: Seen, words: list[str]
) -> None:
    told = verdicts({"alike": {name: alike}, "one slow": {name: slow}})
    assert [one.word for one in told] == words


def test_an_interval_with_the_goal_in_it_tells_nothing() -> None:
    shares = Seen([[300, 320, 280], [338, 300, 262], [290, 325, 285]], [np.full(900, 0.0299)] * 3)
    even, slow, _ = verdicts({"alike": {"round-robin": shares}, "one slow": {"round-robin": shares}})
    assert even.found.startswith("0.344 (0.2")
    assert (even.word, slow.word) == ("cannot tell", "cannot tell")


def test_every_algorithm_has_an_expectation() -> None:
    assert list(expectations()) == list(ALGORITHMS)


def test_what_was_interrupted_after_its_first_run_is_concluded(tmp_path: Path) -> None:
    folder = Folder.new(tmp_path, "balance", {"rounds": 1})
    run = folder.run("alike-01")
    count = sum(EVEN)
    due = np.linspace(0, 1, count)
    block = Answers(due, np.zeros(count), np.full(count, 0.003), np.full(count, 200), np.ones(count, bool))
    answers.write(run.path / "answers.csv.gz", dict.fromkeys(ALGORITHMS, block))
    Ticks(np.array([0.0]), {}, np.zeros(1), np.zeros(1)).write(run)
    run.write("blocks.json", {"arms": {name: name for name in ALGORITHMS}, "rates": {}, "dropped": 0})
    run.write("counts.json", {"counts": dict.fromkeys(ALGORITHMS, EVEN), "taken": [900] * 3, "refused": {}})
    run.write("done.json", {})
    assert [one.word for one in EXPERIMENT.conclude(folder).verdicts] == ["cannot tell"] * 2
