"""The shop as experiments use it: goods in plenty, people with tokens, and what each of its actions asks for."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
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

STORE, WAREHOUSE, REGISTER = "S1", "W1", "EXP-1"
PLENTY = 900_000
GOODS = 40
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
    skus: Sequence[str] = ()
    customers: Sequence[str] = ()
    """Authorizations of customers whose accounts play no part."""
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
    def one_thing(self) -> list[dict[str, Any]]:
        return [{"sku": self.skus[0], "quantity": 1}]

    def open(self, goods: int = GOODS, quantity: int = PLENTY, customers: int = 200) -> None:
        """Take up goods, put them into the store and the warehouse, open a register, let customers in."""
        self.skus = [f"EXP-{number:04d}" for number in range(goods)]
        items = [
            {"sku": sku, "name": f"Lantern {sku}", "price_cents": PRICE_CENTS, "category": "Lanterns"}
            for sku in self.skus
        ]
        self.done("POST", "/products/bulk", {"items": items}, self.head)
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
        """A customer with one order at least; the first to ask makes it."""
        who = self.customers[0]
        if not self.done("GET", "/orders/?limit=1", token=who)["items"]:
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
        """One of the scenario's actions; `base` is where the functions are, without it below the edge."""
        base = base or f"{self.settings.url('edge')}/api"
        make: Mapping[str, Callable[[], Request]] = {
            "browse": lambda: Request(f"{base}/products?limit=24", contains='"items"'),
            "search": lambda: Request(f"{base}/products?q=lantern&limit=24", contains="Lantern"),
            "view": lambda: Request(f"{base}/products/sku/$sku", contains='"price_cents"', turns=self._goods),
            "cart": lambda: self._cart(base, self.customers[::2]),
            "checkout": lambda: self._checkout(base, self.customers[1::2]),
            "till_sale": lambda: self._till_sale(base),
            "report": lambda: Request(
                f"{base}/reports/sales?by=day", headers={"Authorization": self.head}, contains='"total"'
            ),
        }
        return make[name]()

    @property
    def _goods(self) -> list[dict[str, str]]:
        return [{"sku": sku} for sku in self.skus]

    def _till_sale(self, base: str) -> Request:
        tender = {"kind": "card", "amount_cents": self.total_cents, "reference": "T1"}
        body = {"register": REGISTER, "lines": [{"sku": "$sku", "quantity": 1}], "tenders": [tender]}
        headers = {**JSON, "Authorization": self.till}
        return Request(
            f"{base}/sales", "POST", headers, json.dumps(body), statuses=(201,), contains='"receipt"', key=True,
            turns=self._goods,
        )  # fmt: skip

    def _cart(self, base: str, customers: Sequence[str]) -> Request:
        """Each has one thing in the cart, from now on or still."""
        headers = {**JSON, "Authorization": "$authorization"}
        body = json.dumps({"quantity": 1})
        return Request(
            f"{base}/cart/items/$sku",
            "PUT",
            headers,
            body,
            contains='"version"',
            turns=self._turns(customers),
        )

    def _checkout(self, base: str, customers: Sequence[str]) -> Request:
        """Others than those who only fill their carts, as nobody changes a cart that is being bought."""
        first = self._cart(base, customers)
        body = {
            "cart_version": "$version", "total_cents": "$total_cents", "address": ADDRESS,
            "payment": {"card_token": "tok_ok"},
        }  # fmt: skip
        return Request(
            f"{base}/checkout", "POST", first.headers, json.dumps(body), statuses=(201,), contains='"paid"', key=True,
            turns=first.turns, first=replace(first, turns=()),
        )  # fmt: skip

    def _turns(self, customers: Sequence[str]) -> list[dict[str, str]]:
        return [{"authorization": who, "sku": sku} for who, sku in zip(customers, itertools.cycle(self.skus))]


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
