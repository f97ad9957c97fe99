"""Looking products up: all of them in as few calls as fit, and no price at all rather than a wrong one."""

from __future__ import annotations

import json
import math
from typing import Any, cast

import pytest
from requests import Response

from functions.shared import Unavailable, UpstreamTimeout
from functions.shared.catalogue import Product, find_products
from functions.shared.client import ServiceClient


def row(sku: str, product_id: int) -> dict[str, Any]:
    return {
        "product_id": product_id, "sku": sku, "version": 3, "name": f"Product {sku}", "category": "Lamps",
        "price_cents": 250, "currency": "CAD", "active": True, "more": "ignored",
    }  # fmt: skip


class FakeProducts:
    """Sells S0, S1, … under the ids 0, 1, …; or answers something else."""

    def __init__(self) -> None:
        self.asked: list[dict[str, list[str]]] = []
        self.timeouts: list[float] = []
        self.instead: tuple[int, bytes] | Exception | None = None

    def get(
        self, function: str, path: str, *, params: dict[str, list[str]], timeout_seconds: float
    ) -> Response:
        assert (function, path) == ("products", "/prices")
        self.asked.append(params)
        self.timeouts.append(timeout_seconds)
        if isinstance(self.instead, Exception):
            raise self.instead
        wanted = [int(sku[1:]) for sku in params["sku"]] + [int(value) for value in params["id"]]
        answer = json.dumps({"items": [row(f"S{number}", number) for number in wanted]}).encode()
        response = Response()
        response.status_code, response._content = self.instead or (200, answer)
        return response


@pytest.fixture
def products() -> FakeProducts:
    return FakeProducts()


def find(products: FakeProducts, **wanted: Any) -> list[Product]:
    return find_products(cast(ServiceClient, products), **wanted)


def test_products_are_found_by_sku_and_by_id(products: FakeProducts) -> None:
    found = find(products, skus=["S1", "S1"], ids=[2])
    assert found[0] == Product(1, "S1", 3, "Product S1", "Lamps", 250, "CAD", True)
    assert [product.product_id for product in found] == [1, 2]
    assert products.asked == [{"sku": ["S1"], "id": ["2"]}]
    assert products.timeouts == [math.inf]


def test_many_are_asked_for_a_hundred_at_a_time_within_one_time(products: FakeProducts) -> None:
    found = find(products, skus=[f"S{n}" for n in range(150)], ids=range(150, 201), timeout_seconds=2.0)
    assert [product.product_id for product in found] == list(range(201))
    assert [len(asked["sku"]) + len(asked["id"]) for asked in products.asked] == [100, 100, 1]
    first, second, third = products.timeouts
    assert 2.0 >= first > second > third


def test_nobody_is_asked_for_nothing_or_for_what_cannot_be(products: FakeProducts) -> None:
    assert find(products) == []
    assert find(products, skus=["S" * 65]) == []
    assert products.asked == []


@pytest.mark.parametrize(
    "instead",
    [
        Unavailable("away"),
        UpstreamTimeout("late"),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b'{"items": [{"sku": "S1"}]}'),
        (422, b"{}"),
        (500, b"{}"),
    ],
)
def test_without_an_answer_no_price_is_known(
    products: FakeProducts, instead: tuple[int, bytes] | Exception
) -> None:
    products.instead = instead
    with pytest.raises(Unavailable) as caught:
        find(products, skus=["S1"])
    assert caught.value.code == "prices_unavailable"
