"""Documents that happened elsewhere: each is checked, recorded and completed on its own, in the order given.

A document's number is its key: what was recorded before is found by it, so an import may be sent again.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from functions.shared import (
    Connection,
    Invalid,
    Problem,
    Row,
    Unavailable,
    UpstreamTimeout,
    claimed,
    identity,
)
from functions.shared.catalogue import Product
from functions.shared.idempotency import NamedRequest
from functions.shared.returns import Returned
from functions.shared.taxes import TaxRates
from functions.shared.telemetry import current_trace
from functions.shared.validation import invalid

from . import domain, people, pricing, return_store, selling, stock, store
from .bodies import (
    HIGHEST_DOCUMENT_CENTS,
    LINES_PER_IMPORT,
    ImportedDocument,
    ImportedLine,
    ImportedReturn,
    ImportedSale,
    NewImport,
)
from .catalogue import check_products, products_of
from .domain import Asked, Bill, Line
from .returning import finish_return, line_columns, resume, take_lines
from .views import receipt_of

CHARGES = "charges"
"""The category of what is not goods."""
LEAST_SECONDS = 1.5
"""A document is begun only while there is this much time left to finish it."""

_document: TypeAdapter[ImportedSale | ImportedReturn] = TypeAdapter(ImportedDocument)

Products = Mapping[str, Product]


def import_documents(connection: Connection, body: NewImport) -> list[dict[str, Any]]:
    """Record documents in their order; what became of each.

    Commits after each. When stock or prices cannot be reached, what is left is `failed` without being tried.
    """
    _check_size(body.documents)
    given = [_parsed(raw) for raw in body.documents]
    products = products_of(
        line.sku
        for document in given
        if not isinstance(document, Problem)
        for line in document.lines
        if not line.charge
    )
    outcomes = []
    away: Problem | None = None
    for raw, document in zip(body.documents, given, strict=True):
        problem = document if isinstance(document, Problem) else away or _out_of_time()
        if problem is None and not isinstance(document, Problem):
            outcome = _recorded(connection, document, products)
        else:
            outcome = _outcome(raw, "failed" if problem is not document else "refused", problem=problem)
        if isinstance(outcome["problem"], Unavailable | UpstreamTimeout):
            away = outcome["problem"]
        outcomes.append({**outcome, "problem": _shown(outcome["problem"])})
    return outcomes


def _check_size(documents: Sequence[Any]) -> None:
    lines = sum(
        len(document["lines"])
        for document in documents
        if isinstance(document, dict) and isinstance(document.get("lines"), list)
    )
    if lines > LINES_PER_IMPORT:
        message = f"{lines} lines are more than {LINES_PER_IMPORT} at once"
        raise Invalid(
            "Too many lines.", code="too_many_lines", errors=[{"field": "documents", "message": message}]
        )


def _parsed(raw: Any) -> ImportedSale | ImportedReturn | Problem:
    try:
        return _document.validate_json(json.dumps(raw))
    except ValidationError as error:
        return _within_document(invalid(error))


def _within_document(problem: Problem) -> Problem:
    """Fields as the document has them, without the kind by which pydantic found the model."""
    problem.errors = [
        {**fault, "field": re.sub(r"^(sale|return)\.", "", fault["field"])} for fault in problem.errors
    ]
    return problem


def _out_of_time() -> Problem | None:
    trace = current_trace()
    return UpstreamTimeout() if trace is not None and trace.seconds_left() < LEAST_SECONDS else None


def _recorded(
    connection: Connection, document: ImportedSale | ImportedReturn, products: Products
) -> dict[str, Any]:
    """One document, committed; a refusal is an outcome, a database that is away is not."""
    request = _request(document)
    try:
        if isinstance(document, ImportedSale):
            outcome, row = _record_sale(connection, document, products, request)
        else:
            outcome, row = _record_return(connection, document, products, request)
        connection.commit()
    except Problem as problem:
        connection.rollback()
        passing = (
            isinstance(problem, Unavailable | UpstreamTimeout) or problem.code == "idempotency_key_in_flight"
        )
        return _outcome(document.model_dump(), "failed" if passing else "refused", problem=problem)
    return _outcome(document.model_dump(), outcome, row=row)


def _request(document: ImportedSale | ImportedReturn) -> NamedRequest:
    """What names the document, and a digest of what it says."""
    text = document.model_dump_json(exclude={"reason"})
    name = f"import {document.store} {document.kind} {document.document}"
    return NamedRequest(name, hashlib.sha256(text.encode()).digest())


def _record_sale(
    connection: Connection, document: ImportedSale, products: Products, request: NamedRequest
) -> tuple[str, Row | None]:
    present = store.find_request(connection, request.name)
    if present is not None:
        sale_id = _present(connection, present, request)
        if sale_id is not None:
            return "present", store.read_sale(connection, sale_id)
    sale = _sale(document, products, request)
    with claimed(connection, sale["sale_id"]):
        if not store.record_sale(connection, sale):
            raise people.in_flight()
        connection.commit()
        selling.finish_sale(connection, store.unsettled_sale(connection, sale["sale_id"]))
        return "created", store.read_sale(connection, sale["sale_id"])


def _present(connection: Connection, present: Row, request: NamedRequest) -> str | None:
    _check_same(present, request)
    return selling.resume(connection, present, request)


def _check_same(present: Row, request: NamedRequest) -> None:
    if bytes(present["request_sha256"]) != request.sha256:
        raise Invalid(
            "Another document with this number has been imported.",
            code="document_reused",
            errors=[{"field": "document", "message": "is the number of another document"}],
        )


def _sale(document: ImportedSale, products: Products, request: NamedRequest) -> dict[str, Any]:
    rules = people.rules()
    where = stock.stores().find(document.store)
    bill = _bill(document.lines, products, document.taxed)
    tenders = [
        {"tender": 1, "kind": "account", "amount_cents": bill.total_cents, "given_cents": bill.total_cents}
    ]
    return {
        **pricing.bill_columns(bill, rules.currency),
        "sale_id": str(uuid.uuid4()),
        "origin": "import",
        "store": where.code,
        "register": None,
        "session_id": None,
        "cashier": identity().subject,
        "business_date": domain.business_date(document.sold_at, where.time_zone),
        "sold_at": document.sold_at,
        "change_cents": 0,
        "customer_reference": document.customer_reference,
        "document": document.document,
        "request": request.name,
        "request_sha256": request.sha256,
        "tenders": tenders if bill.total_cents else [],
    }


def _bill(lines: Sequence[ImportedLine], products: Products, taxed: bool) -> Bill:
    rules = people.rules()
    _check_lines(lines, products)
    _check_sum(lines)
    bill = domain.bill(
        [_line(line, products.get(line.sku)) for line in lines], rules.taxes if taxed else TaxRates("")
    )
    if bill.total_cents < 0:
        raise Invalid(
            "The document's total is below zero.",
            code="negative_total",
            errors=[{"field": "lines", "message": f"add up to {bill.total_cents} cents"}],
        )
    return bill


def _check_lines(lines: Sequence[ImportedLine], products: Products) -> None:
    below = [
        {"field": f"lines.{place}.unit_price_cents", "message": "only a charge may be below zero"}
        for place, line in enumerate(lines)
        if line.unit_price_cents < 0 and not line.charge
    ]
    if below:
        raise Invalid("A price is below zero.", code="negative_price", errors=below)
    check_products(
        [None if line.charge else line.sku for line in lines],
        products,
        people.rules().currency,
        on_sale_only=False,
    )


def _check_sum(lines: Sequence[ImportedLine]) -> None:
    cents = sum(line.quantity * abs(line.unit_price_cents) for line in lines)
    if cents > HIGHEST_DOCUMENT_CENTS:
        message = f"come to {cents} cents without signs, of at most {HIGHEST_DOCUMENT_CENTS}"
        raise Invalid(
            "The document's total is too large.",
            code="total_too_large",
            errors=[{"field": "lines", "message": message}],
        )


def _line(line: ImportedLine, product: Product | None) -> Line:
    """A line at its own price, under the catalogue's name unless it is a charge."""
    if line.charge or product is None:
        name, category, list_price = line.name or line.sku, CHARGES, line.unit_price_cents
    else:
        name, category, list_price = product.name, product.category, product.price_cents
    overridden = list_price != line.unit_price_cents
    return Line(
        line.sku, name, category, line.quantity, list_price, line.unit_price_cents, line.charge,
        "imported" if overridden else None,
    )  # fmt: skip


