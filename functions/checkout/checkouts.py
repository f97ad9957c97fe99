"""A checkout as its steps see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from .domain import Facts

State = Literal["open", "undoing", "complete", "refused"]


@dataclass(frozen=True)
class Checkout:
    """A checkout that is worked on; `step` is being done (open) or taken back (undoing)."""

    checkout_id: str
    customer_id: str
    request_id: str
    state: State
    step: str
    cart_version: int
    agreed_cents: int
    location: str
    address: Mapping[str, Any] | None
    card_token: str | None
    facts: Facts
    overdue: bool

    @property
    def settled(self) -> bool:
        return self.state in {"complete", "refused"}

    def at(self, step: str, state: State = "open", learnt: Facts | None = None) -> Checkout:
        """The same, somewhere else and knowing more."""
        return replace(self, step=step, state=state, facts={**self.facts, **(learnt or {})})
