"""People at a running shop, who reach it through the edge alone: visitors, customers, staff."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import requests

from tests.support.functions import Secrets
from tests.support.platform import Platform
from tests.support.webshop import checkout_body

PATIENCE_SECONDS = 60
PASSING = {429, 500, 502, 503, 504}
PASSWORD = "seven purple herons"


@dataclass
class Person:
    """Somebody with a browser, which keeps cookies; `token` is sent once somebody has signed in."""

    platform: Platform
    token: dict[str, str] = field(default_factory=dict)
    browser: requests.Session = field(default_factory=requests.Session)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """A request of `/api<path>`; POST bears a key of its own unless `headers` has one."""
        if method == "POST":
            headers.setdefault("Idempotency-Key", str(uuid4()))
        content = None if body is None else json.dumps(body)
        kind = {} if body is None else {"Content-Type": "application/json"}
        url = self.platform.edge(f"/api{path}")
        return self.platform.patiently(
            lambda: self.browser.request(
                method, url, data=content, headers={**self.token, **kind, **headers}, timeout=PATIENCE_SECONDS
            )
        )

    def done(self, method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """The answer of a request that succeeds."""
        response = self.ask(method, path, body, **headers)
        assert response.status_code < 300, (method, path, response.status_code, response.text)
        answer: dict[str, Any] = response.json() if response.content else {}
        return answer

    def insist(self, path: str, body: Any) -> requests.Response:
        """The final answer of a POST, sent again with the same key while the shop says to try again."""
        key, deadline = str(uuid4()), time.monotonic() + PATIENCE_SECONDS
        while True:
            response = self.ask("POST", path, body, **{"Idempotency-Key": key})
            if response.status_code not in PASSING and not _is_in_flight(response):
                return response
            assert time.monotonic() < deadline, response.text
            time.sleep(0.1)

    def register(self, name: str) -> str:
        """Register, and sign in; the address that is the account's."""
        email = f"{uuid4()}@example.com"
        self._knows("e-mail address", email)
        self.done("POST", "/customers", {"email": email, "password": PASSWORD, "name": name})
        self.sign_in(email)
        return email

    def sign_in(self, email: str) -> None:
        signed = self.done("POST", "/customers/sessions", {"email": email, "password": PASSWORD})
        self.token = {"Authorization": f"Bearer {signed['access_token']}"}
        for token in ("access_token", "refresh_token"):
            self._knows(token, signed[token])

    def _knows(self, what: str, value: str) -> None:
        self.platform.known[f"{what} {len(self.platform.known)}"] = value

    def leave(self) -> None:
        self.browser.close()


def _is_in_flight(response: requests.Response) -> bool:
    return response.status_code == 409 and response.json().get("code") == "idempotency_key_in_flight"


@dataclass(frozen=True)
class Street:
    """Where the people of one platform come from, and what may be looked up behind the counter."""

    platform: Platform

    @property
    def secrets(self) -> Secrets:
        return Secrets(self.platform.secrets)

    def visitor(self) -> Person:
        return Person(self.platform)

    def customer(self) -> Person:
        """A customer whose account plays no part: its token was signed for it."""
        return Person(self.platform, self.secrets.bearer("customer", subject=str(uuid4())))

    def head_office(self) -> Person:
        return Person(self.platform, self.secrets.bearer("hq", subject="head"))

    def staff(self, store: str) -> Person:
        return Person(self.platform, self.secrets.bearer("staff", subject=f"staff-{store}", store=store))

    def new_product(self, price_cents: int, location: str, quantity: int) -> str:
        """A product that nobody else sells, in stock; its SKU."""
        sku = f"T-{uuid4().hex[:12]}"
        head = self.head_office()
        head.done("POST", "/products", {"sku": sku, "name": f"Thing {sku}", "price_cents": price_cents})
        lines = [{"sku": sku, "quantity": quantity}]
        head.done("POST", "/inventory/receipts", {"location": location, "lines": lines})
        head.leave()
        return sku

    def ledger(self, checkout_id: str) -> dict[str, int]:
        """What the payment provider has in its books for a checkout: cents by kind. It has no public route."""
        url = self.platform.gateway(f"/function/payments/ledger?reference={checkout_id}")
        service = self.secrets.bearer("service", subject="maintenance")
        response = requests.get(url, headers=service, timeout=PATIENCE_SECONDS)
        assert response.status_code == 200, response.text
        sums: dict[str, int] = {}
        for entry in response.json()["items"]:
            sums[entry["kind"]] = sums.get(entry["kind"], 0) + entry["amount_cents"]
        return sums


def check_out(person: Person, cart: Mapping[str, Any], **more: Any) -> requests.Response:
    """The final answer to a customer who checks this cart out."""
    return person.insist("/checkout", checkout_body(cart, **more))
