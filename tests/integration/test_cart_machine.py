"""Whatever visitors, customers, checkout and the catalogue do in whatever order, carts are what a small model says."""

from __future__ import annotations

import copy
import hashlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg2.extensions
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from functions.cart import store
from functions.cart.domain import Item as StoredItem
from functions.shared import Connection
from tests.support.carts import PRICES, Shop, expire, expire_all, lasting_shop
from tests.support.machines import find_fault, long_if_verified, only_verified, run_machine, told
from tests.support.postgres import PostgresServer

MOST_OF_ONE, MOST_PRODUCTS = 5, 2
VISITORS, CUSTOMERS = ("v1", "v2"), ("c1", "c2")
HOLDERS = st.sampled_from([*VISITORS, *CUSTOMERS])
SKUS = st.sampled_from(sorted(PRICES))
SEEN = st.sampled_from(["unasked", "right", "right", "wrong"])
"""Whether a change says which version it has seen."""


class Refused(Exception):
    """What the model refuses, by the code of the refusal."""


@dataclass
class Product:
    price: int
    active: bool = True
    version: int = 1


@dataclass
class Item:
    quantity: int
    price: int
    available: bool
    previous: int | None
    seen: int
    """The version of the product that is shown."""


@dataclass
class Cart:
    version: int = 0
    items: dict[str, Item] = field(default_factory=dict)
    """In the order in which they were added."""
    checkout: str | None = None

    def put(self, sku: str, quantity: int, like: Item) -> None:
        """Have this quantity; what is new to the cart is shown like that."""
        held = self.items.setdefault(sku, copy.copy(like))
        held.quantity, held.previous = quantity, None
        if len(self.items) > MOST_PRODUCTS:
            raise Refused("cart_full")


@dataclass
class Model:
    products: dict[str, Product] = field(
        default_factory=lambda: {sku: Product(price) for sku, price in PRICES.items()}
    )
    carts: dict[str, Cart] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    """What visitors have; it may open nothing any more."""
    settled: dict[str, str] = field(default_factory=dict)
    """Checkouts that are done, by what they did."""
    expired: list[str] = field(default_factory=list)
    """Holders of carts whose time has passed and that are not deleted yet."""

    def find(self, holder: str) -> Cart | None:
        cart = self.carts.get(holder)
        if cart is None and holder in self.tokens:
            raise Refused("cart_not_found")
        return cart

    def offer(self, sku: str) -> Item:
        product = self.products[sku]
        if not product.active:
            raise Refused("inactive_product")
        return Item(0, product.price, True, None, product.version)

    def change(self, holder: str, work: Callable[[Cart], None], seen: int | None) -> Cart:
        """Make a change, to a new cart if there is none; all of it or nothing."""
        cart = copy.deepcopy(self.carts.get(holder, Cart()))
        if cart.checkout is not None:
            raise Refused("cart_in_checkout")
        if seen not in {None, cart.version}:
            raise Refused("stale")
        cart.version += 1
        work(cart)
        self.show_newer(cart)
        if holder in CUSTOMERS and holder in self.expired:  # a new cart takes the place of the old one
            self.expired.remove(holder)
        self.carts[holder] = cart
        return cart

    def show_newer(self, cart: Cart) -> bool:
        """Show products as they are now; whether anything is newer."""
        newer = [sku for sku, item in cart.items.items() if self.products[sku].version > item.seen]
        for sku in newer:
            item, product = cart.items[sku], self.products[sku]
            if product.price != item.price:
                item.previous, item.price = item.price, product.price
            item.available, item.seen = product.active, product.version
        return bool(newer)

    def add(self, holder: str, sku: str, quantity: int, seen: int | None) -> Cart:
        self.find(holder)
        offer = self.offer(sku)

        def work(cart: Cart) -> None:
            held = cart.items.get(sku)
            wanted = quantity + (held.quantity if held else 0)
            if wanted > MOST_OF_ONE:
                raise Refused("quantity_limit")
            cart.put(sku, wanted, offer)

        return self.change(holder, work, seen)

    def put(self, holder: str, sku: str, quantity: int, seen: int | None) -> Cart | None:
        if quantity == 0:
            return self.take_out(holder, lambda cart: cart.items.pop(sku, None), seen)
        self.find(holder)
        if quantity > MOST_OF_ONE:
            raise Refused("quantity_limit")
        offer = self.offer(sku)
        return self.change(holder, lambda cart: cart.put(sku, quantity, offer), seen)

    def take_out(self, holder: str, work: Callable[[Cart], Any], seen: int | None) -> Cart | None:
        return self.change(holder, work, seen) if self.find(holder) else None

    def read(self, holder: str) -> Cart | None:
        cart = self.find(holder)
        if cart is not None and cart.checkout is None and self.show_newer(cart):
            cart.version += 1
        return cart

    def merge(self, customer: str, visitor: str) -> Cart | None:
        brought = self.carts.get(visitor)
        if brought is None:
            return self.carts.get(customer)

        def work(cart: Cart) -> None:
            for sku, item in brought.items.items():
                held = cart.items.get(sku)
                if held is None and len(cart.items) == MOST_PRODUCTS:
                    continue
                if held is None:
                    cart.items[sku] = copy.copy(item)
                else:
                    cart.put(sku, min(MOST_OF_ONE, held.quantity + item.quantity), held)

        merged = self.change(customer, work, None)
        del self.carts[visitor]
        return merged

    def freeze(self, customer: str, checkout: str, version: int) -> Cart:
        cart = self.carts.get(customer)
        if cart is not None and cart.checkout is not None:
            raise Refused("cart_in_checkout")
        if cart is None or not cart.items:
            raise Refused("cart_empty")
        if cart.version != version:
            raise Refused("cart_changed")
        cart.checkout = checkout
        return cart

    def settle(self, checkout: str, outcome: str) -> None:
        if self.settled.get(checkout, outcome) != outcome:
            raise Refused("checkout_settled")
        held = [cart for cart in self.carts.values() if cart.checkout == checkout]
        if not held and checkout not in self.settled and outcome == "closed":
            raise Refused("checkout_not_found")
        self.settled[checkout] = outcome
        for cart in held:
            cart.checkout = None
            if outcome == "closed":
                cart.items = {sku: item for sku, item in cart.items.items() if not item.available}
                cart.version += 1

    def let_time_pass(self) -> None:
        gone = [holder for holder, cart in self.carts.items() if cart.checkout is None]
        for holder in gone:
            del self.carts[holder]
        self.expired += gone


