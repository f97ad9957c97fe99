"""Every kind of caller, and for every operation of every function a request that is right but for who sends it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
from argon2 import PasswordHasher

from functions.site import pages
from tests.support.chain import running_functions
from tests.support.functions import Secrets
from tests.support.postgres import PostgresServer
from tests.support.webshop import ADDRESS, WebShop

FUNCTIONS = (
    "products", "inventory", "sales", "reports", "cart", "customers", "orders", "checkout", "payments", "maintenance",
    "site",
)  # fmt: skip
PASSWORD = "correct horse battery staple 7"
CHEAP_HASH = {"password_memory_kib": "64", "password_iterations": "1"}
DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Request:
    """One request; with `own` it uses up the account that sends it, so each caller has a new one."""

    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    own: bool = False


class World(WebShop):
    """A chain with one of everything, which belongs to the customer ada and to the store S1."""

    def account(self, role: str = "customer", store: str | None = None) -> str:
        """A new account with PASSWORD; its id."""
        [(customer_id,)] = self.execute(
            "INSERT INTO customers.accounts (role, store, email, email_key, name, password_hash)"
            " VALUES (%s, %s, %s, %s, 'Someone', %s) RETURNING customer_id::text",
            (role, store, *[f"{uuid4()}@example.com"] * 2, self.password_hash),
        )
        return str(customer_id)

    @cached_property
    def password_hash(self) -> str:
        return PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)

    @cached_property
    def ada(self) -> str:
        return self.account()

    @cached_property
    def callers(self) -> dict[str, dict[str, str]]:
        """Headers of each kind of caller whose token is good, and of nobody."""
        ada = {"customer": self.secrets.bearer("customer", subject=self.ada)}
        return {"anonymous": {}, **{kind: self.new_caller(kind) for kind in KINDS}, **ada}

    def new_caller(self, kind: str) -> dict[str, str]:
        """Headers of a caller with an account of its own."""
        if kind == "service":
            return self.service("checkout")
        role, store = KINDS[kind]
        return self.secrets.bearer(role, subject=self.account(role, store), store=store)

    @cached_property
    def forged(self) -> dict[str, list[dict[str, str]]]:
        """Headers with tokens that prove nothing, of each kind: one as if of hq, one as if of a service."""
        tokens = [_token(self.callers[kind]) for kind in ("hq", "service")]
        return {
            kind: [{"Authorization": f"Bearer {forge(self.secrets, token)}"} for token in tokens]
            for kind, forge in FORGERS.items()
        }

    def email_of(self, customer_id: str) -> str:
        statement = "SELECT email FROM customers.accounts WHERE customer_id = %s"
        return str(self.execute(statement, (customer_id,))[0][0])

    def done(self, function: str, request: str, who: Mapping[str, str], body: Any = None) -> dict[str, Any]:
        """The answer of a request that succeeds."""
        response = self.ask(function, request, who, body)
        assert response.status_code < 300, (request, response.get_json())
        answer: dict[str, Any] = response.get_json()
        return answer

    def version_of(self, function: str, path: str, who: Mapping[str, str]) -> dict[str, str]:
        """If-Match with the version that is there now."""
        return {"If-Match": self.ask(function, f"GET {path}", who).headers["ETag"]}

    def product(self) -> int:
        body = {"sku": f"P-{next(self.keys)}", "name": "A product", "price_cents": 100}
        return int(self.done("products", "POST /", self.hq, body)["product_id"])

    def register(self) -> str:
        register = f"R{next(self.keys)}"
        self.done(
            "sales", f"POST /registers/{register}/open", self.hq, {"store": "S1", "opening_cash_cents": 0}
        )
        return register

    def sale_body(self) -> dict[str, Any]:
        total = self.done("sales", "POST /quote", self.hq, {"lines": A_FEW})["total_cents"]
        tender = {"kind": "card", "amount_cents": total, "reference": "T1"}
        return {"store": "S1", "register": self.a_register, "lines": A_FEW, "tenders": [tender]}

    def sale(self) -> str:
        return str(self.done("sales", "POST /", self.hq, self.sale_body())["sale_id"])

    def gift_card_body(self) -> dict[str, Any]:
        code = f"CARD{next(self.keys):08}"
        paid = {"amount_cents": 500, "paid_by": "card", "reference": "T1"}
        return {"store": "S1", "register": self.a_register, "code": code, **paid}

    def replenishment(self) -> int:
        body = {"location": "S1", "lines": A_FEW}
        return int(self.done("inventory", "POST /replenishments", self.hq, body)["replenishment_id"])

    def reservation(self) -> str:
        body = {"location": "S1", "lines": A_FEW}
        found = self.done("inventory", "POST /reservations", self.service("checkout"), body)
        return str(found["reservation_id"])

    def reference(self, path: str = "/issues", **more: Any) -> str:
        """Of goods that were issued, or came back."""
        reference = f"ref-{next(self.keys)}"
        body = {"location": "S1", "reference": reference, "lines": A_FEW, **more}
        self.done("inventory", f"POST {path}", self.service("sales"), body)
        return reference

    def authorisation_body(self, reference: str = "", amount_cents: int = 300) -> dict[str, Any]:
        card = {"currency": "CAD", "card_token": "tok_ok"}
        return {"reference": reference or f"pay-{next(self.keys)}", "amount_cents": amount_cents, **card}

    def authorised(self, reference: str = "", amount_cents: int = 300, *, captured: bool = False) -> str:
        who = self.service("checkout")
        body = self.authorisation_body(reference, amount_cents)
        self.done("payments", "POST /authorisations", who, body)
        if captured:
            self.done("payments", f"POST /authorisations/{body['reference']}/capture", who)
        return str(body["reference"])

    def order_body(self) -> dict[str, Any]:
        line = {"sku": "A", "name": "Product A", "category": "things", "quantity": 9, "unit_price_cents": 100}
        sums = {"subtotal_cents": 900, "taxes": [], "tax_cents": 0, "total_cents": 900}
        ids = {"checkout_id": str(uuid4()), "reservation_id": str(uuid4()), "customer_id": self.ada}
        return {**ids, "location": "S1", "currency": "CAD", "lines": [line], **sums, "address": ADDRESS}

    def unpaid_order(self) -> str:
        """The id of its checkout."""
        who = self.service("checkout")
        return str(self.done("orders", "POST /", who, self.order_body())["checkout_id"])

    def order(self, status: str = "paid") -> str:
        """The id of an order of ada's that has come to this status."""
        checkout_id = self.unpaid_order()
        self.authorised(checkout_id, 900, captured=True)
        path = f"POST /by-checkout/{checkout_id}/paid"
        body = {"payment_reference": checkout_id, "captured_cents": 900}
        order_id = str(self.done("orders", path, self.service("checkout"), body)["order_id"])
        steps = {"pack": None, "ship": {"carrier": "Poste"}, "deliver": None}
        for step, content in list(steps.items())[: ("paid", "packed", "shipped", "delivered").index(status)]:
            self.done("orders", f"POST /{order_id}/{step}", self.hq, content)
        return order_id

    def refresh_token(self) -> str:
        credentials = {"email": self.email_of(self.ada), "password": PASSWORD}
        return str(self.done("customers", "POST /sessions", {}, credentials)["refresh_token"])

    def address(self) -> str:
        who = self.secrets.bearer("customer", subject=self.ada)
        return str(self.done("customers", "POST /me/addresses", who, ADDRESS)["address_id"])

    def freeze_body(self) -> dict[str, Any]:
        """For a cart with something in it, of a new customer."""
        customer_id = self.account()
        cart = self.fill(self.secrets.bearer("customer", subject=customer_id), A=1)
        return {"checkout_id": str(uuid4()), "customer_id": customer_id, "version": cart["version"]}

    def frozen(self) -> str:
        """The id of a checkout that holds a cart."""
        body = self.freeze_body()
        self.done("cart", "POST /checkouts", self.service("checkout"), body)
        return str(body["checkout_id"])

    def erasure(self) -> str:
        subject = self.account()
        self.done("customers", "DELETE /me", self.secrets.bearer("customer", subject=subject))
        return subject

    @cached_property
    def a_register(self) -> str:
        return self.register()

    @cached_property
    def a_product(self) -> int:
        return self.product()

    @cached_property
    def a_sale(self) -> str:
        return self.sale()

    @cached_property
    def a_return(self) -> str:
        path, body = f"POST /{self.a_sale}/returns", self.return_body()
        return str(self.done("sales", path, self.hq, body)["return_id"])

    def return_body(self) -> dict[str, Any]:
        lines = [{"line": 1, "quantity": 1, "restock": True}]
        return {"register": self.a_register, "reason": "broken", "lines": lines, "refund": {"kind": "cash"}}

    @cached_property
    def a_gift_card(self) -> str:
        body = self.gift_card_body()
        self.done("sales", "POST /gift-cards", self.hq, body)
        return str(body["code"])

    @cached_property
    def an_address(self) -> str:
        return self.address()

    @cached_property
    def an_order(self) -> str:
        return self.order()

    @cached_property
    def a_checkout(self) -> str:
        """One that came to nothing, since the cart was empty."""
        who = self.secrets.bearer("customer", subject=self.ada)
        self.ask("checkout", "POST /", who, CHECKOUT)
        return str(self.done("checkout", "GET /", who)["items"][0]["checkout_id"])


