"""What the faults happen to: a platform of the experiment's own under load, and small replicas behind an edge of their own."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace

import psycopg2

from benchmarks.own_edge import OwnEdge, own_edge
from benchmarks.own_platform import own_platform
from benchmarks.replicas import Replica, three_replicas
from benchmarks.report import PROJECT, BenchmarkError
from localfaas.settings import Settings
from localfaas.status import Row, rows
from localfaas.supervisor import Supervisor, SupervisorError
from localfaas.up import admin_url
from tests.experiments.common.driving import Kept, Request
from tests.experiments.common.shop import JSON, Shop
from tests.experiments.failover.faults import (
    GET_CART,
    GET_PRODUCT,
    POST_CART,
    TILL_SALE,
    UPSTREAM,
    Fault,
    Program,
    Small,
    Victim,
    cart_health,
    targets,
)

CARTS = 20
CALM_SECONDS = 60.0
INSIST_SECONDS = 20.0
"""How long a sale is asked for again, with its key, until it has a final answer."""
POLL_SECONDS = 0.1


@dataclass
class Stage:
    shop: Shop
    own: OwnEdge
    replicas: Sequence[Replica]
    carts: Sequence[str]
    """Tokens of carts with one thing in them."""
    _turn: Iterator[int] = field(default_factory=itertools.count)

    def victim(self, fault: Fault) -> tuple[Victim, str]:
        """Who it is this time, in turn, and its name; once all is well. Raises BenchmarkError where all is not."""
        turn = next(self._turn)
        if not fault.program:
            until(lambda: set(self.own.health(UPSTREAM).values()) == {"HEALTHY"}, "the small replicas")
            return Small(self.own, self.replicas[turn % len(self.replicas)]), "replica"
        settings = self.shop.settings
        until(lambda: all_is_well(settings), "the platform")
        found = targets(rows(settings), fault.program)
        row = found[turn % len(found)]
        return Program(settings, row), row.program

    def edge(self, fault: Fault) -> Settings:
        """Whose edge is asked."""
        return self.shop.settings if fault.program else self.own.edge.settings

    def requests(self, fault: Fault) -> dict[str, Request]:
        """What each flow asks for."""
        base = f"{self.edge(fault).url('edge')}/api"
        if not fault.program:
            return {
                GET_CART: Request(f"{base}/cart"),
                POST_CART: Request(f"{base}/cart/items", "POST", JSON, "{}"),
            }
        return of_the_shop(self.shop, self.carts)

    def books(self, run: str, sales: Sequence[Kept]) -> dict[str, object]:
        """What the tables say of a run's sales; `run` is the part of the keys that all of it have in common."""
        there = complete_sales(self.shop.settings, run)
        told = self.shop.done("GET", "/inventory/invariants", token=self.shop.head)
        return {**held_together(sales, there), "invariants": bool(told["holds"])}


def of_the_shop(shop: Shop, carts: Sequence[str]) -> dict[str, Request]:
    """The four flows, each a step of the load tests' scenario by itself; `carts` are tokens of visitors."""
    return {
        GET_CART: replace(shop.step("GET /api/cart"), turns=[{"cart_token": token} for token in carts]),
        POST_CART: shop.step("POST /api/cart/items"),
        GET_PRODUCT: shop.step("GET /api/products/{product_id}"),
        TILL_SALE: insisted(shop.step("POST /api/sales", total_cents=shop.total_cents)),
    }


def until(condition: Callable[[], bool], what: str) -> None:
    """Raises BenchmarkError where it does not come true."""
    deadline = time.monotonic() + CALM_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{what} did not become well within {CALM_SECONDS:g} s")
        time.sleep(POLL_SECONDS)


def insisted(request: Request) -> Request:
    return replace(request, keep="sale_id", insist=INSIST_SECONDS)


def all_is_well(settings: Settings) -> bool:
    """Everything runs and takes traffic, and the edge thinks so, too."""
    try:
        found: Sequence[Row] = rows(settings)
    except SupervisorError:
        return False
    # Alertmanager is stopped on purpose.
    running = all(
        row.state == "RUNNING" and row.traffic != "no" for row in found if row.program != "alertmanager"
    )
    carts = {row.port for row in found if row.program.startswith("cart-")}
    health = cart_health(settings)
    return running and {port for port, word in health.items() if word == "HEALTHY"} == carts


def complete_sales(settings: Settings, run: str) -> list[tuple[str, str]]:
    """Key and id of each sale of a run that counts."""
    with closing(psycopg2.connect(admin_url(settings))) as connection, connection.cursor() as cursor:
        cursor.execute(_SALES, {"run": f"%-{run}-%"})
        return [(str(key), str(sale)) for key, sale in cursor.fetchall()]


_SALES = """
SELECT substring(request FROM '[^ ]+$'), sale_id::text
FROM sales.sales
WHERE status = 'complete' AND request LIKE %(run)s
"""


def held_together(sales: Sequence[Kept], there: Sequence[tuple[str, str]]) -> Mapping[str, object]:
    """Acknowledged sales against those in the tables: how many, which are missing, and which keys have made two."""
    acknowledged = {one.key: str(one.value) for one in sales if one.value is not None}
    keys = [key for key, _ in there]
    return {
        "acknowledged": len(acknowledged),
        "insisted": sum(one.tries > 1 for one in sales if one.value is not None),
        "missing": [key for key, sale in acknowledged.items() if (key, sale) not in set(there)],
        "twice": sorted({key for key in keys if keys.count(key) > 1}),
    }


@contextmanager
def built(like: Settings) -> Iterator[Stage]:
    """All of it, up and asked once."""
    with own_platform(like) as settings, own_edge() as own, three_replicas() as replicas:
        # What is to stay as it is may not be scaled.
        Supervisor(settings).stop("alertmanager")
        shop = Shop(settings)
        shop.open(customers=0)
        own.load(
            (PROJECT / "kong" / "kong.yml").read_text(),
            {UPSTREAM: [("127.0.0.1", replica.port) for replica in replicas]},
        )
        yield Stage(shop, own, replicas, [cart(shop) for _ in range(CARTS)])


def cart(shop: Shop) -> str:
    """A visitor's, who has none yet."""
    shop.session.cookies.clear()
    answer = shop.ask("POST", "/cart/items", {"sku": shop.skus[0], "quantity": 1})
    if answer.status_code != 200:
        raise BenchmarkError(f"a cart was not opened: {answer.status_code} {answer.text[:200]}")
    return answer.headers["X-Cart-Token"]