class CartMachine(RuleBasedStateMachine):
    """Asks the function and the model the same, one thing after the other."""

    def __init__(self, shop: Shop, watcher: psycopg2.extensions.connection) -> None:
        super().__init__()
        shop.empty()
        self.shop, self.watcher = shop, watcher
        self.model = Model()
        self.checkouts: list[str] = []

    def who(self, holder: str) -> dict[str, str]:
        if holder in CUSTOMERS:
            return self.shop.customer(holder)
        return {"X-Cart-Token": self.model.tokens[holder]} if holder in self.model.tokens else {}

    def version(self, holder: str, seen: str) -> int | None:
        present = self.model.carts.get(holder, Cart()).version
        return {"unasked": None, "right": present, "wrong": present + 1}[seen]

    def same(self, response: Any, expected: Callable[[], Cart | None], holder: str) -> None:
        """The function answered what the model says: the same refusal, or the same cart."""
        try:
            cart = expected()
        except Refused as refusal:
            assert told(response) == str(refusal)
            return
        if "X-Cart-Token" in response.headers:
            self.model.tokens[holder] = response.headers["X-Cart-Token"]
        assert shown(response) == (as_shown(cart) if cart else (0, [], False))

    def ask(self, holder: str, request: str, seen: str = "unasked", body: Any = None, **headers: str) -> Any:
        method, path = request.split(" ")
        version = self.version(holder, seen)
        condition = {} if version is None else {"If-Match": f'"{version}"'}
        content = {} if body is None else {"json": body}
        return self.shop.program().open(
            path, method=method, headers={**self.who(holder), **condition, **headers}, **content
        )

    @rule(holder=HOLDERS, sku=SKUS, quantity=st.integers(1, 3), seen=SEEN)
    def add(self, holder: str, sku: str, quantity: int, seen: str) -> None:
        version = self.version(holder, seen)
        response = self.ask(holder, "POST /items", seen, {"sku": sku, "quantity": quantity})
        self.same(response, lambda: self.model.add(holder, sku, quantity, version), holder)

    @rule(customer=st.sampled_from(CUSTOMERS), sku=SKUS)
    def add_and_repeat(self, customer: str, sku: str) -> None:
        """With a key it is added once, and both answers are the same to the byte; a refusal is decided anew."""
        key = {"Idempotency-Key": str(uuid.uuid4())}
        responses = [
            self.ask(customer, "POST /items", body={"sku": sku, "quantity": 1}, **key) for _ in range(2)
        ]
        self.same(responses[0], lambda: self.model.add(customer, sku, 1, None), customer)
        assert told(responses[0]) != "done" or responses[0].data == responses[1].data

    @rule(holder=HOLDERS, sku=SKUS, quantity=st.integers(0, 6), seen=SEEN)
    def put(self, holder: str, sku: str, quantity: int, seen: str) -> None:
        version = self.version(holder, seen)
        response = self.ask(holder, f"PUT /items/{sku}", seen, {"quantity": quantity})
        self.same(response, lambda: self.model.put(holder, sku, quantity, version), holder)

    @rule(holder=HOLDERS, sku=SKUS, seen=SEEN)
    def remove(self, holder: str, sku: str, seen: str) -> None:
        version = self.version(holder, seen)
        response = self.ask(holder, f"DELETE /items/{sku}", seen)
        self.same(
            response,
            lambda: self.model.take_out(holder, lambda cart: cart.items.pop(sku, None), version),
            holder,
        )

    @rule(holder=HOLDERS, seen=SEEN)
    def clear(self, holder: str, seen: str) -> None:
        version = self.version(holder, seen)
        response = self.ask(holder, "DELETE /", seen)
        self.same(
            response, lambda: self.model.take_out(holder, lambda cart: cart.items.clear(), version), holder
        )

    @rule(holder=HOLDERS)
    def read(self, holder: str) -> None:
        self.same(self.ask(holder, "GET /"), lambda: self.model.read(holder), holder)

    @rule(customer=st.sampled_from(CUSTOMERS), visitor=st.sampled_from(VISITORS))
    def merge(self, customer: str, visitor: str) -> None:
        response = self.ask(customer, "POST /merge", **self.who(visitor))
        self.same(response, lambda: self.model.merge(customer, visitor), customer)

    @rule(visitor=st.sampled_from(VISITORS))
    def forget_token(self, visitor: str) -> None:
        """Somebody else sits down: the cart is nobody's until its time passes."""
        token = self.model.tokens.pop(visitor, None)
        if token is not None and visitor in self.model.carts:
            self.model.carts[token] = self.model.carts.pop(visitor)
            self.model.tokens[token] = token

    @rule(sku=SKUS, price=st.integers(0, 2))
    def price(self, sku: str, price: int) -> None:
        product = self.model.products[sku]
        product.price, product.version = price, product.version + 1
        self.shop.catalogue.sell(sku, price)

    @rule(sku=SKUS, active=st.booleans())
    def offer(self, sku: str, active: bool) -> None:
        product = self.model.products[sku]
        product.active, product.version = active, product.version + 1
        self.shop.catalogue.sell(sku, product.price, active=active)

    @rule(customer=st.sampled_from(CUSTOMERS), seen=st.sampled_from(["right", "right", "wrong"]))
    def freeze(self, customer: str, seen: str) -> None:
        checkout = str(uuid.UUID(int=len(self.checkouts) + 1))
        self.checkouts.append(checkout)
        version = self.version(customer, seen)
        assert version is not None
        body = {"checkout_id": checkout, "customer_id": customer, "version": version}
        response = self.as_checkout("/checkouts", body)
        try:
            cart = self.model.freeze(customer, checkout, version)
        except Refused as refusal:
            assert told(response) == str(refusal)
            return
        items = [(sku, item.quantity, item.price, item.available) for sku, item in cart.items.items()]
        keys = ("sku", "quantity", "unit_price_cents", "available")
        assert [tuple(row[key] for key in keys) for row in response.get_json()["items"]] == items

    @rule(back=st.integers(0, 2), outcome=st.sampled_from(["closed", "released"]))
    def settle(self, back: int, outcome: str) -> None:
        """One of the last checkouts, or one that nobody has heard of, is done with its cart."""
        checkout = str(uuid.UUID(int=max(1, len(self.checkouts) - back)))
        if not self.checkouts:
            self.checkouts.append(checkout)
        response = self.as_checkout(f"/checkouts/{checkout}/{outcome.removesuffix('d')}")
        try:
            self.model.settle(checkout, outcome)
        except Refused as refusal:
            assert told(response) == str(refusal)
        else:
            assert response.get_json()["state"] == outcome

    def as_checkout(self, path: str, body: Any = None) -> Any:
        who = self.shop.secrets.bearer("service", subject="checkout")
        return self.shop.program().post(path, headers=who, **({} if body is None else {"json": body}))

    @rule()
    def let_time_pass(self) -> None:
        expire_all(self.shop)
        self.model.let_time_pass()

    @rule()
    def expire(self) -> None:
        assert expire(self.shop).get_json()["expired"] == len(self.model.expired)
        self.model.expired.clear()

    @invariant()
    def carts_are_what_the_model_says(self) -> None:
        """All of them, as they are in the tables, also those that nobody has just asked for."""
        expected = {
            name_of(holder, self.model.tokens): (
                cart.version, cart.checkout,
                [(sku, item.quantity, item.price) for sku, item in cart.items.items()],
            )
            for holder, cart in self.model.carts.items()
        }  # fmt: skip
        with self.watcher.cursor() as cursor:
            cursor.execute(_LIVING)
            found = {
                name: (version, checkout, [tuple(item) for item in items])
                for name, version, checkout, items in cursor.fetchall()
            }
        assert found == expected


