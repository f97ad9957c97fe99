"""The Api on which handler.py, sessions.py, addresses.py, staff.py and erasing.py declare their routes."""

from __future__ import annotations

from functions.shared import Api, Conflict

ALL = ("customer", "hq", "staff")
"""Whoever signs in."""
STAFF = ("hq", "staff")
PRIVATE = {"Cache-Control": "private, no-store"}
"""On every answer that says something of a person, or is a token."""

api = Api(
    "customers",
    title="Customers",
    migration="0007",
    warm_up=["/me"],
    refusals={
        "accounts_email_key_key": Conflict(
            "There is an account with this e-mail address.",
            code="email_taken",
            errors=[{"field": "email", "message": "is taken"}],
        ),
    },
)
