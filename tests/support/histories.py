"""Checks what many clients were answered against what a cart would do if they had come one after the other.

Every answer to a change shows the whole cart right after it, and its version. So the answers of one cart, put in the
order of their versions, must be a history in which each change does to the cart before it exactly what it says:
two answers with one version mean that a change was lost, a missing version that one was made which nobody asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Quantities = Mapping[str, int]
Kind = Literal["add", "set", "remove", "clear", "merge", "read", "touch"]
"""A touch changed nothing, and may or may not have counted as a change."""


@dataclass(frozen=True)
class Answered:
    """One request and its answer."""

    kind: Kind
    cart_id: str
    version: int
    after: Quantities
    """The cart as it was shown in the answer."""
    sku: str = ""
    quantity: int = 0
    brought: Quantities = field(default_factory=dict)
    """What the merged cart held."""
    key: str | None = None
    """The Idempotency-Key: answers to one key are one change."""

    def apply(self, before: Quantities) -> dict[str, int]:
        """The cart that this change makes of `before`."""
        held = dict(before)
        if self.kind == "add":
            held[self.sku] = held.get(self.sku, 0) + self.quantity
        elif self.kind == "set":
            held[self.sku] = self.quantity
        elif self.kind == "remove":
            held.pop(self.sku, None)
        elif self.kind == "clear":
            held.clear()
        elif self.kind == "merge":
            for sku, quantity in self.brought.items():
                held[sku] = held.get(sku, 0) + quantity
        return held


def faults(answers: Iterable[Answered]) -> list[str]:
    """What no order of the changes explains; empty when nothing was lost and nothing doubled."""
    carts: dict[str, list[Answered]] = defaultdict(list)
    for answer in answers:
        carts[answer.cart_id].append(answer)
    return [fault for cart_id, given in carts.items() for fault in _faults_of_cart(cart_id, given)]


def _faults_of_cart(cart_id: str, answers: list[Answered]) -> list[str]:
    changes, found = _changes_by_version(
        [answer for answer in answers if answer.kind not in ("read", "touch")]
    )
    touches = {answer.version: answer for answer in answers if answer.kind == "touch"}
    states: dict[int, Quantities] = {0: {}}
    for version in range(1, max([*changes, *touches], default=0) + 1):
        change = changes.get(version) or touches.get(version)
        if change is None:
            found.append(f"version {version} is nobody's change")
            break
        expected = change.apply(states[version - 1])
        if dict(change.after) != expected:
            found.append(f"version {version}: {change.kind} made {dict(change.after)}, not {expected}")
            break
        states[version] = expected
    found += [
        f"version {answer.version} was read as {dict(answer.after)}"
        for answer in answers
        if answer.kind in ("read", "touch")
        and dict(states.get(answer.version, answer.after)) != dict(answer.after)
    ]
    return [f"cart {cart_id}: {fault}" for fault in found]


def _changes_by_version(changes: list[Answered]) -> tuple[dict[int, Answered], list[str]]:
    by_version: dict[int, Answered] = {}
    by_key: dict[str, Answered] = {}
    found = []
    for change in changes:
        if change.key is not None and by_key.setdefault(change.key, change) != change:
            found.append(f"key {change.key} got two answers")
        other = by_version.get(change.version, change)
        if other is not change and (change.key is None or other.key != change.key):
            found.append(f"two changes made version {change.version}: one is lost")
        by_version[change.version] = change
    return by_version, found