A_FEW = [{"sku": "A", "quantity": 9}]
CHECKOUT = {"cart_version": 1, "total_cents": 100, "address": ADDRESS, "payment": {"card_token": "tok_ok"}}

KINDS: dict[str, tuple[str, str | None]] = {
    "customer": ("customer", None),
    "other customer": ("customer", None),
    "staff of this store": ("staff", "S1"),
    "staff of another": ("staff", "S2"),
    "hq": ("hq", None),
    "service": ("service", None),
}
"""Callers whose tokens are good: role and store."""


def _token(headers: Mapping[str, str]) -> str:
    return headers["Authorization"].removeprefix("Bearer ")


def _expired(secrets: Secrets, token: str) -> str:
    """The same token, signed by the same key, a day ago."""
    kid = jwt.get_unverified_header(token)["kid"]
    file = f"{kid.removeprefix('service:')}-key" if kid.startswith("service:") else "token-signing-key"
    past = int(time.time()) - DAY_SECONDS
    return _signed((secrets.directory / file).read_text(), token, iat=past, exp=past + 60)


def _signed_by_another(secrets: Secrets, token: str) -> str:
    """The same token in the name of the same key, signed by another one."""
    others = Secrets.make(Path(secrets.directory) / "others")
    return _signed((others.directory / "token-signing-key").read_text(), token)


