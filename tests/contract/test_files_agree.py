"""The files that both homes read, held to each other."""

import re
from pathlib import Path

import pytest
import yaml

from functions.checkout.handler import CheckoutSettings
from functions.maintenance.handler import MaintenanceSettings
from functions.orders.handler import OrdersSettings
from functions.shared.client import RESERVE_SECONDS
from functions.shared.payments import TIMEOUT_SECONDS
from localfaas.settings import PORTS, REPLICA_PORT_STEP
from localfaas.stack import load_stack

PROJECT = Path(__file__).parents[2]
STACK = load_stack(PROJECT / "stack.yml", {})
KONG = yaml.safe_load((PROJECT / "kong" / "kong.yml").read_text())
LOCK = dict(
    re.findall(
        r"^([a-z0-9-]+)(?:\[[a-z]+\])?==(\S+)", (PROJECT / "requirements.lock").read_text(), re.MULTILINE
    )
)
FUNCTIONS = sorted(STACK.functions)
SHOP = ["cart", "checkout", "customers", "inventory", "orders", "products", "reports", "sales"]
"""Each has its place at the edge before it is deployed; until then a request gets what an unknown function gets."""
WITHOUT_ROUTE = ["maintenance", "payments"]
ROUTES = {route["name"]: route for service in KONG["services"] for route in service["routes"]}
BASE_PORTS = {
    "products": 8002, "inventory": 8003, "sales": 8004, "reports": 8005, "customers": 8006, "orders": 8007,
    "cart": 8008, "checkout": 8009, "site": 8097, "payments": 8098, "maintenance": 8099,
}  # fmt: skip
"""The design's port table."""


def milliseconds(duration: str) -> int:
    return int(duration.removesuffix("s")) * 1000


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_has_its_folder_and_its_papers(name):
    folder = PROJECT / "functions" / name
    assert {"handler.py", "README.md", "requirements.txt"} <= {path.name for path in folder.iterdir()}


def test_every_function_folder_is_deployed():
    folders = {path.parent.name for path in (PROJECT / "functions").glob("*/handler.py")}
    assert folders == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_listens_where_the_design_says(name):
    assert int(STACK.functions[name].annotations["localfaas/port"]) == BASE_PORTS[name]


def test_no_replica_port_is_another_parts():
    taken = set(PORTS.values())
    for name in FUNCTIONS:
        base = int(STACK.functions[name].annotations["localfaas/port"])
        slots = {base + slot * REPLICA_PORT_STEP for slot in range(6)}
        assert not slots & taken, name
        taken |= slots


@pytest.mark.parametrize("name", SHOP)
def test_function_of_the_shop_has_a_route_that_stops_at_its_name(name):
    assert ROUTES[name]["paths"] == [f"~/api/{name}($|/)"]


def test_every_other_function_is_known_to_be_public_or_not():
    assert set(FUNCTIONS) <= {*SHOP, *WITHOUT_ROUTE, "site"}


def test_edge_leads_nowhere_but_to_the_shop_and_its_site():
    paths = {path for route in ROUTES.values() for path in route["paths"]}
    assert paths == {*(f"~/api/{name}($|/)" for name in SHOP), "~/$", "~/docs($|/)"}
    assert {service["name"] for service in KONG["services"]} == {*SHOP, "site"}


@pytest.mark.parametrize("name", WITHOUT_ROUTE)
def test_function_behind_the_scenes_is_not_even_named(name):
    assert name not in (PROJECT / "kong" / "kong.yml").read_text()


def test_edge_names_only_what_is_deployed():
    hosts = {service.get("host") or service["url"].split("/")[2] for service in KONG["services"]}
    targets = {target["target"] for upstream in KONG["upstreams"] for target in upstream["targets"]}
    upstreams = {upstream["name"] for upstream in KONG["upstreams"]}
    assert hosts - upstreams == {"gateway.openfaas:8080"}
    assert targets == {"cart-replicas.openfaas-fn:8080"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_time_budget_shrinks_from_edge_to_lock(name):
    environment = STACK.functions[name].environment
    edge = min(service["read_timeout"] for service in KONG["services"])
    function = milliseconds(environment["exec_timeout"])
    statement, lock = int(environment["statement_timeout_ms"]), int(environment["lock_timeout_ms"])
    assert (edge, function, statement, lock) == (20_000, 10_000, 5_000, 2_000)


def test_what_maintenance_recovers_may_take_a_payment_provider_its_time():
    """Maintenance keeps back a little for its own answer, and so does the function that it asks."""
    assert MaintenanceSettings.run_seconds - 2 * RESERVE_SECONDS > TIMEOUT_SECONDS
    assert (
        CheckoutSettings.payment_timeout_seconds == OrdersSettings.payment_timeout_seconds == TIMEOUT_SECONDS
    )


def test_cart_starts_with_three_replicas():
    assert STACK.functions["cart"].labels["com.openfaas.scale.min"] == "3"


@pytest.mark.parametrize(
    "path", sorted(PROJECT.glob("functions/*/requirements.txt")), ids=lambda path: path.parent.name
)
def test_functions_run_the_versions_that_were_tested(path):
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, version = re.fullmatch(r"([A-Za-z0-9_-]+)(?:\[[a-z]+\])?==(\S+)", line.strip()).groups()
            assert LOCK[name.lower()] == version, f"{path.parent.name}: {name}"


def test_make_targets_in_the_readme_exist():
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake (?:-s )?([a-z-]+)", (PROJECT / "README.md").read_text()))
    assert named <= targets | {"sure"}


def test_links_between_pages_lead_somewhere():
    broken = []
    for page in [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md"), *PROJECT.glob("*/README.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            if not (page.parent / target).exists():
                broken.append(f"{page.relative_to(PROJECT)}: {target}")
    assert broken == []
