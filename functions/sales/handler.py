"""The till over HTTP: owns the schema sales; calls products for prices and inventory for stock.

The steps of sales, voids and returns are in selling.py, voiding.py and returning.py, registers and gift cards in registers.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from functions.shared import (
    Answer,
    Connection,
    DatabaseSettings,
    FunctionApp,
    Invalid,
    NotFound,
    Row,
    ServiceKeySettings,
    TokenSettings,
    current,
    encode_cursor,
    moment_filters,
    page,
    setting,
)
from functions.shared import (
    create_app as build,
)
from functions.shared.idempotency import this_request
from functions.shared.taxes import TaxRates

# Importing registers declares its routes on `api`.
from . import (
    bodies,
    domain,
    importing,
    people,
    pricing,
    recovery,
    registers,
    return_store,
    returning,
    selling,
    store,
    views,
    voiding,
)
from .people import CLERKS, READERS
from .routes import api
from .stock import Stores

__all__ = ["api", "create_app", "registers"]

STATUSES = {
    "sold": ["complete", "voiding", "voided"],
    "complete": ["complete", "voiding"],
    "voided": ["voided"],
    "unsettled": ["pending", "undoing", "voiding"],
    "refused": ["refused", "undone"],
    "any": None,
}
"""What a list of sales shows."""


@dataclass(frozen=True, kw_only=True)
class SalesSettings(DatabaseSettings, TokenSettings, ServiceKeySettings):
    currency: str = setting("ISO 4217 code of the currency of all sales.", default="CAD")
    taxes: TaxRates = setting(  # noqa: RUF009 - it makes a field, as dataclasses.field does
        "Taxes on the subtotal, as NAME=PERCENT joined by commas.", default="TPS=5,TVQ=9.975"
    )
    staff_override_percent: int = setting("How far staff may change a price.", default=20)
    hq_override_percent: int = setting("How far the head office may change a price.", default=100)
    recovery_batch: int = setting("Documents that one call of /recover deals with at most.", default=50)

    @property
    def rules(self) -> domain.Rules:
        return domain.Rules(self.currency, self.taxes, self.staff_override_percent, self.hq_override_percent)


@api.post("/quote", body=bodies.NewQuote, answers={200: views.QuoteView}, roles=CLERKS, problems=[503])
def quote_lines(body: bodies.NewQuote) -> dict[str, Any]:
    """Say what lines cost, with taxes. Nothing is stored, and no stock is looked at."""
    bill = pricing.price(body.lines)
    domain.check_overrides(bill.lines, pricing.override_percent())
    return views.show_quote(bill, people.rules().currency)


@api.post(
    "/", body=bodies.NewSale, answers={201: views.SaleView}, roles=CLERKS, idempotency="required",
    problems=[409, 503, 504],
)  # fmt: skip
def sell(body: bodies.NewSale, connection: Connection) -> Answer:
    """Sell at a register.

    Refused with the lines named when stock is lacking; when stock cannot be reached nothing is sold.
    After a lost answer send the same again with its key: it is sold once.
    """
    people.check_store(body.store)
    sale_id = selling.sell(connection, body, this_request())
    return Answer(_sale(connection, sale_id), 201, {"Location": f"/api/sales/{sale_id}"})


@api.get("/", query=bodies.SaleQuery, answers={200: views.SalePage}, roles=READERS, problems=[400])
def list_sales(query: bodies.SaleQuery) -> dict[str, Any]:
    """List and search sales, latest first; staff see those of their own store."""
    filters: dict[str, Any] | None = {
        "store": people.visible_store(query.store),
        "day": query.day,
        "register": query.register_name,
        "cashier": query.cashier,
        "document": query.document,
        "sku": query.sku,
        "receipt_number": None,
        "statuses": STATUSES[query.status],
        **moment_filters(query.after),
        "limit": query.limit + 1,
    }
    if filters is not None and query.receipt is not None:
        filters = _with_receipt(filters, query.receipt)
    rows = current().database.read(store.list_sales, filters) if filters is not None else []
    return page([views.show_document(row) for row in rows], query.limit, _cursor("sold_at", "sale_id"))


def _with_receipt(filters: dict[str, Any], receipt: str) -> dict[str, Any] | None:
    """Filters that find a printed receipt number too; None when other filters exclude it."""
    match = re.fullmatch(r"([A-Za-z0-9]{1,20})-([0-9]{8})-([0-9]{1,9})", receipt)
    try:
        day = date.fromisoformat(match[2]) if match else None
    except ValueError:
        day = None
    if match is None or day is None:
        message = "is not a receipt number such as S1-20261122-17"
        raise Invalid(code="bad_receipt", errors=[{"field": "receipt", "message": message}])
    if filters["store"] not in {None, match[1]} or filters["day"] not in {None, day}:
        return None
    return {**filters, "store": match[1], "day": day, "receipt_number": int(match[3])}


def _cursor(time_column: str, id_column: str) -> Any:
    return lambda row: encode_cursor(row[time_column].isoformat(), row[id_column])


@api.get("/<uuid:sale_id>", answers={200: views.SaleView}, roles=READERS, problems=[404])
def read_sale(sale_id: UUID) -> dict[str, Any]:
    """One sale with its lines, tenders and returns."""
    sale = current().database.read(store.read_sale, str(sale_id))
    if sale is None:
        raise people.sale_not_found()
    people.check_store(sale["store"])
    returns = current().database.read(return_store.returns_of, str(sale_id))
    return _shown(sale, returns)


@api.post(
    "/<uuid:sale_id>/void", body=bodies.NewVoid, answers={200: views.SaleView}, roles=CLERKS,
    idempotency="required", problems=[404, 409, 503],
)  # fmt: skip
def void_sale(sale_id: UUID, body: bodies.NewVoid, connection: Connection) -> dict[str, Any]:
    """Take a whole sale back before the store's day ends: stock returns, everything paid is paid back."""
    voiding.void(connection, str(sale_id), body, this_request())
    return _sale(connection, str(sale_id))


