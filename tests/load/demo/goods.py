"""What a tour sells: products of its own, so that it takes nothing that others may want, and leaves nothing on sale."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.http_client import Reply
from tests.load.demo.visits import Caller, at, document, said
from tests.support.webshop import ADDRESS

WAREHOUSE = "W1"
PRICE_CENTS = 1_999


class Surprise(RuntimeError):
    """The shop did not do what the tour needs; the message says what."""


@dataclass(frozen=True)
class Product:
    sku: str
    product_id: int
    pieces: int
    """So many were received."""


@dataclass
class Goods:
    """What was put into the shop, to be taken out again."""

    products: list[Product] = field(default_factory=list)

    @property
    def usual(self) -> Product:
        """What is bought in every scene but one."""
        return self.products[0]

    @property
    def skus(self) -> list[str]:
        return [one.sku for one in self.products]

    @property
    def received(self) -> int:
        return sum(one.pieces for one in self.products)

    def add(self, head: Caller, name: str, pieces: int) -> Product:
        """A new product with so many pieces in the warehouse. Raises Surprise."""
        sku = f"TOUR-{uuid.uuid4().hex[:8].upper()}"
        body = {"sku": sku, "name": name, "price_cents": PRICE_CENTS}
        product = Product(sku, int(needed(head.ask("POST", "/api/products", body))["product_id"]), pieces)
        self.products.append(product)
        lines = [{"sku": sku, "quantity": pieces}]
        receipt = {"location": WAREHOUSE, "reason": "a tour begins", "lines": lines}
        needed(head.ask("POST", "/api/inventory/receipts", receipt))
        return product

    def take_out(self, head: Caller) -> list[str]:
        """Take it off sale, and write off what is left; in words, what could not be done."""
        return [fault for product in self.products for fault in _taken_out(head, product)]


def _taken_out(head: Caller, product: Product) -> list[str]:
    faults = []
    told = head.ask("DELETE", f"/api/products/{product.product_id}", headers={"If-Match": "*"})
    if told is None or told.status >= 300:
        faults.append(f"{product.sku} is still on sale")
    left, promised = in_stock(head, product.sku)
    lines = [{"sku": product.sku, "quantity": left}]
    body = {"location": WAREHOUSE, "reason": "a tour is over", "lines": lines}
    told = head.ask("POST", "/api/inventory/write-offs", body) if left else None
    if promised or (left and (told is None or told.status >= 300)):
        faults.append(f"some of {product.sku} is still in {WAREHOUSE}")
    return faults


def needed(reply: Reply | None) -> dict[str, Any]:
    """The JSON of a success. Raises Surprise for anything else."""
    if reply is None or reply.status >= 300:
        raise Surprise("the shop did not answer" if reply is None else f"the shop answered {said(reply)}")
    found: dict[str, Any] = document(reply) or {}
    return found


def in_stock(head: Caller, sku: str) -> tuple[int, int]:
    """How many pieces are available, and how many are promised to somebody. Raises Surprise."""
    found = needed(head.ask("GET", f"/api/inventory/stock/{sku}"))
    return int(at(found, "available") or 0), int(at(found, "reserved") or 0)


def paying(cart: Mapping[str, Any], card: str) -> dict[str, Any]:
    """The body of a checkout by somebody who has seen this cart."""
    return {
        "cart_version": cart["version"],
        "total_cents": cart["total_cents"],
        "address": ADDRESS,
        "payment": {"card_token": card},
    }
