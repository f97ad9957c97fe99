"""The books at the end of a tour: of the whole shop, as `make doctor` and the tests look at them, and of what the tour bought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import psycopg2

from localfaas.doctor import books
from localfaas.doctor.finding import NotLookedAt, State
from localfaas.doctor.installation import Installation
from localfaas.settings import Settings
from localfaas.up import admin_url
from tests.load.demo.drawing import Claim
from tests.load.demo.goods import Goods
from tests.support.webshop import BOOKS

CONNECT_SECONDS = 5
MONEY = (
    "the provider has captured what was paid, and gives back what was refunded",
    "no money is held for a checkout that is settled",
    "a complete checkout has one paid order, and a refused one has none",
)
"""Of tests/support/webshop.py: what must be so between orders and the provider."""


def unsettled(settings: Settings) -> int:
    """How many checkouts are still under way."""
    [(count,)] = _select(settings, "SELECT count(*) FROM checkout.checkouts WHERE settled_at IS NULL")
    return int(count)


def reckon(settings: Settings, environ: Mapping[str, str], goods: Goods) -> list[Claim]:
    """What must be so once all is settled."""
    return [*_stock(settings, environ), _money(settings), *_of_the_tour(settings, goods)]


def _stock(settings: Settings, environ: Mapping[str, str]) -> list[Claim]:
    """Stock against its ledger, what is promised, and what is left half-way."""
    installation = Installation(settings, environ)
    try:
        findings = books.hold(installation)
    except NotLookedAt as exc:
        return [Claim(f"stock = ledger: not looked at, {exc}", holds=False)]
    finally:
        installation.close()
    return [Claim(f"stock = ledger: {one.found}", one.state is State.WELL) for one in findings]


def _money(settings: Settings) -> Claim:
    """Orders against the payment provider."""
    wrong = {name: len(_select(settings, BOOKS[name])) for name in MONEY}
    [(orders, cents)] = _select(settings, _PAID)
    faults = "; ".join(f"{count} rows contradict “{name}”" for name, count in wrong.items() if count)
    agree = (
        f"{orders:,} orders have been paid with {money(cents)}, and each was captured by the provider, once"
    )
    return Claim(f"money = provider: {faults or agree}", not faults)


def _of_the_tour(settings: Settings, goods: Goods) -> list[Claim]:
    """All that the tour bought is one piece an order, of products that nobody else sells."""
    if not goods.products:
        return []
    [(orders, ordered, captured, left)] = _select(settings, _BOUGHT, {"skus": goods.skus})
    return [
        Claim(
            f"what the tour bought: {orders} orders for {money(ordered)}, of which the provider has {money(captured)}; "
            f"{goods.received} pieces received − {orders} sold = {left} left",
            ordered == captured and goods.received - orders == left,
        )
    ]


def money(cents: int) -> str:
    return f"{cents / 100:,.2f} CAD"


def _select(
    settings: Settings, statement: str, parameters: Mapping[str, Any] | None = None
) -> Sequence[tuple[Any, ...]]:
    """Ask the database as its superuser."""
    with closing(psycopg2.connect(admin_url(settings), connect_timeout=CONNECT_SECONDS)) as connection:
        connection.set_session(readonly=True)
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()


_PAID = """
SELECT count(*), coalesce(sum(total_cents), 0)::bigint
FROM orders.orders
WHERE paid_at IS NOT NULL
"""
_BOUGHT = """
WITH bought AS (
  SELECT checkout_id, total_cents
  FROM orders.orders
  WHERE paid_at IS NOT NULL
    AND order_id IN (SELECT order_id FROM orders.order_lines WHERE sku = ANY(%(skus)s))
)
SELECT
  (SELECT count(*) FROM bought),
  (SELECT coalesce(sum(total_cents), 0)::bigint FROM bought),
  (
    SELECT coalesce(sum(amount_cents), 0)::bigint
    FROM payments.ledger
    WHERE kind = 'captured' AND reference IN (SELECT checkout_id::text FROM bought)
  ),
  (SELECT coalesce(sum(on_hand), 0)::bigint FROM inventory.stock WHERE sku = ANY(%(skus)s))
"""