def _signed(pem: str, token: str, **changes: Any) -> str:
    claims = jwt.decode(token, options={"verify_signature": False}) | changes
    headers = {"kid": jwt.get_unverified_header(token)["kid"]}
    return jwt.encode(claims, pem, algorithm="EdDSA", headers=headers)


def _unsigned(_: Secrets, token: str) -> str:
    """The same claims, and the header says that nobody has signed them (CVE-2015-9235)."""
    header = {"alg": "none", "typ": "JWT", "kid": jwt.get_unverified_header(token)["kid"]}
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return f"{encoded}.{token.split('.')[1]}."


FORGERS: dict[str, Callable[[Secrets, str], str]] = {
    "expired": _expired,
    "wrong key": _signed_by_another,
    "alg: none": _unsigned,
}

Make = Callable[[World], Request]


def _put(path: str, body: Any = None, **more: Any) -> Make:
    return lambda _: Request(path, body, **more)


def _registration(**more: Any) -> dict[str, Any]:
    return {"email": f"{uuid4()}@example.com", "password": PASSWORD, "name": "Someone", **more}


def _of_s1(**more: Any) -> dict[str, Any]:
    return {"location": "S1", "lines": A_FEW, **more}


def _imported() -> dict[str, Any]:
    line = {"sku": "A", "quantity": 1, "unit_price_cents": 100}
    when = {"sold_at": "2026-01-05T12:00:00Z", "store": "S1", "document": str(uuid4())}
    return {"documents": [{"kind": "sale", **when, "lines": [line]}]}


