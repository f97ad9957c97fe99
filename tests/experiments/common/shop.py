"""The shop as experiments use it: goods in plenty, people with tokens, and what each of its actions asks for."""

from __future__ import annotations

import contextlib
import itertools
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import requests

from benchmarks.own_platform import TIMEOUT_SECONDS
from benchmarks.report import BenchmarkError
from db.seed.token import TokenRequest, mint
from localfaas.settings import Settings
from localfaas.status import rows
from localfaas.up import gateway_client
from tests.experiments.common.driving import Request
from tests.experiments.common.journey import request_of, step_named, steps_of
from tests.load.scenario import Ask

STORE, WAREHOUSE, REGISTER = "S1", "W1", "EXP-1"
PLENTY = 900_000
GOODS = 40
WORDS = ("Blanket", "Compass", "Hammock", "Kettle", "Lantern", "Thermos", "Tripod", "Whistle")
"""What goods are called, and searched for: eight, as many as the load tests look for (tests/load/lib/target.js)."""
CUSTOMERS = 100
PRICE_CENTS = 1_999
PASSWORD = "nine quiet lighthouses"
READY_SECONDS = 90.0
ADDRESS = {
    "name": "Ada Lovelace", "line1": "12 rue des Érables", "city": "Montréal",
    "province": "QC", "postal_code": "H2X 1Y4", "country": "CA",
}  # fmt: skip
JSON = {"Content-Type": "application/json"}
WEB = ("products", "inventory", "sales", "reports", "customers", "orders", "cart", "checkout")
"""The eight domains."""
FUNCTIONS = (*WEB, "payments")
"""What has to be scaled for more to be done: the domains, and the payment provider that checkout waits for."""


