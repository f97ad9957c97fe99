"""A checkout from one end to the other: what each step does, how its outcome is asked again, and how it is taken back.

Every effect is named by the checkout's id, so asking again never does it twice; taking back what never happened
forbids it. Once money is captured there is no way back, so the steps after it cannot be refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import effects
from .checkouts import Checkout
from .domain import Facts


@dataclass(frozen=True)
class Step:
    name: str
    callee: str
    """The function that is asked to do it, and to take it back."""
    act: Callable[[Checkout], Facts]
    """Does it, or finds that it was done; what was learnt. Raises Refused when it is decided against."""
    again: str
    """How an outcome that is not known is asked for."""
    undo: Callable[[Checkout], None] | None = None
    lasting: bool = False
    """Whether the record that it begins waits for the disk: from here on something cannot simply be asked again."""


SAGA = (
    Step("freeze", "cart", effects.freeze_cart, "same call: cart knows the checkout", effects.release_cart, True),
    Step("price", "products", effects.price_items, "same call: it only reads"),
    Step("reserve", "inventory", effects.reserve_stock, "same call: the id is the checkout's", effects.put_stock_back),
    Step("order", "orders", effects.create_order, "same call: one order a checkout", effects.abandon_order, True),
    Step("authorise", "payments", effects.authorise, "same call: one payment a reference", effects.void_payment),
    Step("commit", "inventory", effects.commit_stock, "same call: it is committed once"),
    Step("capture", "payments", effects.capture, "same call: it is captured once"),
    Step("mark_paid", "orders", effects.mark_paid, "same call: it is paid once"),
    Step("clear", "cart", effects.clear_cart, "same call: it is cleared once"),
)  # fmt: skip

NAMES = tuple(step.name for step in SAGA)
LAST_WITH_CARD = NAMES.index("authorise")
PIVOT = NAMES.index("capture")
"""Until this is done everything can be taken back; afterwards nothing."""


def step(name: str) -> Step:
    return SAGA[NAMES.index(name)]


def after(name: str) -> Step | None:
    """The step that follows; None after the last."""
    place = NAMES.index(name) + 1
    return SAGA[place] if place < len(SAGA) else None


def undoable_from(place: int) -> Step | None:
    """The nearest step to take back, at `place` or before; None when there is none."""
    return next((step for step in reversed(SAGA[: place + 1]) if step.undo), None)


def to_undo_at(name: str) -> Step:
    """Where to begin taking back when this step is as far as it got: itself too, as it may have been done unseen."""
    found = undoable_from(NAMES.index(name))
    assert found is not None, "the first step can be taken back"
    return found


def to_undo_before(name: str) -> Step | None:
    """The next step to take back after this one."""
    return undoable_from(NAMES.index(name) - 1) if name != NAMES[0] else None


def needs_card(name: str) -> bool:
    return NAMES.index(name) <= LAST_WITH_CARD


def can_turn_back(name: str) -> bool:
    return NAMES.index(name) <= PIVOT


def points() -> list[str]:
    """Where a process can be made to crash (functions/shared/crash.py), in the order in which it passes them."""
    forward = [step.name for step in SAGA]
    back = [f"undo-{step.name}" for step in reversed(SAGA) if step.undo]
    around = [f"checkout.{name}.{when}" for name in (*forward, *back) for when in MOMENTS]
    return ["checkout.begin.before", "checkout.begin.stored", *around, *REFUSAL]


MOMENTS = ("before", "effect", "stored")
"""Its beginning is stored and nothing is done; it is done; that is stored."""
REFUSAL = ("checkout.refuse.before", "checkout.refuse.stored")
