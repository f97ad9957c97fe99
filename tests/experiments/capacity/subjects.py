"""What is measured: a typical request of each domain, and the journey."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.experiments.common.driving import Request
from tests.experiments.common.journey import actions_of_a_visit
from tests.experiments.common.shop import Shop

JOURNEY = "journey"
BUYING = ("checkout", "cart", "products", "inventory", "orders", "payments")
IMMEDIATE_SECONDS, FLOWING_SECONDS = 0.1, 1.0
"""What feels immediate, and what does not interrupt a thought: J. Nielsen, Usability Engineering, 1993, chapter 5."""


@dataclass(frozen=True)
class Subject:
    """One thing whose capacity is asked for."""

    name: str
    request: str
    """How it is shown."""
    functions: Sequence[str]
    """Those that work on it: they are scaled alike, and their processor time counts."""


SUBJECTS: Mapping[str, Subject] = {
    one.name: one
    for one in (
        Subject("products", "GET products/sku/{sku}", ("products",)),
        Subject("inventory", "GET inventory/stock/{sku}", ("inventory",)),
        Subject("sales", "POST sales/quote", ("sales", "products")),
        Subject("reports", "GET reports/sales?by=day, 28 days", ("reports",)),
        Subject("customers", "GET customers/me", ("customers",)),
        Subject("orders", "GET orders, a customer's own", ("orders",)),
        Subject("cart", "PUT cart/items/{sku}", ("cart", "products")),
        Subject("checkout", "PUT cart/items/{sku}, then POST checkout: a paid order", BUYING),
        Subject(JOURNEY, "what visits do, through the edge: each action counts as one request", BUYING),
    )
}
SHORT = ("products", JOURNEY)


@dataclass(frozen=True)
class Part:
    """Some of the requests of a subject: their share of all, and within what their p99 has to stay."""

    name: str
    requests: Sequence[tuple[float, Request]]
    bound_seconds: float = IMMEDIATE_SECONDS

    @property
    def share(self) -> float:
        return sum(weight for weight, _ in self.requests)


def parts_of(name: str, shop: Shop) -> list[Part]:
    """The requests of a function, through the function gateway; the actions of the journey, through the edge, in two parts."""
    if name == JOURNEY:
        actions = actions_of_a_visit()
        whole = sum(actions.values())
        shares = [(times / whole, action) for action, times in actions.items()]
        looking = [(share, shop.action(action)) for share, action in shares if action != "checkout"]
        buying = [(share, shop.action(action)) for share, action in shares if action == "checkout"]
        return [Part("looking", looking), Part("buying", buying, FLOWING_SECONDS)]
    request = _of_functions(name, shop, f"{shop.settings.url('gateway')}/function")
    bound = FLOWING_SECONDS if name == "checkout" else IMMEDIATE_SECONDS
    return [Part(name, [(1.0, request)], bound)]


def _of_functions(name: str, shop: Shop, base: str) -> Request:
    """A typical request of a domain: what the scenario asks of it, or where it asks for something else or nothing, its own."""
    steps = {"cart": "PUT /api/cart/items/{sku}", "sales": "POST /api/sales/quote"}
    if name in steps:
        return shop.step(steps[name], base)
    if name == "checkout":
        return shop.action(name, base)
    if name == "products":
        return Request(f"{base}/products/sku/$sku", contains='"price_cents"', turns=shop.goods)
    others: Mapping[str, Callable[[], tuple[str, str, str]]] = {
        "inventory": lambda: (f"stock/{shop.skus[0]}", shop.head, '"on_hand"'),
        "reports": lambda: ("sales?by=day", shop.head, '"total"'),
        "customers": lambda: ("me", shop.signed_in(), '"email"'),
        "orders": lambda: ("?limit=20", shop.buyer(), '"paid"'),
    }
    path, who, contains = others[name]()
    return Request(f"{base}/{name}/{path}", headers={"Authorization": who}, contains=contains)