def name_of(holder: str, tokens: dict[str, str]) -> str:
    return holder if holder in CUSTOMERS else hashlib.sha256(tokens[holder].encode()).hexdigest()


def shown(response: Any) -> tuple[int, list[tuple[Any, ...]], bool]:
    """Version, items and whether a checkout holds it, after checking the sums."""
    body = response.get_json()
    assert response.status_code == 200, body
    items = body["items"]
    assert body["item_count"] == sum(item["quantity"] for item in items)
    assert body["subtotal_cents"] == sum(item["total_cents"] for item in items if item["available"])
    assert body["total_cents"] - body["subtotal_cents"] == sum(tax["amount_cents"] for tax in body["taxes"])
    keys = ("sku", "quantity", "unit_price_cents", "available", "previous_price_cents")
    return body["version"], [tuple(item[key] for key in keys) for item in items], body["in_checkout"]


def as_shown(cart: Cart) -> tuple[int, list[tuple[Any, ...]], bool]:
    items = [
        (sku, item.quantity, item.price, item.available, item.previous) for sku, item in cart.items.items()
    ]
    return cart.version, items, cart.checkout is not None


_LIVING = """
SELECT coalesce(customer_id, encode(token_sha256, 'hex')), version, checkout_id::text, coalesce((
    SELECT json_agg(json_build_array(sku, quantity, unit_price_cents) ORDER BY added_at)
    FROM cart.items WHERE items.cart_id = carts.cart_id
), '[]')
FROM cart.carts
WHERE expires_at > now() OR checkout_id IS NOT NULL
"""


