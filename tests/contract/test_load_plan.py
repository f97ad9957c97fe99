"""JMeter's plan, k6's scripts and the scenario, held to each other and to what they speak of."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from localfaas.stack import load_stack
from tests.load import scenario
from tests.load.jmeter.__main__ import PLAN, rows
from tests.load.jmeter.plan import COLUMNS, json_path, render, schedule, schedules

PROJECT = Path(__file__).parents[2]
SHOP = scenario.load()
TREE = ET.parse(PLAN)
VISITS = [
    (journey, kind, visit) for journey, visits in SHOP.journeys.items() for kind, visit in visits.items()
]


def props(element, name):
    return [one.text or "" for one in element.iter("stringProp") if one.get("name") == name]


def groups():
    """The hashTree below each thread group, by its name."""
    top = TREE.getroot().find("hashTree/hashTree")
    pairs = list(zip(list(top)[::2], list(top)[1::2], strict=True))
    return {
        element.get("testname"): (element, below)
        for element, below in pairs
        if element.tag == "OpenModelThreadGroup"
    }


def samplers(below):
    children = list(below)
    return [
        (element, after)
        for element, after in zip(children[::2], children[1::2], strict=True)
        if element.tag == "HTTPSamplerProxy"
    ]


def test_plan_is_what_the_scenario_makes():
    assert PLAN.read_text() == render(SHOP), "python -m tests.load.jmeter writes it anew"


def test_every_kind_of_visit_is_a_group_and_nothing_else_is():
    assert list(groups()) == [f"{journey}: {kind}" for journey, kind, _ in VISITS]


@pytest.mark.parametrize(("journey", "kind", "visit"), VISITS)
def test_visit_makes_the_requests_of_its_actions_with_all_that_must_be_in_the_answer(journey, kind, visit):
    _, below = groups()[f"{journey}: {kind}"]
    found = samplers(below)
    asks = [ask for action in visit.actions for ask in SHOP.actions[action]]
    assert [element.get("testname") for element, _ in found] == [ask.name for ask in asks]
    for (element, after), ask in zip(found, asks, strict=True):
        assert props(element, "HTTPSampler.path") == [ask.path]
        assert props(element, "HTTPSampler.method") == [ask.method]
        assertions = [one for one in after if one.tag == "ResponseAssertion"]
        status = next(
            one for one in assertions if "Assertion.response_code" in props(one, "Assertion.test_field")
        )
        assert {int(one.text) for one in status.find("collectionProp")} == set(ask.status)
        assert len(assertions) == 1 + bool(ask.contains)
        assert sorted(props(after, "JSON_PATH")) == sorted(map(json_path, ask.answer))
        taken = props(after, "JSONPostProcessor.referenceNames") + props(after, "RegexExtractor.refname")
        assert sorted(taken) == sorted(ask.take)
        headers = props(after, "Header.name")
        assert ("Idempotency-Key" in headers) == (ask.method == "POST")
        assert ("Authorization" in headers) == (ask.who != "visitor")
        assert bool(props(element, "Argument.value")) == (ask.body is not None)


def test_every_value_comes_from_the_row_or_from_an_answer():
    text = PLAN.read_text()
    given = {*COLUMNS, *(name for asks in SHOP.actions.values() for ask in asks for name in ask.take)}
    assert set(re.findall(r"\$\{([a-z_]+)\}", text)) <= given
    assert ":json}" not in text


def test_shares_and_rates_become_schedules():
    assert schedules(SHOP, "shop", "spike") == {
        f"load.shop.{kind}": schedule(SHOP.shapes["spike"], share)
        for kind, share in {"browse": 80, "cart": 15, "buy": 5}.items()
    }
    assert schedule(SHOP.shapes["spike"], 80) == (
        "rate(4/sec) random_arrivals(20 sec) rate(4/sec) rate(20/sec) random_arrivals(10 sec) rate(20/sec)"
        " rate(4/sec) random_arrivals(30 sec) rate(4/sec) pause(10 sec)"
    )
    for journey, kind, _ in VISITS:
        element, _ = groups()[f"{journey}: {kind}"]
        assert props(element, "OpenModelThreadGroup.schedule") == [
            f"${{__P(load.{journey}.{kind},pause(1 sec))}}"
        ]


def test_plan_asks_this_machine_alone():
    assert props(TREE.getroot(), "HTTPSampler.domain") == ["127.0.0.1"]
    assert "HTTPSampler.domain" not in PLAN.read_text().split("HttpDefaultsGui")[0]


def test_feed_has_every_column_and_gives_each_purchase_another_customer():
    products = [{"sku": sku, "product_id": 1, "word": "w", "query": "w"} for sku in "AB"]
    given = {"start": 1, "rows": products, "till": {}, "customers": ["x", "y", "z"], "staff": None}
    found = rows(given)
    assert [(row["sku"], row["customer_token"]) for row in found] == [("B", "x"), ("A", "y"), ("B", "z")]
    assert {name for row in found for name in row} | {"store", "register"} == set(COLUMNS)


def test_maven_runs_the_version_of_jmeter_that_the_plan_is_for():
    pom = (PLAN.parent / "pom.xml").read_text()
    assert f"<jmeterVersion>{TREE.getroot().get('jmeter')}</jmeterVersion>" in pom


def test_ports_are_those_of_stack_yml():
    functions = load_stack(PROJECT / "stack.yml", {}).functions
    assert SHOP.ports == {name: int(functions[name].annotations["localfaas/port"]) for name in SHOP.ports}


def test_shapes_and_journeys_are_explained():
    text = (PROJECT / "tests" / "load" / "README.md").read_text()
    assert [name for name in (*SHOP.shapes, *SHOP.journeys) if f"`{name}`" not in text] == []