@dataclass
class Shop:
    """A running shop. Requests are made for its edge (`/api/x`) or its function gateway (`/function/x`)."""

    settings: Settings
    goods: Sequence[Mapping[str, Any]] = ()
    """Each as a visit knows it: `sku`, `product_id`, and as `query` a word that finds it."""
    customers: Sequence[str] = ()
    """Authorizations of customers who buy, in turn; their accounts play no part."""
    total_cents: int = 0
    """Of one thing, with taxes."""
    session: requests.Session = field(default_factory=requests.Session)

    def bearer(self, role: str, subject: str, store: str | None = None) -> str:
        return f"Bearer {mint(TokenRequest((role,), subject, store), self.settings.secrets, time.time())}"

    def ask(self, method: str, path: str, body: Any = None, token: str = "") -> requests.Response:
        """One request to a function through the gateway; a POST bears a key."""
        headers = {"Authorization": token} if token else {}
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        url = f"{self.settings.url('gateway')}/function{path}"
        return self.session.request(method, url, json=body, headers=headers, timeout=TIMEOUT_SECONDS)

    def done(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        """The JSON of a success. Raises BenchmarkError for anything else."""
        response = self.ask(method, path, body, token)
        if response.status_code >= 300:
            raise BenchmarkError(f"{method} {path} answered {response.status_code}: {response.text[:300]}")
        return response.json() if response.content else {}

    @property
    def head(self) -> str:
        return self.bearer("hq", "experiment")

    @property
    def till(self) -> str:
        return self.bearer("staff", "experiment", STORE)

    @property
    def skus(self) -> list[str]:
        return [str(one["sku"]) for one in self.goods]

    @property
    def one_thing(self) -> list[dict[str, Any]]:
        return [{"sku": self.skus[0], "quantity": 1}]

    def open(self, goods: int = GOODS, quantity: int = PLENTY, customers: int = CUSTOMERS) -> None:
        """Take up goods, put them into the store and the warehouse, open a register, let customers in."""
        called = {f"EXP-{number:04d}": WORDS[number % len(WORDS)] for number in range(goods)}
        items = [
            {"sku": sku, "name": f"{word} {sku}", "price_cents": PRICE_CENTS, "category": "Outdoors"}
            for sku, word in called.items()
        ]
        self.done("POST", "/products/bulk", {"items": items}, self.head)
        ids = {sku: self.done("GET", f"/products/sku/{sku}")["product_id"] for sku in called}
        self.goods = [{"sku": sku, "product_id": ids[sku], "query": word} for sku, word in called.items()]
        for location in (STORE, WAREHOUSE):
            lines = [{"sku": sku, "quantity": quantity} for sku in self.skus]
            self.done("POST", "/inventory/receipts", {"location": location, "lines": lines}, self.head)
        self.done("POST", f"/sales/registers/{REGISTER}/open", {"opening_cash_cents": 0}, self.till)
        self.total_cents = self.done("POST", "/sales/quote", {"lines": self.one_thing}, self.till)[
            "total_cents"
        ]
        self.customers = [self.bearer("customer", str(uuid.uuid4())) for _ in range(customers)]

    def sold_lately(self, days: int = 28) -> None:
        """Sales of a few weeks in every store, so that reports have something to tell."""
        stores, now = ("S1", "S2", "S3", "S4", "S5"), datetime.now(UTC)
        documents = [
            {
                "kind": "sale", "store": store, "document": f"EXP-{store}-{day}", "customer_reference": "experiment",
                "sold_at": (now - timedelta(days=day)).isoformat(timespec="seconds"),
                "lines": [{"sku": sku, "quantity": 1 + day % 3, "unit_price_cents": PRICE_CENTS} for sku in self.skus[:5]],
            }
            for store, day in itertools.product(stores, range(1, days + 1))
        ]  # fmt: skip
        lines = [
            {"location": store, "sku": sku, "quantity": 1_000} for store in stores for sku in self.skus[:5]
        ]
        self.done("POST", "/inventory/receipts/bulk", {"reference": "experiment", "lines": lines}, self.head)
        told = self.done("POST", "/sales/import", {"documents": documents}, self.head)["items"]
        if refused := [one for one in told if one["outcome"] != "created"]:
            raise BenchmarkError(f"{len(refused)} sales were not brought in: {refused[0]}")

    def buyer(self) -> str:
        """The authorization of a customer with one order."""
        who = self.bearer("customer", str(uuid.uuid4()))
        self.buy(who)
        return who

    def buy(self, who: str) -> str:
        """One thing bought by a customer; the order's id."""
        cart = self.done("PUT", f"/cart/items/{self.skus[0]}", {"quantity": 1}, who)
        body = {
            "cart_version": cart["version"], "total_cents": cart["total_cents"], "address": ADDRESS,
            "payment": {"card_token": "tok_ok"},
        }  # fmt: skip
        return str(self.done("POST", "/checkout/", body, who)["order_id"])

    def signed_in(self) -> str:
        """The authorization of somebody with an account; it holds for 15 minutes."""
        told = self.done("POST", "/customers/sessions", {"email": self.registered(), "password": PASSWORD})
        return f"Bearer {told['access_token']}"

    def registered(self) -> str:
        """The e-mail address of somebody with an account, which PASSWORD opens."""
        email = f"{uuid.uuid4()}@example.com"
        self.done("POST", "/customers/", {"email": email, "password": PASSWORD, "name": "Ada"})
        return email

    def scale(self, functions: Sequence[str], replicas: int) -> None:
        """So many replicas of each, all of them in traffic. Raises BenchmarkError when they are not in time."""
        client = gateway_client(self.settings)
        for function in functions:
            client.scale(function, replicas)
        client.close()
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            serving = replicas_of(self.settings)
            if all(len(serving.get(function, [])) == replicas for function in functions):
                return
            time.sleep(0.3)
        raise BenchmarkError(f"{', '.join(functions)} did not come to {replicas} replicas")

    def action(self, name: str, base: str = "") -> Request:
        """One of the scenario's actions, its requests timed as one (`steps_of` says how many).

        `base` is where the functions are, without it below the edge.
        """
        *before, last = [self._asked(ask, base, {}) for ask in steps_of(name)]
        return replace(last, first=replace(before[0], turns=())) if before else last

    def step(self, name: str, base: str = "", **known: Any) -> Request:
        """One request of an action by itself, such as `GET /api/cart`; `known` is what those before it would have told."""
        return self._asked(step_named(name), base, known)

    def _asked(self, ask: Ask, base: str, known: Mapping[str, Any]) -> Request:
        base = base or f"{self.settings.url('edge')}/api"
        till = {"store": STORE, "register": REGISTER}
        request = request_of(ask, base, self._authorization(ask), {**till, **known})
        return replace(request, turns=self._buyers if ask.who == "customer" else self.goods)

    def _authorization(self, ask: Ask) -> str:
        """A visitor has none, and customers take turns."""
        if ask.who == "staff":
            return self.till
        return "$authorization" if ask.who == "customer" else ""

    @property
    def _buyers(self) -> list[dict[str, Any]]:
        return [
            {"authorization": who, **thing} for who, thing in zip(self.customers, itertools.cycle(self.goods))
        ]


def replicas_of(settings: Settings) -> Mapping[str, list[int]]:
    """By function, the processes of its replicas that take traffic."""
    found: dict[str, list[int]] = {}
    for row in rows(settings):
        if row.traffic == "yes" and row.state == "RUNNING":
            found.setdefault(row.program.rpartition("-")[0], []).append(row.pid)
    return found


def backends(postgres: int) -> list[int]:
    """PostgreSQL's processes but those that come and go by themselves."""
    found = [postgres]
    for child in psutil.Process(postgres).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [] if "worker" in " ".join(child.cmdline()) else [child.pid]
    return found