def _record_return(
    connection: Connection, document: ImportedReturn, products: Products, request: NamedRequest
) -> tuple[str, Row | None]:
    present = return_store.find_request(connection, request.name)
    if present is not None:
        _check_same(present, request)
        return "present", return_store.read_return(connection, resume(connection, present, request))
    record = _return(connection, document, products, request)
    with claimed(connection, record["return_id"]):
        if not return_store.record_return(connection, record):
            raise people.in_flight()
        connection.commit()
        finish_return(connection, return_store.unsettled_return(connection, record["return_id"]))
        return "created", return_store.read_return(connection, record["return_id"])


def _return(
    connection: Connection, document: ImportedReturn, products: Products, request: NamedRequest
) -> dict[str, Any]:
    rules = people.rules()
    where = stock.stores().find(document.store)
    if document.original is None:
        content = _without_original(document, products)
    else:
        content = _from_original(connection, document, document.original)
    return {
        **content,
        "return_id": str(uuid.uuid4()),
        "origin": "import",
        "store": where.code,
        "register": None,
        "session_id": None,
        "cashier": identity().subject,
        "business_date": domain.business_date(document.returned_at, where.time_zone),
        "returned_at": document.returned_at,
        "currency": rules.currency,
        "refund_kind": "account",
        "refund_reference": None,
        "gift_card_id": None,
        "reason": document.reason,
        "customer_reference": document.customer_reference,
        "document": document.document,
        "request": request.name,
        "request_sha256": request.sha256,
    }


