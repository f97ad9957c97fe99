"""The model of the way up: its queues against theory, its sums against what was measured, and a bottleneck that is planted."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.way_up import cli, measured, plans
from deploy.way_up.demand import demand, full_at
from deploy.way_up.network import Network, Process
from deploy.way_up.plans import Plan
from deploy.way_up.shop import Call, Shop, shop
from deploy.way_up.simulation import quantile, simulate
from localfaas.stack import load_stack

PROJECT = Path(__file__).parents[2]
STACK = load_stack(PROJECT / "stack.yml", {})
KNOWN = measured.load()
VISITS = shop(KNOWN)
NEEDED = demand(VISITS, KNOWN)
COMMUNITY = plans.community(STACK)
MEAN = 0.01


# -- Queues against theory -------------------------------------------------------------------------------------------


class Exponential(Network):
    """As the theory of M/M/c has it."""

    def draw(self, mean: float) -> float:
        return self.chance.expovariate(1 / mean)


def mean_wait(network: Network, rate: float, count: int = 40_000) -> float:
    """Seconds that a customer of one part called `queue` waits on average."""
    waits = []

    def visit(_: int) -> Process:
        began, work = network.clock.now, network.draw(MEAN)
        yield from network.serve(["queue"], work)
        waits.append(network.clock.now - began - work)

    network.arrive(rate, count, visit)
    return sum(waits) / len(waits)


def erlang_c(servers: int, load: float) -> float:
    """The chance to wait in M/M/c with `load` servers' worth of work (Erlang, 1917)."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(load**k / math.factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize(("servers", "full"), [(1, 0.5), (1, 0.8), (4, 0.8)])
def test_waiting_is_that_of_m_m_c(servers: int, full: float) -> None:
    rate = full * servers / MEAN
    wanted = erlang_c(servers, full * servers) * MEAN / (servers * (1 - full))
    assert mean_wait(Exponential({"queue": servers}, seed=3), rate) == pytest.approx(wanted, rel=0.08)


@pytest.mark.parametrize("variation", [0.0, 0.5, 1.5])
def test_waiting_is_that_of_m_g_1(variation: float) -> None:
    """Pollaczek and Khinchine: half of (1 + the squared coefficient of variation), times that of M/M/1."""
    full = 0.7
    wanted = (1 + variation**2) / 2 * full / (1 - full) * MEAN
    found = mean_wait(Network({"queue": 1}, seed=5, variation=variation), full / MEAN)
    assert found == pytest.approx(wanted, rel=0.1)


def test_servers_are_as_busy_as_the_utilisation_law_says() -> None:
    network = Network({"queue": 2}, seed=1, variation=0.5)
    mean_wait(network, rate=0.6 * 2 / MEAN)
    assert network.load("queue") == pytest.approx(0.6, rel=0.03)


def test_parts_on_one_host_share_its_processors() -> None:
    network = Network({"a": 1, "b": 1, "host": 1}, seed=1, variation=0.0)
    ended = []

    def visit(number: int) -> Process:
        yield from network.serve(["a" if number else "b", "host"], 1.0)
        ended.append(network.clock.now)

    network.arrive(1e9, 2, visit)
    assert ended == pytest.approx([1.0, 2.0], abs=1e-6)


# -- Sums against what was measured ----------------------------------------------------------------------------------


def buying_only() -> Shop:
    return shop(replace(KNOWN, reports_a_visit=0.0))


def test_visits_take_what_the_journey_was_measured_to_take() -> None:
    needed = demand(buying_only(), KNOWN)
    visits = 3.0  # actions of a visit, each of which the experiment counts as one request
    journey = KNOWN.cpu["journey"]
    assert sum(needed.interpreter.values()) == pytest.approx(visits * journey["replicas"], rel=0.02)
    assert needed.database == pytest.approx(visits * journey["postgres"], rel=0.02)
    assert needed.edge == pytest.approx(visits * journey["edge"], rel=0.02)
    assert needed.gateway == pytest.approx(visits * journey["gateway"], rel=0.3)


def test_a_purchase_takes_about_as_long_as_it_was_measured_to() -> None:
    [checkout] = [call for call in VISITS.visits["buy"][1] if call.function == "checkout"]
    run = simulate(plans.one_machine(STACK), VISITS, KNOWN, 0.1, visits=400, seed=1)
    assert 0.0387 / 1.5 < quantile(run.buying, 0.5) < 0.0387 * 1.5, "docs/benchmarks.md: p50 38.7 ms"
    assert len(list(checkout.whole())) == 10


def test_one_machine_is_full_near_where_it_was_measured_to_be() -> None:
    """Measured 217 visits a second, with a client that shares the two processors; the model has none."""
    assert 217 < min(full_at(plans.one_machine(STACK), NEEDED).values()) < 217 * 1.5


@pytest.mark.parametrize("rate", [200.0, 800.0])
def test_simulated_loads_are_those_of_the_utilisation_law(rate: float) -> None:
    run = simulate(COMMUNITY, VISITS, KNOWN, rate, visits=3000, seed=2)
    for part, seconds in (
        ("edge", NEEDED.edge), ("gateway", NEEDED.gateway), ("database 0", NEEDED.database),
        ("functions' processors", sum(NEEDED.interpreter.values())),
    ):  # fmt: skip
        servers = {"edge": 2, "gateway": 1, "database 0": 4, "functions' processors": 12}[part]
        assert run.loads[part] == pytest.approx(rate * seconds / servers, rel=0.12), part


