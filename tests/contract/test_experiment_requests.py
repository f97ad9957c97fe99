"""What experiments call an action of the shop, or a step of one, is what the load tests' scenario says it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from localfaas.settings import Settings
from tests.experiments.capacity.subjects import BUYING, JOURNEY, parts_of
from tests.experiments.common.driving import Request
from tests.experiments.common.shop import REGISTER, STORE, Shop
from tests.experiments.failover.faults import GET_CART, GET_PRODUCT, POST_CART, TILL_SALE
from tests.experiments.failover.stage import of_the_shop
from tests.experiments.soak.experiment import load_of
from tests.load import scenario
from tests.load.scenario import GIVEN, Ask

PROJECT = Path(__file__).parents[2]
SCENARIO = scenario.load()
ASKS = {ask.name: (action, ask) for action, asks in SCENARIO.actions.items() for ask in asks}
LEFT_OUT = {"checkout": ["GET /api/orders/{number}"]}
"""By action, what one request and another before it cannot hold; the pages of the experiments say so."""
PLACE = re.compile(r"\$\{([a-z_]+)(?::json)?\}")
OPEN = re.compile(r"\$(\w+)")
TILL = {"store": STORE, "register": REGISTER}
TOTAL = 2_300


class Unlocked(Shop):
    """A shop whose tokens say whose they are."""

    def bearer(self, role: str, subject: str, store: str | None = None) -> str:
        return " ".join(filter(None, (role, store)))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    goods = [{"sku": f"X{number}", "product_id": number, "query": f"word{number}"} for number in range(3)]
    return Unlocked(Settings(PROJECT, tmp_path), goods, ["customer", "customer"], total_cents=TOTAL)


def same(given: Any, wanted: Any) -> bool:
    """Whether `given` is `wanted` with values, or `$name`, where that has `${name}`."""
    if isinstance(wanted, dict):
        return (
            isinstance(given, dict)
            and given.keys() == wanted.keys()
            and all(same(given[name], wanted[name]) for name in wanted)
        )
    if isinstance(wanted, list):
        return (
            isinstance(given, list)
            and len(given) == len(wanted)
            and all(same(one, other) for one, other in zip(given, wanted, strict=True))
        )
    if not isinstance(wanted, str):
        return bool(given == wanted)
    if place := PLACE.fullmatch(wanted):
        return given in (f"${place[1]}", TILL.get(place[1])) or (place[1] == "total_cents" and given == TOTAL)
    return bool(given == wanted)


def path_of(ask: Ask) -> str:
    """As a request has it: `/products/$product_id`."""
    path = PLACE.sub(lambda place: TILL.get(place[1], f"${place[1]}"), urlsplit(ask.path).path)
    return path.removeprefix("/api")


def role(request: Request) -> str:
    """Who asks: the first word of the token, of the first turn where it is open."""
    text = request.headers.get("Authorization", "visitor")
    return str(request.turns[0]["authorization"] if text == "$authorization" else text).partition(" ")[0]


def assert_is(request: Request, ask: Ask, base: str) -> None:
    asked, wanted = urlsplit(request.url.removeprefix(base)), urlsplit(ask.path)
    assert (request.method, asked.path, role(request)) == (ask.method, path_of(ask), ask.who)
    assert same(parse_qs(asked.query), parse_qs(wanted.query))
    assert same(json.loads(request.body or "null"), ask.body)
    assert set(request.statuses) == set(ask.status)
    assert request.key == (ask.method == "POST")


def open_places(request: Request) -> Iterator[str]:
    """The values that a request is sent with only if somebody gives them."""
    for text in (request.url, request.body or "", *request.headers.values()):
        yield from OPEN.findall(text)


def base_of(shop: Shop) -> str:
    return f"{shop.settings.url('edge')}/api"


@pytest.mark.parametrize("action", SCENARIO.actions)
def test_an_action_of_the_experiments_is_the_scenarios(shop: Shop, action: str) -> None:
    request, asks = shop.action(action), SCENARIO.actions[action]
    given = [replace(request.first, turns=request.turns), request] if request.first else [request]
    assert [ask.name for ask in asks[len(given) :]] == LEFT_OUT.get(action, [])
    for one, ask in zip(given, asks, strict=False):
        assert_is(one, ask, base_of(shop))


@pytest.mark.parametrize("action", SCENARIO.actions)
def test_all_that_an_action_leaves_open_is_given_by_the_turn_or_the_answer_before(
    shop: Shop, action: str
) -> None:
    request, asks = shop.action(action), SCENARIO.actions[action]
    turns = set.intersection(*(set(turn) for turn in request.turns))
    # load.js puts fields of the first answer into the second body, by their own names.
    told = {name for name, field in asks[0].take.items() if name == field} if request.first else set()
    assert not [name for name in OPEN.findall(request.body or "") if name not in turns | told]
    assert not [name for name in open_places(replace(request, body=None)) if name not in turns]
    assert not [name for name in (open_places(request.first) if request.first else ()) if name not in turns]


@pytest.mark.parametrize("name", ASKS)
def test_a_step_of_the_experiments_is_the_scenarios(shop: Shop, name: str) -> None:
    _, ask = ASKS[name]
    request = shop.step(name)
    assert_is(request, ask, base_of(shop))
    assert request.first is None
    assert {text for text in request.headers if text.startswith("X-")} == set(ask.headers)
    asked_for = {*open_places(request)} - {"authorization"}
    assert asked_for <= ask.places()
    assert GIVEN & asked_for <= request.turns[0].keys()


def test_flows_under_faults_are_steps_of_the_scenario(shop: Shop) -> None:
    steps: Mapping[str, str] = {
        GET_CART: "GET /api/cart", POST_CART: "POST /api/cart/items", GET_PRODUCT: "GET /api/products/{product_id}",
        TILL_SALE: "POST /api/sales",
    }  # fmt: skip
    flows = of_the_shop(shop, ["opened"])
    assert flows.keys() == steps.keys()
    for flow, request in flows.items():
        assert_is(request, ASKS[steps[flow]][1], base_of(shop))
        assert {*open_places(request)} <= request.turns[0].keys()


def test_the_journey_is_each_action_at_its_share(shop: Shop) -> None:
    parts = parts_of(JOURNEY, shop)
    asked = [one for part in parts for one in part.requests]
    visits = SCENARIO.journeys["shop"].values()
    done = [(visit.of_100, action) for visit in visits for action in visit.actions]
    whole = sum(times for times, _ in done)
    assert sum(weight for weight, _ in asked) == pytest.approx(1)
    assert {request.url: weight for weight, request in asked} == {
        shop.action(action).url: pytest.approx(sum(times for times, one in done if one == action) / whole)
        for _, action in done
    }
    functions = {ask.function for _, action in done for ask in SCENARIO.actions[action]}
    assert functions <= set(BUYING)


def test_requests_of_single_functions_are_steps_where_the_scenario_has_them(shop: Shop) -> None:
    base = f"{shop.settings.url('gateway')}/function"
    for subject, name in (("cart", "PUT /api/cart/items/{sku}"), ("sales", "POST /api/sales/quote")):
        [(_, request)] = parts_of(subject, shop)[0].requests
        assert_is(request, ASKS[name][1], base)


def test_trade_of_an_hour_is_every_action_of_both_journeys(shop: Shop) -> None:
    blocks = load_of(shop, 60.0)
    assert {block.arm for block in blocks} == SCENARIO.actions.keys()
    assert sum(block.rate or 0 for block in blocks) == pytest.approx(20.2)
    for block in blocks:
        [(_, request)] = block.requests
        assert replace(request, keep="", insist=0.0) == shop.action(block.arm)