def _from_original(connection: Connection, document: ImportedReturn, original: str) -> dict[str, Any]:
    sale = store.find_document(connection, document.store, original)
    if sale is None:
        raise Invalid(
            "The original has not been imported.",
            code="unknown_original",
            errors=[{"field": "original", "message": f"there is no sale {original} in {document.store}"}],
        )
    asked = [
        Asked(line.sku, line.quantity, line.unit_price_cents, _restocked(document, line.restock), line.charge)
        for line in document.lines
    ]
    sold = return_store.sold_lines(connection, sale["sale_id"])
    return take_lines(connection, sale, sold, domain.matched(sold, asked))


def _without_original(document: ImportedReturn, products: Products) -> dict[str, Any]:
    bill = _bill(document.lines, products, document.taxed)
    lines = [
        Returned(
            line.sku, line.name, line.category, line.charge, _restocked(document, given.restock), line.quantity,
            line.unit_price_cents, parts,
        )
        for line, parts, given in zip(bill.lines, bill.tax_parts, document.lines, strict=True)
    ]  # fmt: skip
    return {"sale_id": None, **line_columns(lines, bill.taxes)}


def _restocked(document: ImportedReturn, of_line: bool | None) -> bool:
    return document.restock if of_line is None else of_line


def _outcome(
    document: Any, outcome: str, *, row: Row | None = None, problem: Problem | None = None
) -> dict[str, Any]:
    said = document if isinstance(document, dict) else {}
    found: Mapping[str, Any] = row or {}
    return {
        "document": _text(said.get("document")),
        "kind": _text(said.get("kind")),
        "outcome": outcome,
        "id": found.get("return_id", found.get("sale_id")),
        "receipt": receipt_of(row) if row else None,
        "total_cents": found.get("total_cents"),
        "problem": problem,
    }


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _shown(problem: Problem | None) -> dict[str, Any] | None:
    if problem is None:
        return None
    return {
        **problem.members,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "errors": problem.errors,
    }
