"""Recording documents through the public API: what fails for a while is sent again, what is refused is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from db.seed.catalogue import Answer, Catalogue, UploadError
from db.seed.retail_account import summarize
from db.seed.retail_file import UnusableFileError
from db.seed.retail_replay import (
    DOCUMENTS_PER_REQUEST,
    IMPORT_PATH,
    LINES_PER_REQUEST,
    WRITE_OFFS_PATH,
    Recorded,
    Till,
    in_batches,
    read,
)
from db.seed.retail_sales import LINES_PER_DOCUMENT, Document, Plan
from functions.sales import bodies

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
ROWS = (
    "1,A,LANTERN,6,2010-07-01 23:30,2.55,17,UK",
    "1,POST,POSTAGE,1,2010-07-01 23:30,18,17,UK",
    "C2,a,LANTERN,-1,2010-07-02 08:00,2.55,17,UK",
    "C3,A,LANTERN,-1,2010-07-02 09:00,2.00,,UK",
    "4,A,damaged,-3,2010-07-02 10:00,0,,UK",
)
AWAY = {"code": "stock_unavailable", "detail": "Stock cannot be reached."}

Verdict = Callable[[dict[str, Any]], dict[str, Any] | None]


class FakeShop:
    """Records each document once; `verdicts` are asked first, one a request."""

    def __init__(self, *verdicts: Verdict) -> None:
        self.verdicts = list(verdicts)
        self.documents: dict[tuple[str, str], dict[str, Any]] = {}
        self.ledger: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.write_off_status = 201
        self.now = 0.0
        self.waits: list[float] = []

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        content = json.loads(body) if body else {}
        if path == IMPORT_PATH:
            return _ok({"items": self._import(content["documents"])})
        if path == WRITE_OFFS_PATH:
            return self._write_off(content, headers)
        if path.startswith("/api/inventory/movements"):
            place = int(path.partition("after=")[2] or 0)
            more = str(place + 1) if place + 1 < len(self.ledger) else None
            return _ok({"items": self.ledger[place : place + 1], "next": more})
        stores = [{"location": "S1", "kind": "store", "time_zone": "America/Toronto"}]
        return _ok({"items": stores})

    def _import(self, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        verdict = self.verdicts.pop(0) if self.verdicts else lambda _: None
        return [verdict(document) or self._record(document) for document in documents]

    def _record(self, document: dict[str, Any]) -> dict[str, Any]:
        key = document["kind"], document["document"]
        outcome = "present" if key in self.documents else "created"
        assert self.documents.setdefault(key, document) == document
        return {"outcome": outcome, "problem": None}

    def _write_off(self, content: dict[str, Any], headers: Mapping[str, str]) -> Answer:
        self.keys.append(headers["Idempotency-Key"])
        if self.write_off_status != 201:
            return Answer(self.write_off_status, {}, b'{"detail": "There is not enough stock."}')
        self.ledger.append(content)
        return Answer(201, {}, b"{}")

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def till(self, store: str = "S1") -> Till:
        shop = Catalogue(self.send, lambda _: None, sleep=self.sleep, clock=lambda: self.now)
        return Till(shop, store)


def _ok(value: Any) -> Answer:
    return Answer(200, {}, json.dumps(value).encode())


def failing(*numbers: str) -> Verdict:
    return lambda document: (
        {"outcome": "failed", "problem": AWAY} if document["document"] in numbers else None
    )


def refusing(number: str, **problem: Any) -> Verdict:
    return lambda document: (
        {"outcome": "refused", "problem": problem} if document["document"] == number else None
    )


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    file = tmp_path / "sales.csv"
    file.write_text("\n".join([HEADER, *ROWS, ""]))
    return read(file)


def record(shop: FakeShop, plan: Plan) -> Recorded:
    return shop.till().record(plan.documents, lambda _: None)


def test_documents_are_what_the_import_takes(plan: Plan) -> None:
    shop = FakeShop()
    record(shop, plan)
    sale, matched, refund = shop.documents.values()
    assert sale == {
        "kind": "sale", "store": "S1", "document": "1", "sold_at": "2010-07-01T23:30:00-04:00",
        "customer_reference": "17",
        "lines": [
            {"sku": "A", "quantity": 6, "unit_price_cents": 255},
            {"sku": "POST", "quantity": 1, "unit_price_cents": 1800, "charge": True, "name": "POSTAGE"},
        ],
    }  # fmt: skip
    assert (matched["document"], matched["original"]) == ("C2", "1")
    assert (refund["document"], "original" in refund, "customer_reference" in refund) == ("C3", False, False)
    bodies.ImportedSale.model_validate_json(json.dumps(sale))
    for back in (matched, refund):
        bodies.ImportedReturn.model_validate_json(json.dumps(back))


def test_goods_are_written_off_once_whatever_was_kept_of_the_request(plan: Plan) -> None:
    shop = FakeShop()
    record(shop, plan)
    shop.ledger.append({"reason": None})
    again = record(shop, plan)
    assert shop.ledger[0] == {
        "location": "S1", "reason": "imported: 4", "lines": [{"sku": "A", "quantity": 3}]
    }  # fmt: skip
    assert shop.keys == ["import:S1:write-off:4"]
    assert again.present["write_off"] == 1


def test_a_second_import_changes_nothing_and_says_so(plan: Plan) -> None:
    shop = FakeShop()
    first, second = record(shop, plan), record(shop, plan)
    assert (dict(first.created), dict(first.present)) == ({"sale": 1, "return": 2, "write_off": 1}, {})
    assert (dict(second.created), dict(second.present)) == ({}, {"sale": 1, "return": 2, "write_off": 1})
    assert first.amount_cents == second.amount_cents == plan.amount_cents
    assert "Nothing changed: all 4 documents were there." in list(summarize(plan, second))


def test_what_failed_is_sent_again_with_all_that_comes_after_it(plan: Plan) -> None:
    def depends(document: dict[str, Any]) -> dict[str, Any] | None:
        if document["document"] == "C2":
            return {"outcome": "refused", "problem": {"detail": "The original has not been imported."}}
        return failing("1")(document)

    shop = FakeShop(depends)
    recorded = record(shop, plan)
    assert not recorded.refused
    assert recorded.created.total() == 4, "what was recorded while another failed is new too"
    assert len(shop.waits) == 1


def test_no_time_is_waited_while_documents_are_done(plan: Plan) -> None:
    shop = FakeShop(failing("C2", "C3"), failing("C3"))
    assert record(shop, plan).created.total() == 4
    assert shop.waits == []


def test_an_import_that_comes_no_further_is_given_up(plan: Plan) -> None:
    shop = FakeShop(*[failing("1")] * 1000)
    with pytest.raises(UploadError, match=r"Stock cannot be reached; gave up after 180 s"):
        record(shop, plan)


def test_refused_rows_are_named_with_reason_and_amount(plan: Plan) -> None:
    fault = {"field": "lines.0.sku", "message": "6 wanted, 1 available"}
    shop = FakeShop(refusing("1", detail="There is not enough stock.", errors=[fault, fault]))
    shop.write_off_status = 409
    recorded = record(shop, plan)
    reason = "There is not enough stock (lines.0.sku: 6 wanted, 1 available and 1 more)"
    said = list(summarize(plan, recorded))
    assert f"          2  refused by the shop: {reason}, 3,330 cents" in said
    assert f"not recorded: line 2, 1 A, 1,530 cents: {reason}" in said
    assert f"not recorded: line 3, 1 POST, 1,800 cents: {reason}" in said
    assert "not recorded: line 6, 4 A, 0 cents: There is not enough stock" in said
    assert "In the shop: -455 cents, the file's net less 3,330 cents not recorded." in said


def test_an_unknown_store_is_told_before_anything_is_sent(plan: Plan) -> None:
    shop = FakeShop()
    with pytest.raises(UploadError, match="no store S9"):
        shop.till("S9").record(plan.documents, lambda _: None)
    assert not shop.documents


def test_a_file_without_the_columns_of_sales_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "catalogue.csv"
    file.write_text("StockCode,Description,UnitPrice,Quantity\nA,LANTERN,1,1\n")
    with pytest.raises(UnusableFileError, match="no column InvoiceNo or InvoiceDate"):
        read(file)


def test_requests_stay_within_what_sales_takes(plan: Plan) -> None:
    sale = plan.documents[0]
    long = Document("sale", "2", sale.moment, "", sale.entries[:1] * LINES_PER_DOCUMENT)
    batches = list(in_batches([*[sale] * (DOCUMENTS_PER_REQUEST + 1), *[long] * 3]))
    assert [len(batch) for batch in batches] == [DOCUMENTS_PER_REQUEST, 2, 2]
    assert max(sum(len(one.entries) for one in batch) for batch in batches) <= LINES_PER_REQUEST
    assert LINES_PER_REQUEST <= bodies.LINES_PER_IMPORT
    assert DOCUMENTS_PER_REQUEST <= bodies.DOCUMENTS_PER_IMPORT
