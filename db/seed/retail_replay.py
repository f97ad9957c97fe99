"""Record a file's sales, returns and write-offs through the shop's public HTTP API, in the order of their time.

The APIs are the import of the sales function and the write-offs of inventory (their README.md). Every request may be
sent again: a document is known by its number, a write-off by the reason in the ledger, which names its invoice.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from db.seed.catalogue import PATIENCE_SECONDS, Catalogue, ShopConnection, UploadError, explain
from db.seed.environment import SeedEnvironment
from db.seed.progress import Progress
from db.seed.retail_catalogue import read_catalogue
from db.seed.retail_file import RetailFile
from db.seed.retail_lines import Entry, LeftOut
from db.seed.retail_sales import COLUMNS, Document, Plan, plan_sales
from db.seed.token import TokenRequest, mint

IMPORT_PATH = "/api/sales/import"
LOCATIONS_PATH = "/api/inventory/locations"
WRITE_OFFS_PATH = "/api/inventory/write-offs"
MOVEMENTS_PATH = "/api/inventory/movements"
DOCUMENTS_PER_REQUEST = 50
LINES_PER_REQUEST = 1000
"""Half of what sales takes at once at most; a request is a second's work."""
MOVEMENTS_PER_PAGE = 200
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 10.0


@dataclass
class Recorded:
    """What the shop did: documents by kind that it recorded now or had before, and lines that it refuses."""

    created: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    amount_cents: int = 0
    refused: list[LeftOut] = field(default_factory=list)
    line_count: int = 0
    seconds: float = 0.0

    def count(self, document: Document, outcome: str) -> None:
        (self.created if outcome == "created" else self.present)[document.kind] += 1
        self.amount_cents += document.amount_cents
        self.line_count += len(document.entries)

    def refuse(self, document: Document, reason: str) -> None:
        self.refused += [
            LeftOut(entry.number, document.number, entry.sku, Decimal(entry.amount_cents), reason)
            for entry in document.entries
        ]
        self.line_count += len(document.entries)


@dataclass(frozen=True)
class Till:
    """One store of the shop, as an import sees it."""

    shop: Catalogue
    store: str

    def record(self, documents: Sequence[Document], progress: Callable[[int], None]) -> Recorded:
        """Have all documents recorded, telling `progress` how many lines are done. Raises UploadError."""
        began = self.shop.clock()
        recorded = Recorded()
        zone = self._time_zone()
        for batch in in_batches(document for document in documents if document.kind != "write_off"):
            self._record_batch(batch, zone, recorded)
            progress(recorded.line_count)
        present = self._written_off()
        for document in documents:
            if document.kind == "write_off":
                self._write_off(document, present, recorded)
                progress(recorded.line_count)
        recorded.seconds = self.shop.clock() - began
        return recorded

    def _time_zone(self) -> ZoneInfo:
        answer = self.shop.request("GET", LOCATIONS_PATH)
        if answer.status != 200:
            raise UploadError(explain(answer, "inventory"))
        for row in answer.json()["items"]:
            if row["location"] == self.store and row["kind"] == "store":
                return ZoneInfo(row["time_zone"])
        raise UploadError(f"the chain has no store {self.store}")

    def _record_batch(self, batch: Sequence[Document], zone: ZoneInfo, recorded: Recorded) -> None:
        """Send documents until each is recorded or refused.

        What comes after one that failed for a while is sent again with it, since it may depend on it.
        """
        created: set[tuple[str, str]] = set()
        deadline, wait = self.shop.clock() + PATIENCE_SECONDS, _FIRST_WAIT_SECONDS
        while batch:
            items = self._import(batch, zone)
            done = next(
                (place for place, item in enumerate(items) if item["outcome"] == "failed"), len(items)
            )
            created |= {
                (document.kind, document.number)
                for document, item in zip(batch, items, strict=True)
                if item["outcome"] == "created"
            }
            for document, item in zip(batch[:done], items[:done], strict=True):
                if item["outcome"] == "refused":
                    recorded.refuse(document, _reason(item["problem"]))
                else:
                    now = (document.kind, document.number) in created
                    recorded.count(document, "created" if now else "present")
            if done:
                deadline, wait = self.shop.clock() + PATIENCE_SECONDS, _FIRST_WAIT_SECONDS
            elif self.shop.clock() + wait > deadline:
                raise UploadError(f"{_reason(items[0]['problem'])}; gave up after {PATIENCE_SECONDS:.0f} s")
            else:
                self.shop.say(f"{_reason(items[0]['problem'])}; trying again in {wait:.1f} s")
                self.shop.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
            batch = batch[done:]

    def _import(self, batch: Sequence[Document], zone: ZoneInfo) -> list[dict[str, Any]]:
        body = {"documents": [to_document(document, self.store, zone) for document in batch]}
        answer = self.shop.request("POST", IMPORT_PATH, body)
        items: list[dict[str, Any]] = answer.json().get("items", []) if answer.status == 200 else []
        if len(items) != len(batch):
            raise UploadError(explain(answer, "sales"))
        return items

    def _written_off(self) -> set[str]:
        """The reasons of all write-offs in the ledger of the store: keys of requests are kept for a day only."""
        reasons: set[str] = set()
        after = None
        while True:
            query = {"location": self.store, "kind": "write_off", "limit": MOVEMENTS_PER_PAGE}
            query |= {"after": after} if after else {}
            answer = self.shop.request("GET", f"{MOVEMENTS_PATH}?{urlencode(query)}")
            if answer.status != 200:
                raise UploadError(explain(answer, "inventory"))
            page = answer.json()
            reasons |= {row["reason"] for row in page["items"] if row["reason"]}
            after = page["next"]
            if not after:
                return reasons

    def _write_off(self, document: Document, present: set[str], recorded: Recorded) -> None:
        reason = f"imported: {document.number}"
        if reason in present:
            recorded.count(document, "present")
            return
        lines = [{"sku": entry.sku, "quantity": entry.quantity} for entry in document.entries]
        body = {"location": self.store, "reason": reason, "lines": lines}
        key = f"import:{self.store}:write-off:{document.number}"
        answer = self.shop.request("POST", WRITE_OFFS_PATH, body, key=key)
        if answer.status == 201:
            recorded.count(document, "created")
        elif answer.status in {409, 422}:
            recorded.refuse(document, _reason(answer.json()))
        else:
            raise UploadError(explain(answer, "inventory"))