@pytest.fixture(scope="module")
def shop(postgres_server: PostgresServer) -> Iterator[Shop]:
    limits = {"max_quantity": str(MOST_OF_ONE), "max_items": str(MOST_PRODUCTS)}
    with lasting_shop(postgres_server, **limits) as shop:
        yield shop


@pytest.fixture(scope="module")
def watcher(shop: Shop) -> Iterator[psycopg2.extensions.connection]:
    with closing(shop.database.connect()) as connection:
        connection.autocommit = True
        yield connection


@long_if_verified
def test_carts_are_what_the_model_says_after_every_step(shop: Shop, watcher: psycopg2.extensions.connection):
    run_machine(partial(CartMachine, shop, watcher), runs=12, steps=25)


def test_a_cart_that_forgets_what_it_held_is_found(
    shop: Shop, watcher: psycopg2.extensions.connection, monkeypatch: pytest.MonkeyPatch
):
    def set_in_place_of_add(connection: Connection, cart_id: uuid.UUID, item: StoredItem) -> int:
        store.set_quantity(connection, cart_id, item)
        return item.quantity

    monkeypatch.setattr(store, "add_quantity", set_in_place_of_add)
    find_fault(partial(CartMachine, shop, watcher))


@only_verified
def test_a_cart_that_shows_the_price_of_yesterday_is_found(
    shop: Shop, watcher: psycopg2.extensions.connection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(store, "refresh_items", lambda *_: None)
    find_fault(partial(CartMachine, shop, watcher))