@api.post(
    "/<uuid:sale_id>/returns", body=bodies.NewReturn, answers={201: views.ReturnView}, roles=CLERKS,
    idempotency="required", problems=[404, 409, 503],
)  # fmt: skip
def return_lines(sale_id: UUID, body: bodies.NewReturn, connection: Connection) -> Answer:
    """Take lines of a sale back and refund them; never more than was sold."""
    return_id = returning.return_lines(connection, str(sale_id), body, this_request())
    return Answer(_return(return_store.read_return(connection, return_id)), 201)


@api.get("/returns", query=bodies.ReturnQuery, answers={200: views.ReturnPage}, roles=READERS, problems=[400])
def list_returns(query: bodies.ReturnQuery) -> dict[str, Any]:
    """List returns, latest first; staff see those of their own store."""
    filters = {
        "store": people.visible_store(query.store),
        "day": query.day,
        "sku": query.sku,
        "sale_id": str(query.sale_id) if query.sale_id else None,
        **moment_filters(query.after),
        "limit": query.limit + 1,
    }
    rows = current().database.read(return_store.list_returns, filters)
    return page([views.show_document(row) for row in rows], query.limit, _cursor("returned_at", "return_id"))


@api.get("/returns/<uuid:return_id>", answers={200: views.ReturnView}, roles=READERS, problems=[404])
def read_return(return_id: UUID) -> dict[str, Any]:
    """One return with its lines."""
    return _return(current().database.read(return_store.read_return, str(return_id)))


@api.post(
    "/import",
    body=bodies.NewImport,
    answers={200: views.ImportResult},
    roles=people.WIDE,
    problems=[503, 504],
)
def import_documents(body: bodies.NewImport) -> dict[str, Any]:
    """Record sales and returns that happened elsewhere.

    Each document is all or nothing, and its outcome is told in its place.
    Its number is its key: sent again it is `present`.
    """
    with current().database.transaction() as connection:
        return {"items": importing.import_documents(connection, body)}


@api.post("/recover", answers={200: views.Recovery}, roles=["service"], problems=[503])
def recover_documents() -> dict[str, Any]:
    """Finish or undo some of what was interrupted; for maintenance. Any number of these may run at once."""
    limit = current().settings(SalesSettings).recovery_batch
    with current().database.transaction() as connection:
        recovered = recovery.recover(connection, limit)
    return {"recovered": recovered, "more": recovered == limit}


def _sale(connection: Connection, sale_id: str) -> dict[str, Any]:
    sale = store.read_sale(connection, sale_id)
    if sale is None:
        raise people.sale_not_found()
    return _shown(sale, return_store.returns_of(connection, sale_id))


def _shown(sale: Row, returns: list[Row]) -> dict[str, Any]:
    return {**views.show_document(sale), "returns": [views.show_document(row) for row in returns]}


def _return(row: Row | None) -> dict[str, Any]:
    if row is None:
        raise NotFound("There is no such return.", code="return_not_found")
    people.check_store(row["store"])
    return views.show_document(row)


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The sales function in `environ`; the template calls this once."""
    app = build(api, SalesSettings, environ)
    app.extensions["rules"] = app.service.settings(SalesSettings).rules
    app.extensions["stores"] = Stores()
    return app
