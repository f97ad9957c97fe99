"""The edge's benchmarks: what they ask of the edge, and how they judge what they saw."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from benchmarks.edge_cost import ALL, BARE, HOP, Block, figure, goals, kept, plugins_of, rungs_file
from benchmarks.edge_faults import FAULTS, Trial, verdict
from benchmarks.edge_hostile import Finding
from benchmarks.open_load import Outcome
from localfaas.edge.parse import parse

KONG = (Path(__file__).parents[2] / "kong" / "kong.yml").read_text()
KILLED, FAILING = FAULTS[0], FAULTS[3]


def test_every_plugin_of_the_shop_has_a_rung_of_its_own_and_all_have_one_together() -> None:
    plugins = plugins_of(KONG)
    file = yaml.safe_load(rungs_file(plugins, 1234))
    parse(yaml.safe_dump(file))
    [service] = file["services"]
    chosen = {route["name"]: [plugin["name"] for plugin in route["plugins"]] for route in service["routes"]}
    names = [plugin["name"] for plugin in yaml.safe_load(KONG)["plugins"]]
    assert chosen == {"bare-edge": [], **{name: [name] for name in names}, "all-plugins": names}


def test_limits_on_rates_are_counted_but_never_reached() -> None:
    [limits] = [plugin["config"] for plugin in plugins_of(KONG) if plugin["name"] == "rate-limiting"]
    assert min(value for value in limits.values() if isinstance(value, int) and value > 1) >= 1_000_000


def blocks(edge_seconds: float, seconds: float = 0.001) -> list[Block]:
    return [Block([seconds] * 10, 0.1, edge_seconds) for _ in range(4)]


def test_throughput_is_judged_by_the_edges_own_time() -> None:
    many = {BARE: blocks(0.008), ALL: blocks(0.010)}
    assert kept(many) == pytest.approx(0.8)
    assert figure(kept, many).low == pytest.approx(0.8)


@pytest.mark.parametrize(("all_seconds", "verdicts"), [(0.0015, ["met", "met"]), (0.0025, ["met", "missed"])])
def test_added_latency_is_judged_by_a_bare_hop(all_seconds: float, verdicts: list[str]) -> None:
    alone = {"no hop": blocks(1, 0.0005), HOP: blocks(1, 0.001), ALL: blocks(1, all_seconds)}
    many = {BARE: blocks(0.010), ALL: blocks(0.010)}
    assert [verdict for _, _, verdict in goals(alone, many)] == verdicts


def trial(fault: object = KILLED, out: float | None = 1.0, back: float | None = 1.0, lost: int = 0) -> Trial:
    answers = [Outcome("GET", 0.0, 1.0, 500, b"")] * lost + [Outcome("GET", 0.0, 1.0, 200, b"")] * 9
    return Trial(fault, out, back, 0, answers, {"GET": 1})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (trial(), "met"),
        (trial(out=None), "missed: too late"),
        (trial(back=9.0), "missed: too late"),
        (trial(lost=1), "missed: lost GETs"),
        (trial(FAILING, lost=4), "met"),
        (trial(FAILING, lost=5), "missed: more than the threshold"),
    ],
)
def test_a_fault_is_judged_by_time_and_by_what_was_lost(found: Trial, expected: str) -> None:
    assert verdict(found) == expected


@pytest.mark.parametrize(("p99", "failures", "expected"), [(0.002, 0, "met"), (0.0021, 0, "missed")])
def test_an_attack_is_judged_by_what_a_good_client_felt(p99: float, failures: int, expected: str) -> None:
    assert Finding("", Counter(), 0.001, p99, failures, 1, 2, 1, 1).verdict == expected
    assert Finding("", Counter(), 0.001, p99, 3, 1, 2, 1, 1).verdict == "missed: 3 failures"
