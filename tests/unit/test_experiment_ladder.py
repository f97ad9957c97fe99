"""The ladder: its rungs, and what it says of planted costs."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from localfaas.edge.parse import parse
from tests.experiments.common.answers import Answers, Floats
from tests.experiments.common.clocks import Ticks
from tests.experiments.common.driving import Driven
from tests.experiments.common.validity import MOST_LEFT_OUT
from tests.experiments.ladder import experiment, plots, results
from tests.experiments.ladder.experiment import EXPERIMENT
from tests.experiments.ladder.results import (
    ALL_PLUGINS,
    CROWDED,
    CROWDS,
    HOP,
    LEVELS,
    NO_HOP,
    NO_PLUGIN,
    Found,
    arm,
    crowd,
)
from tests.experiments.ladder.stage import BARE, DIRECT, EDGE, NAIVE_PROXY, RUNGS, kong_file, plugins_of

KONG = (Path(__file__).parents[2] / "kong" / "kong.yml").read_text()


def test_every_plugin_of_the_shop_has_an_arm_of_its_own_and_all_have_one_together() -> None:
    text = kong_file(plugins_of(KONG), 1234, 5678)
    parse(text)
    upstream, products = yaml.safe_load(text)["services"]
    chosen = {route["name"]: [plugin["name"] for plugin in route["plugins"]] for route in upstream["routes"]}
    names = [plugin["name"] for plugin in yaml.safe_load(KONG)["plugins"]]
    assert chosen == {"no-plugin": [], **{name: [name] for name in names}, "all-plugins": names}
    assert products["url"] == "http://127.0.0.1:5678/function/products"


def test_limits_on_rates_are_counted_but_never_reached() -> None:
    [limits] = [plugin["config"] for plugin in plugins_of(KONG) if plugin["name"] == "rate-limiting"]
    assert min(value for value in limits.values() if isinstance(value, int) and value > 1) >= 1_000_000


def test_the_long_form_knows_a_p999_though_a_fifth_of_its_rounds_are_left_out() -> None:
    chosen = EXPERIMENT.chosen(Namespace(full=True))
    of_each_block = (chosen["steady_seconds"] - results.WARM_SECONDS) * experiment.STEADY_RATE
    taken = chosen["runs"] * experiment.RUNG_ROUNDS * (1 - MOST_LEFT_OUT) * of_each_block
    assert taken * 0.001 > results.FEWEST_BEYOND


def test_the_long_form_knows_a_p999_at_shares_of_the_highest_rate() -> None:
    """A run has one round at shares, and one that loses it is made again."""
    chosen = EXPERIMENT.chosen(Namespace(full=True))
    of_each_block = (chosen["share_seconds"] - results.WARM_SECONDS) * experiment.MOST_RATE
    assert chosen["runs"] * of_each_block * 0.001 > results.FEWEST_BEYOND


def test_a_folder_of_before_blocks_at_shares_were_longer_has_the_short_ones() -> None:
    old = {"runs": 1, "steady_seconds": 3.0}
    short, long = (
        {step.name: step.seconds for step in EXPERIMENT.steps(chosen)}["shares-1"]
        for chosen in (old, {**old, "share_seconds": 3.0})
    )
    assert long - short == pytest.approx(2.0 * len(experiment.SHARES) * len(RUNGS))


def blocks(seconds: float) -> list[Floats]:
    return [np.full(300, seconds) for _ in range(4)]


def found(*, edge: float = 0.0013, all_plugins: float = 0.0015, kept: float = 0.9) -> Found:
    """The function takes 1 ms; the edge alone 1 ms without plugins, a bare hop 1 ms where none takes a half."""
    cost = dict.fromkeys(RUNGS, 0.001) | {EDGE: edge}
    ablations = {
        NO_HOP: 0.0005,
        HOP: 0.001,
        NO_PLUGIN: 0.001,
        ALL_PLUGINS: all_plugins,
        crowd(DIRECT, 1): 0.001,
    }
    cpu = {name: [[0.0001]] * 4 for name in ablations} | {ALL_PLUGINS: [[0.0001 / kept]] * 4}
    return Found(
        dict.fromkeys(RUNGS, 1000.0),
        {arm(rung, level): blocks(cost[rung]) for rung in RUNGS for level in LEVELS},
        {arm(rung, level): 200.0 for rung in RUNGS for level in LEVELS},
        {name: blocks(seconds) for name, seconds in ablations.items()},
        {arm(rung, level): {"replica": 0.0004} for rung in RUNGS for level in LEVELS},
        cpu,
    )


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        ({}, "met met met met met met"),
        ({"edge": 0.0025}, "missed missed met met met met"),
        ({"edge": 0.030}, "missed missed missed missed met met"),
        ({"all_plugins": 0.0016}, "met met met met met missed"),
        ({"kept": 0.7}, "met met met met missed met"),
    ],
)
def test_planted_costs_are_judged(planted: dict[str, float], words: str) -> None:
    assert " ".join(verdict.word for verdict in results.verdicts(found(**planted))) == words


def test_what_plugins_cost_cannot_be_told_from_the_two_blocks_of_one_run() -> None:
    whole = found()
    short = replace(
        whole,
        ablations={name: blocks[:2] for name, blocks in whole.ablations.items()},
        edge_cpu={name: blocks[:2] for name, blocks in whole.edge_cpu.items()},
    )
    words = [verdict.word for verdict in results.verdicts(short)]
    assert words == ["met", "met", "met", "met", "cannot tell", "cannot tell"]


def test_the_lab_is_held_against_both_stacks_with_as_many_users() -> None:
    ablations = {crowd(name, users): blocks(0.001 * users) for name in CROWDED for users in CROWDS}
    ablations |= {crowd(NAIVE_PROXY, users): blocks(0.002 * users) for users in CROWDS}
    planted = replace(found(), ablations=found().ablations | ablations)
    [lab] = [table for table in results.tables(planted) if "the lab" in table.title]
    told = {(row[0], row[1]): row[-1].partition(" ")[0] for row in lab.rows}
    assert told["this shop", "4"] == "1.00"
    assert told["naive stack", "4"] == "2.00"
    assert told["naive stack, asked by one and by four", "1, 4"] == "8.00"
    assert told["the lab", ""] == "3.86"


def test_a_rung_is_drawn_at_the_share_that_it_was_given() -> None:
    """Of 10,000 a second never more than 1,500 are asked for."""
    bare = {
        arm(BARE, level): rate for level, rate in zip(LEVELS[1:], (1_000, 1_490, 1_510, 1_500), strict=True)
    }
    whole = found()
    planted = replace(whole, saturation={**whole.saturation, BARE: 10_000.0}, rates={**whole.rates, **bare})
    drawn = plots.at_shares(planted, BARE)
    assert list(drawn) == pytest.approx([10, 14.9])
    assert list(drawn.values()) == ["10%", "30%"]


def test_a_rung_that_k6_could_not_keep_up_with_is_neither_told_nor_drawn() -> None:
    whole, name = found(), arm(EDGE, "70%")
    planted = replace(whole, rates={**whole.rates, name: 700.0}, late={name: 0.3})
    [shares] = [one for one in results.tables(planted) if one.title.startswith("At shares")]
    [row] = [dict(zip(shares.head, one, strict=True)) for one in shares.rows if one[:2] == [EDGE, "70 %"]]
    assert (row["p50"], row["a second"]) == ("–", "700")
    assert list(plots.at_shares(planted, EDGE)) == [20.0]
    assert list(plots.at_shares(replace(planted, late={}), EDGE)) == [20.0, 70.0]


def test_a_quantile_that_few_requests_exceed_is_not_told_and_counts_are() -> None:
    whole, name = found(), arm(EDGE, "10%")
    few, many = (replace(whole, rungs={**whole.rungs, name: [np.full(of, 0.001)] * 2}) for of in (20, 500))
    for planted, p99, p999, count in ((few, "–", "–", "40"), (many, "1.00", "–", "1,000")):
        [shares] = [one for one in results.tables(planted) if one.title.startswith("At shares")]
        [row] = [dict(zip(shares.head, one, strict=True)) for one in shares.rows if one[:2] == [EDGE, "10 %"]]
        assert (row["p99"], row["p99.9"], row["requests"]) == (p99, p999, count)


def test_a_quantile_that_few_requests_exceed_is_not_drawn(tmp_path: Path) -> None:
    whole, names = found(), [arm(rung, level) for rung in RUNGS for level in LEVELS[1:]]
    few = replace(whole, rungs={**whole.rungs, **{name: [np.full(40, 0.001)] for name in names}})
    one = replace(few, rungs={**few.rungs, arm(EDGE, "10%"): [np.full(1_000, 0.002)]})
    assert plots.curves(few, 0.5)[EDGE] == {20.0: pytest.approx(1)}
    assert not any(plots.curves(few, 0.99).values())
    assert {rung: its for rung, its in plots.curves(one, 0.99).items() if its} == {
        EDGE: {20.0: pytest.approx(2)}
    }
    assert plots.draw(tmp_path, few)[-1][1].is_file()


def test_a_p99_that_few_requests_exceed_is_no_verdict_and_no_figure() -> None:
    whole, name = found(), arm(EDGE, "steady")
    planted = replace(whole, rungs={**whole.rungs, name: [np.full(220, 0.001)] * 4})
    words = {verdict.goal: verdict.word for verdict in results.verdicts(planted)}
    assert [word for goal, word in words.items() if "p99" in goal] == ["cannot tell"]
    assert not any("p99" in figure.name for figure in results.figures(planted))
    assert any("p99" in figure.name for figure in results.figures(whole))


@pytest.mark.parametrize("answers_take", [0.001, 0.5])
def test_a_rung_is_asked_at_the_rate_of_its_plan_however_long_the_answers_take(answers_take: float) -> None:
    due = np.arange(200) / 200
    block = Answers(due, np.zeros(200), np.full(200, answers_take), np.full(200, 200), np.full(200, True))
    ticks = Ticks(np.array([]), {}, np.array([]), np.array([]))
    driven = Driven({"b": "x"}, {"b": block}, ticks, ())
    assert results._median_rate([driven], "x") == pytest.approx(200)


@pytest.mark.parametrize(("slow", "word"), [(0.1, "met"), (0.2, "cannot tell"), (0.7, "missed")])
def test_our_mean_is_held_against_the_labs(slow: float, word: str) -> None:
    """A p50 of 1 ms throughout, and one or a few requests of a block that take longer, more in some blocks than in others."""
    block = np.full(10, 0.001)
    edge = [np.concatenate([block[:9], [slow * share]]) for share in (0.7, 0.9, 1.1, 1.3)]
    whole = found()
    verdicts = results.verdicts(replace(whole, rungs={**whole.rungs, arm(EDGE, "steady"): edge}))
    assert [one.word for one in verdicts if one.goal.startswith("mean")] == [word]


def test_every_rung_and_arm_has_its_row_and_picture(tmp_path: Path) -> None:
    titles = {table.title: table.rows for table in results.tables(found())}
    assert {len(rows) for title, rows in titles.items() if title.startswith("At the same rate")} == {
        len(RUNGS)
    }
    assert [path.is_file() for _, path in plots.draw(tmp_path, found())] == [True] * 3
