"""The examples of the API documentation say what the schemas say, and where each of their variables comes from."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from docs.source import api
from functions.site.domain import operations
from functions.site.examples import BEGIN
from tests.support.examples import example_faults, plan, samples_of

BEGUN = frozenset({"hq"})


@pytest.fixture(scope="module")
def document() -> Any:
    return api.document()


def test_every_public_operation_has_an_example_that_its_schemas_allow(document: Any) -> None:
    assert example_faults(document) == []
    assert len(samples_of(document)) == len(list(operations(document))) > 80


def test_every_variable_is_set_by_the_operation_that_is_named(document: Any) -> None:
    samples = samples_of(document)
    assert all(f"{name}=" in BEGIN for name in BEGUN)
    assert set(plan(samples, BEGUN)) == set(samples)


def faulty(document: Any, path: str, method: str) -> tuple[Any, Any]:
    spoilt = copy.deepcopy(document)
    return spoilt, spoilt["paths"][path][method]


def test_an_answer_without_a_member_is_found(document: Any) -> None:
    spoilt, operation = faulty(document, "/api/products/{product_id}", "get")
    del operation["responses"]["200"]["content"]["application/json"]["example"]["sku"]
    assert example_faults(spoilt) == [
        "products.read_product: answer, application/json: all: 'sku' is a required property"
    ]


def test_a_body_of_another_kind_and_a_parameter_out_of_range_are_found(document: Any) -> None:
    spoilt, operation = faulty(document, "/api/products", "post")
    operation["requestBody"]["content"]["application/json"]["example"]["price_cents"] = "29.50"
    limit = next(
        one for one in spoilt["paths"]["/api/products"]["get"]["parameters"] if one["name"] == "limit"
    )
    limit["example"] = 0
    assert example_faults(spoilt) == [
        "products.create_product: body: price_cents: '29.50' is not of type 'integer'",
        "products.list_products: limit: all: 0 is less than the minimum of 1",
    ]


def test_an_operation_without_an_example_is_found(document: Any) -> None:
    spoilt, operation = faulty(document, "/api/cart", "get")
    del operation["x-codeSamples"]
    assert example_faults(spoilt) == ["cart.read_cart: there is no example"]


def test_a_variable_that_nothing_sets_is_found(document: Any) -> None:
    spoilt, operation = faulty(document, "/api/sales", "post")
    [sample] = operation["x-codeSamples"]
    sample["source"] = sample["source"].replace("sale=$(pick sale_id)", "")
    with pytest.raises(AssertionError, match="sale is not there any more"):
        plan(samples_of(spoilt), BEGUN)
