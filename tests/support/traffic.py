"""Something of everything that a dashboard counts, at a running shop, through its edge."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from tests.support.platform import Platform
from tests.support.shoppers import Person, Street, check_out

STORE = "S1"


def trade(street: Street) -> None:
    """A sale that is taken back, an order, a checkout that finds too little, a wrong password, a preflight."""
    sku = street.new_product(1_250, STORE, 3)
    till, ada, bob = street.staff(STORE), street.customer(), street.customer()
    sell(till, sku)
    assert buy(ada, sku, 2).status_code == 201
    assert buy(bob, sku, 1).status_code == 409
    eve = street.visitor()
    wrong = {"email": "nobody@example.com", "password": "a guess at a password"}
    refused = eve.ask("POST", "/customers/sessions", wrong).status_code
    assert refused in {401, 429}  # one who goes on guessing is told to wait
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET"}
    eve.ask("OPTIONS", "/products", **asked)
    for person in (till, ada, bob, eve):
        person.leave()


def sell(till: Person, sku: str) -> None:
    register, lines = f"R{sku[-6:]}", [{"sku": sku, "quantity": 1}]
    till.done("POST", f"/sales/registers/{register}/open", {"opening_cash_cents": 0})
    total = till.done("POST", "/sales/quote", {"lines": lines})["total_cents"]
    tender = {"kind": "card", "amount_cents": total, "reference": "T1"}
    sold = till.insist("/sales", {"register": register, "lines": lines, "tenders": [tender]})
    assert sold.status_code == 201, sold.text


def buy(person: Person, sku: str, quantity: int) -> requests.Response:
    return check_out(
        person, person.done("PUT", f"/cart/items/{sku}", {"quantity": quantity}), fulfilled_by=STORE
    )


@contextmanager
def requests_going_on(platform: Platform) -> Iterator[None]:
    """A few reads a second, so that rates are not those of an idle platform."""
    done = threading.Event()

    def read() -> None:
        with requests.Session() as session:
            while not done.wait(0.1):
                for path in ("/api/products?limit=1", "/api/cart", "/"):
                    session.get(platform.edge(path), timeout=10)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        done.set()
        reader.join()