def in_batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents in their order, as many at a time as a request takes."""
    batch: list[Document] = []
    lines = 0
    for document in documents:
        if batch and (
            len(batch) == DOCUMENTS_PER_REQUEST or lines + len(document.entries) > LINES_PER_REQUEST
        ):
            yield batch
            batch, lines = [], 0
        batch.append(document)
        lines += len(document.entries)
    if batch:
        yield batch


def to_document(document: Document, store: str, zone: ZoneInfo) -> dict[str, Any]:
    """A sale or return in the fields of the import."""
    fields: dict[str, Any] = {
        "kind": document.kind,
        "store": store,
        "document": document.number,
        "lines": [_to_line(entry) for entry in document.entries],
    }
    fields["sold_at" if document.kind == "sale" else "returned_at"] = _instant(document.moment, zone)
    if document.customer:
        fields["customer_reference"] = document.customer
    if document.original is not None:
        fields["original"] = document.original
    return fields


def _to_line(entry: Entry) -> dict[str, Any]:
    line: dict[str, Any] = {
        "sku": entry.sku,
        "quantity": entry.quantity,
        "unit_price_cents": entry.unit_price_cents,
    }
    return line | {"charge": True, "name": entry.name} if entry.charge else line


def _instant(moment: datetime, zone: ZoneInfo) -> str:
    """The file has the time of the store's clock."""
    return moment.replace(tzinfo=zone).isoformat()


def _reason(problem: Mapping[str, Any]) -> str:
    """One line on a problem document, with the first of its faults."""
    detail = str(problem.get("detail") or problem.get("code") or "refused").rstrip(".")
    faults = problem.get("errors") or []
    if not faults:
        return detail
    more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
    return f"{detail} ({faults[0].get('field')}: {faults[0].get('message')}{more})"


def read(path: Path) -> Plan:
    """The documents of a file. Raises UnusableFileError when it has no sales."""
    file = RetailFile.open(path)
    file.require(COLUMNS)
    goods = {product.sku for product in read_catalogue(file.lines()).products}
    return plan_sales(file.lines(), goods)


def upload(plan: Plan, environment: SeedEnvironment, store: str) -> Recorded:
    """Record the documents in the shop. Raises UploadError or KeyFileError."""
    progress = Progress("sales", sum(len(document.entries) for document in plan.documents), sys.stderr)
    request = TokenRequest(roles=("hq",), subject="import")
    with closing(ShopConnection(environment.edge_url)) as send:
        shop = Catalogue(send, progress.say, lambda: mint(request, environment.secrets, time.time()))
        shop.check()
        return Till(shop, store).record(plan.documents, progress)
