"""The Api on which handler.py and registers.py declare their routes, and what the tables refuse."""

from __future__ import annotations

from functions.shared import Api, Conflict

api = Api(
    "sales",
    title="Sales",
    migration="0005",
    warm_up=["/?limit=1"],
    refusals={
        "register_sessions_open": Conflict(
            "The register is open already.",
            code="register_open",
            errors=[{"field": "register", "message": "close it first"}],
        ),
        "gift_cards_code_key": Conflict(
            "Another gift card has this code.",
            code="gift_card_taken",
            errors=[{"field": "code", "message": "is the code of another card"}],
        ),
        "sale_lines_returned_quantity_check": Conflict(
            "More would come back than was sold.", code="more_than_sold"
        ),
    },
)
