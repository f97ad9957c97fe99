"""What orders decides without a database or a network: the steps that an order may make, and whether its sums are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from functions.shared import Conflict, Invalid
from functions.shared.taxes import apportioned

STEPS: Mapping[str, frozenset[str]] = {
    "pending": frozenset({"paid", "cancelled"}),
    "paid": frozenset({"packed", "cancelled"}),
    "packed": frozenset({"shipped"}),
    "shipped": frozenset({"delivered", "returned"}),
    "delivered": frozenset({"returned"}),
    "cancelled": frozenset({"refunded"}),
    "returned": frozenset({"refunded"}),
    "refunded": frozenset(),
}
"""Status to those that may follow it; the table orders.transitions says the same, and a test holds them together."""

RETURNABLE = frozenset({"shipped", "delivered"})
"""Goods come back once they have left."""
CLOSED = frozenset({"cancelled", "delivered", "returned", "refunded"})
"""Nothing more is sent: the address is not needed."""


def check_step(status: str, wanted: str) -> None:
    """Raise Conflict unless an order may go from `status` to `wanted`."""
    if wanted not in STEPS[status]:
        raise wrong_status(status, f"cannot become {wanted}")


def check_returnable(status: str) -> None:
    """Raise Conflict unless goods of an order in this status may come back."""
    if status not in RETURNABLE:
        raise wrong_status(status, "has nothing out that could come back")


def check_cancellable(status: str, *, paid: bool) -> None:
    """Raise Conflict unless an order may be cancelled by who ordered or by the shop; one that is being is so already."""
    if status == "pending":
        raise Conflict(
            "The order is still being paid; cancel it once it is.",
            code="order_in_checkout",
            headers={"Retry-After": "1"},
        )
    if status == "cancelled" and not paid:
        raise wrong_status(status, "was never paid")
    if status != "cancelled":
        check_step(status, "cancelled")


def wrong_status(status: str, why: str) -> Conflict:
    """The refusal of what does not fit an order's status."""
    return Conflict(f"The order is {status} and {why}.", code="wrong_status")


@dataclass(frozen=True)
class Sums:
    """What an order says that it costs."""

    line_totals: tuple[int, ...]
    subtotal_cents: int
    tax_amounts: tuple[int, ...]
    tax_cents: int
    total_cents: int


def check_sums(sums: Sums) -> None:
    """Raise Invalid naming each sum that is not what its parts add up to."""
    expected = (
        ("subtotal_cents", sums.subtotal_cents, sum(sums.line_totals)),
        ("tax_cents", sums.tax_cents, sum(sums.tax_amounts)),
        ("total_cents", sums.total_cents, sums.subtotal_cents + sums.tax_cents),
    )
    faults = [
        {"field": field, "message": f"is {given}, and its parts add up to {whole}"}
        for field, given, whole in expected
        if given != whole
    ]
    if sums.tax_cents and not sums.subtotal_cents:
        faults.append({"field": "tax_cents", "message": "nothing is not taxed"})
    if faults:
        raise Invalid("The order does not add up.", code="wrong_sum", errors=faults)


def tax_parts(sums: Sums) -> list[list[int]]:
    """For each line its share of each tax; shares of all lines add up to the tax."""
    shares = [apportioned(amount, sums.line_totals) for amount in sums.tax_amounts]
    return [[share[place] for share in shares] for place in range(len(sums.line_totals))]


def captured_fault(captured_cents: int, total_cents: int) -> Sequence[Mapping[str, str]]:
    """What is wrong with the amount that was taken for an order; empty when it is the whole."""
    if captured_cents == total_cents:
        return ()
    return (
        {"field": "captured_cents", "message": f"is {captured_cents}, and the order costs {total_cents}"},
    )
