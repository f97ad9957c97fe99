"""What a purchase leaves behind for who watches: the metrics of every function that took part, and one story in the logs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import yaml

from tests.support.platform import PROJECT, Platform
from tests.support.scrape import Series, scrape
from tests.support.shoppers import Street, check_out
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

STORE, OTHER_STORE = "S1", "S2"
STACK = yaml.safe_load((PROJECT / "stack.yml").read_text())["functions"]
WEB = f'{{channel="web",store="{STORE}"}}'
TILL = f'{{channel="store",store="{OTHER_STORE}"}}'

MUST_EMIT: dict[str, tuple[str, ...]] = {
    "products": ("GET /prices 200", "select"),
    "inventory": ("POST /reservations 201", "commit", 'inventory_reservations_total{outcome="committed"}'),
    "sales": ("POST / 201", "commit", "-> inventory POST 201", f"sales_total{TILL}", f"sales_cents_total{TILL}"),
    "reports": ("GET /sales 200", "commit"),
    "customers": ("POST /sessions 201", "commit", 'customers_sign_ins_total{outcome="opened"}'),
    "orders": ("POST /by-checkout/<uuid:checkout_id>/paid 200", "commit", f"orders_total{WEB}", f"orders_cents_total{WEB}"),
    "cart": ("POST /checkouts 200", "commit", "-> products GET 200", 'cart_changes_total{change="add"}'),
    "checkout": ("POST / 201", "with", "-> payments POST 201", 'checkout_steps_total{outcome="done",step="clear"}', "checkout_started_total"),
    "payments": ("POST /authorisations 201", "commit", 'payments_entries_total{kind="captured"}'),
    "site": ("GET / 200",),
    "maintenance": ("POST / 200", "-> sales POST 200", 'maintenance_runs_total{outcome="done",task="recover_sales"}'),
}  # fmt: skip
"""What must have grown after one purchase and one sale: first the request that was answered, by method, route and status;
then, if it has a database, a kind of statement; each callee of its own; and what it counts of the shop."""

CHECKOUT = [
    ("checkout", "POST / 201"),
    ("cart", "POST /checkouts 200"),
    ("products", "GET /prices 200"),
    ("inventory", "POST /reservations 201"),
    ("orders", "POST / 201"),
    ("payments", "POST /authorisations 201"),
    ("inventory", "POST /reservations/<uuid:reservation_id>/commit 200"),
    ("payments", "POST /authorisations/<reference>/capture 200"),
    ("orders", "POST /by-checkout/<uuid:checkout_id>/paid 200"),
    ("cart", "POST /checkouts/<uuid:checkout_id>/close 200"),
]
"""Who answers what, in the order in which a checkout asks."""
NOW_AND_THEN = [("inventory", "GET /locations 200")]
"""What is asked once in a while and remembered."""


@dataclass(frozen=True)
class Told:
    """What was exposed before and after, and the id of the checkout's request."""

    before: dict[str, Series]
    after: dict[str, Series]
    request_id: str

    def growth(self, function: str, series: str) -> float:
        return self.after[function].get(series, 0.0) - self.before[function].get(series, 0.0)


@pytest.fixture(scope="module")
def told(shop: Platform) -> Iterator[Told]:
    """One visitor becomes a customer and buys; one till sells; the rest of the functions are asked once."""
    street = Street(shop)
    sku = street.new_product(1_999, STORE, 10)
    head, ada, clerk = street.head_office(), street.visitor(), street.staff(OTHER_STORE)
    head.done(
        "POST", "/inventory/receipts", {"location": OTHER_STORE, "lines": [{"sku": sku, "quantity": 1}]}
    )
    before = scrape(shop)
    ada.register("Ada Lovelace")
    ada.done("POST", "/cart/items", {"sku": sku, "quantity": 2})
    bought = check_out(ada, ada.done("GET", "/cart"), fulfilled_by=STORE)
    assert bought.status_code == 201, bought.text
    register, lines = f"R{sku[-6:]}", [{"sku": sku, "quantity": 1}]
    clerk.done("POST", f"/sales/registers/{register}/open", {"opening_cash_cents": 0})
    total = clerk.done("POST", "/sales/quote", {"lines": lines})["total_cents"]
    tender = {"kind": "card", "amount_cents": total, "reference": "T1"}
    clerk.done("POST", "/sales", {"register": register, "lines": lines, "tenders": [tender]})
    assert requests.post(shop.gateway("/function/maintenance/"), timeout=15).status_code == 200
    head.done("GET", "/reports/sales?by=day")  # refreshed by maintenance
    assert requests.get(shop.edge("/"), timeout=10).status_code == 200
    yield Told(before, scrape(shop), bought.headers["X-Request-Id"])
    for person in (head, ada, clerk):
        person.leave()


def test_every_function_of_the_stack_has_its_line() -> None:
    assert MUST_EMIT.keys() == STACK.keys()


@pytest.mark.parametrize("function", MUST_EMIT)
def test_a_function_has_emitted_its_metrics(told: Told, function: str) -> None:
    request, *others = MUST_EMIT[function]
    wanted = [_requests(request), "http_request_queue_seconds_count", *map(_series, others)]
    assert {one: told.growth(function, one) for one in wanted if told.growth(function, one) <= 0} == {}
    now = told.after[function]
    replicas = now["function_threads"] / STACK[function]["environment"]["threads"]
    assert replicas >= int(STACK[function]["labels"]["com.openfaas.scale.min"])  # more after a load
    assert now["http_requests_in_flight"] == 0
    assert now["http_first_request_duration_seconds"] > 0
    if any(secret == f"{function}-db" for secret in STACK[function]["secrets"]):
        assert now["database_pool_size"] == now["function_threads"] + replicas
        assert now['database_pool_connections{state="idle"}'] >= 1
        assert now['database_pool_connections{state="used"}'] == now["database_pool_waiting"] == 0


def _requests(request: str) -> str:
    method, route, status = request.split()
    return f'http_request_duration_seconds_count{{method="{method}",route="{route}",status="{status}"}}'


def _series(short: str) -> str:
    if short.startswith("-> "):
        callee, method, status = short[3:].split()
        return (
            f'function_call_duration_seconds_count{{callee="{callee}",method="{method}",status="{status}"}}'
        )
    if short.isalpha():
        return f'database_query_duration_seconds_count{{operation="{short}"}}'
    return short


def test_the_logs_tell_the_checkout_across_functions_in_order(shop: Platform, told: Told) -> None:
    def answered() -> list[tuple[str, str]] | None:
        """Who answered what, once all have: a line is written up to half a second after its request."""
        lines = shop.run("logs", "--request", told.request_id, check=False).stdout.splitlines()
        words = [line.split() for line in lines[1:]]  # time, milliseconds, replica, method, route, status, …
        found = [(one[2].rpartition("-")[0], " ".join(one[3:6])) for one in words]
        story = [one for one in found if one not in NOW_AND_THEN]
        return story if len(story) >= len(CHECKOUT) and told.request_id in lines[0] else None

    assert wait_for(answered, 10, "a line of each who took part") == CHECKOUT


def test_a_request_that_is_nowhere_is_said_plainly(shop: Platform, tmp_path: Path) -> None:
    done = shop.run("logs", "--request", "no-such-request", check=False)
    assert (done.returncode, "X-Request-Id" in done.stdout) == (1, True)
