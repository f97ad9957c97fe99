"""The Api on which handler.py and routes_checkout.py declare their routes, and the rules that hold for all carts."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app

from functions.shared import Api, Conflict, Invalid
from functions.shared.taxes import TaxRates

from .domain import Limits
from .views import LARGEST_QUANTITY


def in_checkout() -> Conflict:
    """The refusal of a change to a cart that a checkout holds."""
    return Conflict(
        "The cart is being checked out; it can be changed once that is done.", code="cart_in_checkout"
    )


api = Api(
    "cart",
    title="Carts",
    migration="0011",
    warm_up=["/"],
    refusals={
        "items_quantity_check": Invalid(
            "The quantity would be too large.",
            code="quantity_limit",
            errors=[{"field": "quantity", "message": f"must not become more than {LARGEST_QUANTITY}"}],
        ),
        "items_frozen_check": in_checkout(),
    },
)


@dataclass(frozen=True)
class Rules:
    """What the settings say of every cart."""

    currency: str
    taxes: TaxRates
    limits: Limits
    visitor_ttl_seconds: int
    customer_ttl_seconds: int


def rules() -> Rules:
    """The rules of the running function."""
    found: Rules = current_app.extensions["rules"]
    return found
