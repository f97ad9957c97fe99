"""Stock as inventory keeps it: what leaves with a sale, and where the stores are."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import current_app

from functions.shared import Conflict, Invalid, Problem, current
from functions.shared.stock import (
    Goods,
    Locations,
    StockLacking,
    StockRefused,
    book_in,
    lines_of,
    post,
    read_answer,
    read_decision,
    stock_unavailable,
)

__all__ = [
    "Goods",
    "StockLacking",
    "StockRefused",
    "Store",
    "Stores",
    "book_in",
    "has_left",
    "issue",
    "refusal",
    "stores",
    "undo_issue",
]

_log = logging.getLogger("magasin")


@dataclass(frozen=True)
class Store:
    code: str
    time_zone: str


class Stores:
    """The stores of the chain, as inventory lists them; those known last while it cannot be reached."""

    def __init__(self) -> None:
        self._locations = Locations()

    def find(self, code: str) -> Store:
        """Raises Invalid when there is no such store, Unavailable when that cannot be known."""
        found = self._locations.find(code)
        if found is None or found.kind != "store":
            raise Invalid(
                f"There is no store {code}.",
                code="unknown_store",
                errors=[{"field": "store", "message": "is not a store of the chain"}],
            )
        return Store(found.code, found.time_zone)


def stores() -> Stores:
    """The stores that the running function knows."""
    found: Stores = current_app.extensions["stores"]
    return found


def issue(store: str, reference: str, goods: Goods) -> None:
    """Let the goods leave the store, once for this reference.

    Raises StockLacking or StockRefused when nothing has left and nothing will,
    Unavailable or UpstreamTimeout when that is not known.
    """
    body = {"location": store, "reference": reference, "lines": lines_of(goods), "reason": "sale"}
    _require_state(read_decision(post("/issues", body)), "issued")


def has_left(reference: str) -> bool:
    """Whether the goods of this reference are out of the store now."""
    response = current().client.get("inventory", f"/issues/{reference}")
    return response.status_code != 404 and read_answer(response).get("state") == "issued"


def undo_issue(reference: str) -> None:
    """Have the goods in the store, and never leave again under this reference."""
    _require_state(read_answer(post(f"/issues/{reference}/undo", None)), "undone")


def _require_state(issue: Mapping[str, Any], state: str) -> None:
    if issue.get("state") != state:
        _log.error("inventory answered an issue that is not %s: %.300s", state, issue)
        raise stock_unavailable()


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