# -- What breaks first -----------------------------------------------------------------------------------------------


def slower(call: Call, function: str, times: float) -> Call:
    calls = tuple(slower(below, function, times) for below in call.calls)
    return replace(call, calls=calls, cpu=call.cpu * (times if call.function == function else 1))


def with_slow(function: str, times: float) -> Shop:
    return replace(
        VISITS,
        visits={
            name: (share, tuple(slower(call, function, times) for call in requests))
            for name, (share, requests) in VISITS.visits.items()
        },
    )


@pytest.mark.parametrize(("function", "times"), [("inventory", 40), ("cart", 8), ("orders", 40)])
def test_a_planted_bottleneck_is_found_by_both(function: str, times: float) -> None:
    slow = with_slow(function, times)
    rates = full_at(COMMUNITY, demand(slow, KNOWN))
    first = min(rates, key=lambda part: rates[part])
    assert first.endswith(f" of {function}")
    run = simulate(COMMUNITY, slow, KNOWN, rates[first] * 1.3, visits=1500, seed=4)
    assert run.fullest.endswith(f" of {function}")
    assert run.loads[first] > 0.85


def test_too_few_threads_are_told_from_what_they_wait_for() -> None:
    few: Plan = replace(
        COMMUNITY,
        threads={**COMMUNITY.threads, "checkout": 1},
        replicas={**COMMUNITY.replicas, "checkout": 1},
    )
    rate = full_at(few, NEEDED)["threads of checkout"] * 1.3
    assert simulate(few, VISITS, KNOWN, rate, visits=3000, seed=4).fullest == "threads of checkout"


@pytest.mark.parametrize("shards", [1, 4])
def test_a_plan_for_a_load_bears_it(shards: int) -> None:
    plan = plans.sized("x", STACK, NEEDED, 5000, shards=shards, read=True)
    assert min(full_at(plan, NEEDED).values()) > 5000
    assert simulate(plan, VISITS, KNOWN, 5000, visits=1500, seed=1).borne


def test_more_stores_apart_more_room_for_the_most_wanted_product() -> None:
    one, four = (plans.sized("x", STACK, NEEDED, 5000, shards=n, read=True) for n in (1, 4))
    assert full_at(four, NEEDED)["one row"] == 4 * full_at(one, NEEDED)["one row"]


def test_same_seed_same_run() -> None:
    def run(seed: int) -> list[float]:
        return simulate(COMMUNITY, VISITS, KNOWN, 100, visits=300, seed=seed).looking

    assert run(1) == run(1) != run(2)


# -- Figures ---------------------------------------------------------------------------------------------------------


def test_newer_figures_take_the_place_of_those_that_were_asked_for() -> None:
    content = json.loads(measured.FILE.read_text())
    cells = [
        {"subject": "cart", "replicas": 1, "cpu_seconds": {one: [0.001, 0.003] for one in measured.GROUPS}},
        {"subject": "cart", "replicas": 5, "cpu_seconds": {one: [9.0] for one in measured.GROUPS}},
        {"subject": "orders", "replicas": 1, "cpu_seconds": {one: [9.0] for one in measured.GROUPS}},
    ]
    taken = measured.take(content, {"cells": cells}, "a run")
    assert taken["cpu"]["cart"] == dict.fromkeys(measured.GROUPS, 0.002)
    assert taken["cpu"] == {**content["cpu"], "cart": taken["cpu"]["cart"]}
    assert taken["cpu_from"] == "a run"
    assert measured.of(taken).commit == KNOWN.commit


def test_figures_that_are_missing_are_named() -> None:
    with pytest.raises(ValueError, match="no processor times of journey"):
        replace(KNOWN, cpu={name: times for name, times in KNOWN.cpu.items() if name != "journey"})


def test_every_figure_says_where_it_is_from() -> None:
    content = json.loads(measured.FILE.read_text())
    assert {f"{name}_from" for name in measured.Measured.__dataclass_fields__} <= set(content)


def shown(capsys: pytest.CaptureFixture[str]) -> Iterator[str]:
    for line in capsys.readouterr().out.splitlines():
        yield " ".join(line.split())


def test_command_prints_the_page_s_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """All but those of the simulation, which take longer."""
    ways = cli.all_plans(STACK, NEEDED, cli.ONCE)
    page = (PROJECT / "docs" / "way-up.md").read_text()
    for plan in ways:
        first, rate = min(full_at(plan, NEEDED).items(), key=lambda item: item[1])
        row = next(
            line for line in page.splitlines() if line.startswith(f"| {plan.name} |") and first in line
        )
        assert f"{rate:,.0f} ({rate / cli.ONCE:,.0f}×)" in row
        price = f"{plan.cores * cli.CORE_PRICE * cli.HOURS:,.0f}"
        assert f"| {plan.cores:,} | {plan.connections:,} | {price} |" in page
    assert cli.main(["--visits", "100"]) == 0
    lines = list(shown(capsys))
    assert sum(line.startswith(plan.name) for plan in ways for line in lines) >= 3 * len(ways)