REQUESTS: dict[str, dict[str, Make]] = {
    "site": {"GET /docs/files/{version}/{name}": _put("/docs/files/" + "/".join(min(pages.files())))},
    "products": {
        "POST /": lambda _: Request("/", {"sku": str(uuid4()), "name": "New", "price_cents": 100}),
        "GET /{product_id}": lambda world: Request(f"/{world.a_product}"),
        "GET /sku/{sku}": _put("/sku/A"),
        "GET /prices": _put("/prices?sku=A"),
        "GET /{product_id}/prices": lambda world: Request(f"/{world.a_product}/prices"),
        "PATCH /{product_id}": lambda world: Request(
            f"/{world.a_product}",
            {"price_cents": next(world.keys)},
            world.version_of("products", f"/{world.a_product}", {}),
        ),
        "DELETE /{product_id}": lambda world: Request(
            f"/{world.a_product}", headers=world.version_of("products", f"/{world.a_product}", {})
        ),
        "POST /bulk": _put("/bulk", {"items": [{"sku": "bulk", "name": "Bulk", "price_cents": 1}]}),
    },
    "inventory": {
        "POST /receipts": _put("/receipts", _of_s1()),
        "POST /receipts/bulk": lambda _: Request(
            "/receipts/bulk",
            {"reference": str(uuid4()), "lines": [{"location": "S1", "sku": "A", "quantity": 1}]},
        ),
        "POST /adjustments": _put("/adjustments", _of_s1(reason="count")),
        "POST /write-offs": _put("/write-offs", _of_s1(reason="broken")),
        "POST /transfers": _put("/transfers", {"from_location": "S1", "to_location": "W1", "lines": A_FEW}),
        "POST /issues": lambda _: Request("/issues", _of_s1(reference=str(uuid4()))),
        "GET /issues/{reference}": lambda world: Request(f"/issues/{world.reference()}"),
        "POST /issues/{reference}/undo": lambda world: Request(f"/issues/{world.reference()}/undo"),
        "POST /returns": lambda _: Request("/returns", _of_s1(reference=str(uuid4()), restock=True)),
        "GET /returns/{reference}": lambda world: Request(
            f"/returns/{world.reference('/returns', restock=True)}"
        ),
        "POST /replenishments": _put("/replenishments", _of_s1()),
        "GET /replenishments/{replenishment_id}": lambda world: Request(
            f"/replenishments/{world.replenishment()}"
        ),
        "POST /replenishments/{replenishment_id}/approve": lambda world: Request(
            f"/replenishments/{world.replenishment()}/approve", {}
        ),
        "POST /replenishments/{replenishment_id}/refuse": lambda world: Request(
            f"/replenishments/{world.replenishment()}/refuse", {"reason": "no"}
        ),
        "GET /stock/{sku}": _put("/stock/A"),
        "PUT /thresholds": _put("/thresholds", {"location": "S1", "lines": [{"sku": "A", "low_at": 5}]}),
        "POST /reservations": _put("/reservations", _of_s1()),
        "GET /reservations/{reservation_id}": lambda world: Request(f"/reservations/{world.reservation()}"),
        "POST /reservations/{reservation_id}/commit": lambda world: Request(
            f"/reservations/{world.reservation()}/commit"
        ),
        "POST /reservations/{reservation_id}/release": lambda world: Request(
            f"/reservations/{world.reservation()}/release"
        ),
    },
    "sales": {
        "POST /registers/{register}/open": lambda world: Request(
            f"/registers/R{next(world.keys)}/open", {"store": "S1", "opening_cash_cents": 0}
        ),
        "POST /registers/{register}/close": lambda world: Request(
            f"/registers/{world.register()}/close", {"store": "S1", "counted_cash_cents": 0}
        ),
        "GET /registers": _put("/registers?store=S1"),
        "POST /gift-cards": lambda world: Request("/gift-cards", world.gift_card_body()),
        "GET /gift-cards/{code}": lambda world: Request(f"/gift-cards/{world.a_gift_card}"),
        "POST /quote": _put("/quote", {"lines": A_FEW}),
        "POST /": lambda world: Request("/", world.sale_body()),
        "GET /": _put("/?store=S1"),
        "GET /{sale_id}": lambda world: Request(f"/{world.a_sale}"),
        "POST /{sale_id}/void": lambda world: Request(
            f"/{world.sale()}/void", {"register": world.a_register, "reason": "a mistake"}
        ),
        "POST /{sale_id}/returns": lambda world: Request(f"/{world.a_sale}/returns", world.return_body()),
        "GET /returns": _put("/returns?store=S1"),
        "GET /returns/{return_id}": lambda world: Request(f"/returns/{world.a_return}"),
        "POST /import": lambda _: Request("/import", _imported()),
    },
    "reports": {
        **{
            f"GET {path}": _put(f"{path}?store=S1")
            for path in (
                "/sales",
                "/products/top",
                "/products/slow",
                "/trends",
                "/stock",
                "/stock/low",
                "/stock/over",
                "/replenishment",
            )
        },
        "GET /stores/{store}": _put("/stores/S1"),
    },
    "cart": {
        "POST /items": _put("/items", {"sku": "A"}),
        "PUT /items/{sku}": _put("/items/A", {"quantity": 1}),
        "DELETE /items/{sku}": _put("/items/A"),
        "POST /checkouts": lambda world: Request("/checkouts", world.freeze_body()),
        "POST /checkouts/{checkout_id}/close": lambda world: Request(f"/checkouts/{world.frozen()}/close"),
        "POST /checkouts/{checkout_id}/release": lambda world: Request(
            f"/checkouts/{world.frozen()}/release"
        ),
        "POST /erasures": lambda world: Request("/erasures", {"customer_id": world.account()}),
    },
    "customers": {
        "POST /": lambda _: Request("/", _registration()),
        "PATCH /me": _put("/me", {"name": "Another"}, headers={"If-Match": '"1"'}, own=True),
        "POST /me/addresses": _put("/me/addresses", ADDRESS),
        "GET /me/addresses/{address_id}": lambda world: Request(f"/me/addresses/{world.an_address}"),
        "PUT /me/addresses/{address_id}": lambda world: Request(f"/me/addresses/{world.an_address}", ADDRESS),
        "DELETE /me/addresses/{address_id}": lambda world: Request(f"/me/addresses/{world.address()}"),
        "POST /sessions": lambda world: Request(
            "/sessions", {"email": world.email_of(world.ada), "password": PASSWORD}
        ),
        "POST /sessions/refresh": lambda world: Request(
            "/sessions/refresh", {"refresh_token": world.refresh_token()}
        ),
        "POST /sessions/end": lambda world: Request(
            "/sessions/end", {"refresh_token": world.refresh_token()}
        ),
        "POST /me/password": _put(
            "/me/password", {"password": PASSWORD, "new_password": f"{PASSWORD} 8"}, own=True
        ),
        "POST /me/deactivate": _put("/me/deactivate", own=True),
        "DELETE /me": _put("/me", own=True),
        "POST /staff": lambda _: Request("/staff", _registration(role="staff", store="S1")),
        "GET /{customer_id}": lambda world: Request(f"/{world.ada}"),
        "POST /{customer_id}/deactivate": lambda world: Request(f"/{world.account()}/deactivate"),
        "POST /{customer_id}/activate": lambda world: Request(f"/{world.account()}/activate"),
        "POST /erasures/{customer_id}/done": lambda world: Request(f"/erasures/{world.erasure()}/done"),
    },
    "orders": {
        "POST /": lambda world: Request("/", world.order_body()),
        "GET /by-checkout/{checkout_id}": lambda world: Request(f"/by-checkout/{world.unpaid_order()}"),
        "POST /by-checkout/{checkout_id}/paid": lambda world: Request(
            f"/by-checkout/{world.unpaid_order()}/paid",
            {"payment_reference": "p", "captured_cents": 900},
        ),
        "POST /by-checkout/{checkout_id}/abandon": lambda world: Request(
            f"/by-checkout/{world.unpaid_order()}/abandon", {"reason": "no"}
        ),
        "GET /": _put("/?location=S1"),
        "GET /{reference}": lambda world: Request(f"/{world.an_order}"),
        "POST /{reference}/pack": lambda world: Request(f"/{world.order()}/pack"),
        "POST /{reference}/ship": lambda world: Request(
            f"/{world.order('packed')}/ship", {"carrier": "Poste"}
        ),
        "POST /{reference}/deliver": lambda world: Request(f"/{world.order('shipped')}/deliver"),
        "POST /{reference}/cancel": lambda world: Request(f"/{world.order()}/cancel", {"reason": "no"}),
        "POST /{reference}/returns": lambda world: Request(
            f"/{world.order('shipped')}/returns",
            {"reason": "broken", "lines": [{"line": 1, "quantity": 1, "restock": True}]},
        ),
        "POST /erasures": lambda world: Request("/erasures", {"customer_id": world.account()}),
    },
    "checkout": {
        "POST /": _put("/", CHECKOUT),
        "GET /{checkout_id}": lambda world: Request(f"/{world.a_checkout}"),
        "POST /erasures": lambda world: Request("/erasures", {"customer_id": world.account()}),
    },
    "payments": {
        "POST /authorisations": lambda world: Request("/authorisations", world.authorisation_body()),
        "GET /authorisations/{reference}": lambda world: Request(f"/authorisations/{world.authorised()}"),
        "POST /authorisations/{reference}/capture": lambda world: Request(
            f"/authorisations/{world.authorised()}/capture"
        ),
        "POST /authorisations/{reference}/void": lambda world: Request(
            f"/authorisations/{world.authorised()}/void"
        ),
        "POST /authorisations/{reference}/refunds": lambda world: Request(
            f"/authorisations/{world.authorised(captured=True)}/refunds",
            {"refund_reference": str(uuid4()), "amount_cents": 1},
        ),
    },
}
"""How each operation is asked; those that need neither body nor parameters are not here."""


def request_for(world: World, function: str, operation: str) -> Request:
    """A request of `operation`, such as `POST /{sale_id}/void`, that is right but for who sends it."""
    make = REQUESTS.get(function, {}).get(operation)
    if make is not None:
        return make(world)
    path = operation.partition(" ")[2]
    assert "{" not in path, f"tests/support/callers.py does not say how to ask for {function}: {operation}"
    return Request(path)


@contextmanager
def running_world(server: PostgresServer, **settings: str) -> Iterator[World]:
    """All functions in this process, and one of everything in them, made when it is first asked about."""
    with running_functions(server, FUNCTIONS, **CHEAP_HASH, **settings) as parts:
        world = World(*parts)
        world.renew()
        yield world
