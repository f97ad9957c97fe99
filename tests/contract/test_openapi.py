"""/openapi.json of each function is valid OpenAPI 3.1 and says exactly what the routes are."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from functions.shared import Api, FunctionSettings, create_app
from functions.shared.openapi import path_template

PROJECT = Path(__file__).resolve().parents[2]
FUNCTIONS = sorted(path.parent.name for path in (PROJECT / "functions").glob("*/handler.py"))
SAMPLE = {"id": "7", "int": "7", "uuid": "00000000-0000-4000-8000-000000000000"}


def api_of(function: str) -> Api:
    api = importlib.import_module(f"functions.{function}.handler").api
    assert isinstance(api, Api)
    return api


@pytest.fixture(params=FUNCTIONS)
def api(request: pytest.FixtureRequest) -> Api:
    return api_of(request.param)


def document(api: Api) -> dict[str, Any]:
    """As a client gets it, from an application without database and keys."""
    response = create_app(api, FunctionSettings, {}).test_client().get("/openapi.json")
    assert (response.status_code, response.mimetype) == (200, "application/json")
    content: dict[str, Any] = response.get_json()
    return content


def operations(content: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in content["paths"].items()
        for method, operation in methods.items()
    }


def test_the_document_is_valid(api: Api) -> None:
    OpenAPIV31SpecValidator(document(api)).validate()


def test_the_function_has_the_name_of_its_folder() -> None:
    assert [api_of(function).name for function in FUNCTIONS] == FUNCTIONS


def test_it_shows_the_routes_that_flask_serves_and_no_others(api: Api) -> None:
    rules = create_app(api, FunctionSettings, {}).url_map.iter_rules()
    served = {
        (method, path_template(rule.rule))
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert set(operations(document(api))) | {("GET", "/openapi.json")} == served


def test_each_route_is_reached_with_a_path_made_from_the_document(api: Api) -> None:
    urls = create_app(api, FunctionSettings, {}).url_map.bind("localhost")
    for route in api.routes:
        path = re.sub(r"<(?:([a-z]+):)?[a-z_]+>", lambda match: SAMPLE.get(match[1] or "", "x"), route.path)
        assert urls.match(path, route.method)[0] == route.name


def test_each_operation_says_what_it_does_and_what_it_answers(api: Api) -> None:
    found = operations(document(api))
    assert len({operation["operationId"] for operation in found.values()}) == len(found)
    for place, operation in found.items():
        assert operation["summary"], place
        assert any(status.startswith("2") for status in operation["responses"]), place
        assert "default" in operation["responses"], place


def test_protected_operations_say_so(api: Api) -> None:
    found = operations(document(api))
    for route in api.routes:
        operation = found[route.method, path_template(route.path)]
        assert operation.get("x-roles", []) == sorted(route.roles)
        assert ("401" in operation["responses"]) >= bool(route.roles)


def test_headers_that_a_route_names_are_shown(api: Api) -> None:
    found = operations(document(api))
    for route in api.routes:
        operation = found[route.method, path_template(route.path)]
        parameters = {each["name"] for each in operation["parameters"] if each["in"] == "header"}
        assert parameters >= set(route.request_headers)
        assert len(parameters) == len([each for each in operation["parameters"] if each["in"] == "header"])
        for status in map(str, route.answers):
            assert set(operation["responses"][status].get("headers", {})) == set(route.response_headers)


def test_a_visitor_can_read_how_to_hold_a_cart() -> None:
    found = operations(document(api_of("cart")))
    for place in (("GET", "/"), ("POST", "/items"), ("PUT", "/items/{sku}"), ("POST", "/merge")):
        assert "X-Cart-Token" in {each["name"] for each in found[place]["parameters"]}, place
    assert "X-Cart-Token" in found["POST", "/items"]["responses"]["200"]["headers"]


def test_no_function_takes_the_operators_paths(api: Api) -> None:
    for route in api.routes:
        assert not route.path.startswith("/_/")
        assert route.path not in {"/metrics", "/openapi.json"}


LINKS = {
    "products": {"create_product": "read_product read_price_history change_product deactivate_product"},
    "inventory": {
        "issue_stock": "read_issue undo_issue",
        "return_goods": "read_return",
        "ask_for_stock": "read_replenishment approve_replenishment refuse_replenishment",
        "reserve_stock": "read_reservation commit_reservation release_reservation",
    },
    "sales": {"sell": "read_sale void_sale return_lines"},
    "cart": {"freeze_cart": "close_checkout release_checkout"},
    "customers": {"add_address": "read_address replace_address remove_address"},
    "orders": {
        "create_order": "read_order pack_order ship_order deliver_order cancel_order return_lines",
    },
    "checkout": {"check_out": "read_checkout"},
    "payments": {"authorise": "read_authorisation capture void refund"},
}
"""What can be done with what an operation made."""


def test_what_is_made_links_to_what_can_be_done_with_it(api: Api) -> None:
    found = {
        operation["operationId"]: sorted(links)
        for operation in operations(document(api)).values()
        for answer in operation["responses"].values()
        if (links := answer.get("links"))
    }
    assert found == {made: sorted(names.split()) for made, names in LINKS.get(api.name, {}).items()}


def test_a_link_gives_the_version_where_one_is_needed() -> None:
    made = operations(document(api_of("products")))["POST", "/"]
    links = made["responses"]["201"]["links"]
    assert links["read_product"]["parameters"] == {"product_id": "$response.body#/product_id"}
    assert links["change_product"]["parameters"]["If-Match"] == "$response.header.ETag"


def test_no_query_parameter_takes_null_and_each_path_with_a_parameter_may_lead_nowhere(api: Api) -> None:
    for place, operation in operations(document(api)).items():
        for parameter in operation["parameters"]:
            kinds = [parameter["schema"], *parameter["schema"].get("anyOf", ())]
            assert {"type": "null"} not in kinds, place
        assert ("404" in operation["responses"]) >= ("{" in place[1]), place
        assert ("400" in operation["responses"]) >= any(
            parameter["in"] == "query" for parameter in operation["parameters"]
        ), place


def test_a_report_may_be_csv() -> None:
    for place, operation in operations(document(api_of("reports"))).items():
        if place[0] == "GET":
            assert set(operation["responses"]["200"]["content"]) == {"application/json", "text/csv"}, place
