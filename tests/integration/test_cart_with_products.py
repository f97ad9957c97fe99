"""The cart and the real products function understand each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support.carts import Shop, add, lasting_shop, quantities
from tests.support.functions import faulty_fields, problem
from tests.support.postgres import PostgresServer
from tests.support.replicas import running_replicas

SKUS = ["85123A", "gift_0001_40", "DCGS0058", "A B", "a+b&c=d", "é/ü", "%41", "x" * 64]


@pytest.fixture(scope="module")
def open_shop(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop whose catalogue is a real replica of products."""
    with lasting_shop(postgres_server) as shop:
        (shop.secrets.directory / "products-db").write_text(shop.database.url("products"))
        directory = tmp_path_factory.mktemp("products")
        with running_replicas("products", 1, directory, shop.secrets.environ) as [products]:
            shop.gateway.replicas["products"] = [products.url]
            yield shop


@pytest.fixture
def shop(open_shop: Shop) -> Shop:
    """The same with no products and no carts."""
    open_shop.empty()
    open_shop.execute("TRUNCATE products.products, products.prices, products.idempotency_keys")
    return open_shop


def sell(shop: Shop, sku: str, price_cents: int = 500, **more: Any) -> dict[str, Any]:
    body = {"sku": sku, "name": f"Product {sku}", "price_cents": price_cents, **more}
    return _as_editor(shop, "POST", "/", body)


def change(shop: Shop, product: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return _as_editor(shop, "PATCH", f"/{product['product_id']}", changes, product["version"])


def _as_editor(shop: Shop, method: str, path: str, body: Any, version: int | None = None) -> dict[str, Any]:
    headers = shop.secrets.bearer("hq") | ({"If-Match": f'"{version}"'} if version else {})
    url = shop.gateway.replicas["products"][0] + path
    response = requests.request(method, url, json=body, headers=headers, timeout=10)
    assert response.status_code in (200, 201), response.text
    return dict(response.json())


def test_whatever_products_sells_can_be_bought_changed_and_removed(shop: Shop):
    client = shop.visitor()
    for sku in SKUS:
        sell(shop, sku)
        assert quantities(add(client, sku, 2))[sku] == 2
    assert client.get("/").get_json()["subtotal_cents"] == len(SKUS) * 1000
    for sku in SKUS:
        path = "/items/" + requests.utils.quote(sku, safe="/")
        assert quantities(client.put(path, json={"quantity": 1}))[sku] == 1
        assert sku not in quantities(client.delete(path))


def test_change_of_price_and_end_of_sale_reach_the_cart(shop: Shop):
    product = sell(shop, "85123A", 255)
    client = shop.visitor()
    add(client, "85123A")
    product = change(shop, product, price_cents=295)
    item = client.get("/").get_json()["items"][0]
    assert (item["unit_price_cents"], item["previous_price_cents"]) == (295, 255)
    change(shop, product, active=False)
    body = client.get("/").get_json()
    assert (body["items"][0]["available"], body["total_cents"]) == (False, 0)
    assert problem(add(client, "85123A")) == (422, "inactive_product")


@pytest.mark.parametrize("sku", ["85123a", "nothing", "x" * 64])
def test_what_products_does_not_sell_is_refused_by_its_field(shop: Shop, sku: str):
    sell(shop, "85123A")
    response = add(shop.visitor(), sku)
    assert problem(response) == (422, "unknown_product")
    assert faulty_fields(response) == ["sku"]


def test_price_in_another_currency_is_refused(shop: Shop):
    sell(shop, "US", currency="USD")
    assert problem(add(shop.visitor(), "US")) == (422, "other_currency")


def test_full_cart_is_priced_in_one_look_up(shop: Shop):
    client = shop.visitor()
    for number in range(100):
        sell(shop, f"S{number}", 1)
        add(client, f"S{number}")
    before = len(shop.gateway.requests)
    body = client.get("/").get_json()
    assert (len(body["items"]), body["subtotal_cents"], body["prices_checked"]) == (100, 100, True)
    assert len(shop.gateway.requests) == before + 1
