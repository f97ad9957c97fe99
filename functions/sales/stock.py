"""Stock as inventory keeps it: what leaves with a sale, what comes back, and where the stores are."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import current_app
from requests import Response

from functions.shared import Conflict, Invalid, Problem, Unavailable, UpstreamTimeout, current

LOCATIONS_SECONDS = 300.0
"""Locations hardly ever change; they are asked for again after this long."""
PASSING_CODES = frozenset(
    {
        "idempotency_key_in_flight",
        "issue_undone",
        "unauthorized",
        "forbidden",
        "token_invalid",
        "token_expired",
    }
)
"""Refusals that say nothing about how much there is; an issue that is undone belongs to a sale that was given up."""

_log = logging.getLogger("magasin")

Goods = Sequence[tuple[str, int]]
"""SKU and quantity of each line that moves stock."""


@dataclass(frozen=True)
class Store:
    code: str
    name: str
    time_zone: str


class Stores:
    """The stores of the chain, as inventory lists them; those known last while it cannot be reached."""

    def __init__(self) -> None:
        self._stores: dict[str, Store] = {}
        self._good_until = 0.0

    def find(self, code: str) -> Store:
        """Raises Invalid when there is no such store, Unavailable when that cannot be known."""
        if time.monotonic() >= self._good_until or code not in self._stores:
            self._refresh(code)
        store = self._stores.get(code)
        if store is None:
            raise Invalid(
                f"There is no store {code}.",
                code="unknown_store",
                errors=[{"field": "store", "message": "is not a store of the chain"}],
            )
        return store

    def _refresh(self, code: str) -> None:
        try:
            rows = _answer(current().client.get("inventory", "/locations"))["items"]
            self._stores = {
                row["location"]: Store(row["location"], row["name"], row["time_zone"])
                for row in rows
                if row["kind"] == "store"
            }
            self._good_until = time.monotonic() + LOCATIONS_SECONDS
        except (Unavailable, UpstreamTimeout):
            if code not in self._stores:
                raise
        except (ValueError, KeyError, TypeError) as error:
            _log.exception("inventory answered something that is not its locations")
            raise Unavailable from error


def stores() -> Stores:
    """The stores that the running function knows."""
    found: Stores = current_app.extensions["stores"]
    return found


class StockLacking(Exception):
    """Inventory has less than what is wanted; `lacking` has `sku`, `requested` and `available` of each."""

    def __init__(self, lacking: Sequence[Mapping[str, Any]]) -> None:
        super().__init__("stock is lacking")
        self.lacking = lacking


class StockRefused(Exception):
    """Inventory has decided against it for another reason; nothing has moved."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def issue(store: str, reference: str, goods: Goods) -> None:
    """Let the goods leave the store, once for this reference.

    Raises StockLacking or StockRefused when nothing has left and nothing will,
    Unavailable or UpstreamTimeout when that is not known.
    """
    body = {"location": store, "reference": reference, "lines": _lines(goods), "reason": "sale"}
    _require_state(_decided(_post("/issues", body)), "issued")


def has_left(reference: str) -> bool:
    """Whether the goods of this reference are out of the store now."""
    response = current().client.get("inventory", f"/issues/{reference}")
    return response.status_code != 404 and _answer(response).get("state") == "issued"


def undo_issue(reference: str) -> None:
    """Have the goods in the store, and never leave again under this reference."""
    _require_state(_answer(_post(f"/issues/{reference}/undo", None)), "undone")


def take_back(store: str, reference: str, goods: Goods, *, restock: bool) -> None:
    """Book goods in, once for this reference; with `restock` false they are written off at once. Raises as `issue`."""
    body = {"location": store, "reference": reference, "lines": _lines(goods), "restock": restock}
    _decided(_post("/returns", body))


def _lines(goods: Goods) -> list[dict[str, Any]]:
    """Lines with the same SKU together, so that a long bill stays within inventory's limit on lines."""
    quantities: dict[str, int] = {}
    for sku, quantity in goods:
        quantities[sku] = quantities.get(sku, 0) + quantity
    return [{"sku": sku, "quantity": quantity} for sku, quantity in quantities.items()]


def _post(path: str, body: Any) -> Response:
    """A call under a key of its own: the reference makes it safe to repeat, and a stored answer may be out of date."""
    key = str(uuid.uuid4())
    return current().client.call("POST", "inventory", path, json=body, idempotency_key=key)


def _require_state(issue: Mapping[str, Any], state: str) -> None:
    if issue.get("state") != state:
        _log.error("inventory answered an issue that is not %s: %.300s", state, issue)
        raise Unavailable(_AWAY, code="stock_unavailable")


def _answer(response: Response) -> dict[str, Any]:
    """The body of a success; anything else means that inventory cannot be used now."""
    try:
        body = response.json() if response.status_code in {200, 201} else None
    except ValueError:
        body = None
    if not isinstance(body, dict):
        _log.error("inventory answered %s: %.300s", response.status_code, response.text)
        raise Unavailable(_AWAY, code="stock_unavailable")
    return body


def _decided(response: Response) -> dict[str, Any]:
    if response.status_code not in {409, 422}:
        return _answer(response)
    try:
        problem = response.json()
        code, detail = str(problem["code"]), str(problem["detail"])
        lacking = [
            {name: row[name] for name in ("sku", "requested", "available")}
            for row in problem.get("lacking", ())
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(_AWAY, code="stock_unavailable") from error
    if code in PASSING_CODES:
        raise Unavailable(_AWAY, code="stock_unavailable")
    if lacking:
        raise StockLacking(lacking)
    raise StockRefused(code, detail)


_AWAY = "Stock cannot be reached right now; try again shortly."


def refusal(refused: StockLacking | StockRefused, faults: Sequence[Mapping[str, str]]) -> Problem:
    """The answer to who wanted to sell; `faults` names the lines that lack stock."""
    if isinstance(refused, StockLacking):
        return Conflict(
            "There is not enough stock.",
            code="insufficient_stock",
            errors=faults,
            members={"lacking": refused.lacking},
        )
    return Conflict(f"Stock was refused: {refused.detail}", code="stock_refused")
