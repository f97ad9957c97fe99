"""The scenario of the load tests: what it holds, and that nothing else is taken for one."""

import copy
import json
from pathlib import Path

import pytest

from tests.load import scenario
from tests.load.people import NotHereError, edge_here
from tests.load.scenario import FILE, UnusableScenarioError, fill

DOCUMENT = json.loads(FILE.read_text())
SHOP = scenario.load()


def changed(tmp_path: Path, *path: str | int, to: object) -> Path:
    """A scenario file that differs in one place."""
    document = copy.deepcopy(DOCUMENT)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    file = tmp_path / "scenario.json"
    file.write_text(json.dumps(document))
    return file


def test_of_100_visitors_80_browse_15_fill_a_cart_and_5_buy():
    shares = {kind: visit.of_100 for kind, visit in SHOP.journeys["shop"].items()}
    assert shares == {"browse": 80, "cart": 15, "buy": 5}


def test_every_action_is_done_in_some_journey():
    done = {
        action for visits in SHOP.journeys.values() for visit in visits.values() for action in visit.actions
    }
    assert done == SHOP.actions.keys() == {
        "browse", "search", "view", "cart", "checkout", "till_sale", "report",
    }  # fmt: skip


def test_there_are_six_shapes():
    assert SHOP.shapes.keys() == {"smoke", "steady", "ramp", "step", "spike", "soak"}


def test_requests_and_visits_are_counted():
    assert SHOP.requests_per_visit("shop") == pytest.approx(0.8 * 3 + 0.15 * 4 + 0.05 * 5)
    assert (SHOP.visits("ramp"), SHOP.seconds("ramp")) == (660, 60)


@pytest.mark.parametrize(
    ("path", "to", "says"),
    [
        (("journeys", "shop", "buy", "of_100"), 6, "the visits of shop are 101 of 100"),
        (("journeys", "shop", "buy", "actions"), ["haggle"], "no such action: haggle"),
        (("actions", "view", 0, "path"), "/api/products/${colour}", "needs colour"),
        (("actions", "view", 0, "path"), "https://elsewhere.example/", "path"),
        (("actions", "view", 0, "name"), "GET /api/products/${sku}", "name"),
        (("actions", "view", 0, "name"), "GET /api/products", "names two addresses"),
        (("actions", "view", 0, "method"), "PUT", "is sent as PUT"),
        (("actions", "view", 0, "status"), [], "status"),
        (("actions", "view", 0, "answer"), {}, "answer"),
        (("actions", "view", 0, "expect"), 200, "expect"),
        (("shapes", "smoke", 0, "from"), -1, "from"),
    ],
)
def test_scenario_that_does_not_hold_together_is_refused(tmp_path, path, to, says):
    with pytest.raises(UnusableScenarioError, match=says):
        scenario.load(changed(tmp_path, *path, to=to))


def test_values_are_put_in_their_places():
    body = {"sku": "${sku}", "note": "two of ${sku}", "lines": [{"cents": "${cents:json}"}], "n": 1}
    assert fill(body, {"sku": "A", "cents": 255}) == {
        "sku": "A", "note": "two of A", "lines": [{"cents": 255}], "n": 1,
    }  # fmt: skip
    with pytest.raises(KeyError, match="sku"):
        fill("${sku}", {})


@pytest.mark.parametrize("address", ["http://localhost:8000", "http://127.0.0.1:8000/", "https://[::1]:8443"])
def test_shop_on_this_machine_may_be_loaded(address):
    assert edge_here(address) == address.rstrip("/")


@pytest.mark.parametrize(
    "address",
    [
        "http://shop.example",
        "http://localhost.shop.example",
        "http://localhost@shop.example",
        "localhost:8000",
    ],
)
def test_shop_elsewhere_may_not(address):
    with pytest.raises(NotHereError, match="not on this machine"):
        edge_here(address)
