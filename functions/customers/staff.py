"""Accounts as those who work here see them: staff see customers, hq everyone."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from functions.shared import (
    Answer,
    Identity,
    Invalid,
    NotFound,
    Row,
    bad_cursor,
    current,
    decode_cursor,
    encode_cursor,
    page,
)

from . import emails, passwords, session_store, store
from .bodies import AccountQuery, NewStaff
from .people import acting_staff, is_uuid, password_turn, shown, signed_in
from .routes import ALL, PRIVATE, STAFF, api
from .views import AccountPage, AccountView

WORDS = 4
"""So many words of a search count; more narrow nothing down any further."""


@api.post("/staff", body=NewStaff, answers={201: AccountView}, roles=["hq"], problems=[401, 409, 422, 503])
def add_staff(body: NewStaff) -> Answer:
    """Make an account for someone who works here: staff of one store, or hq."""
    acting_staff()
    if (body.role == "staff") != (body.store is not None):
        message = "is needed with the role staff, and only then"
        raise Invalid(code="bad_store", errors=[{"field": "store", "message": message}])
    email = emails.parse(body.email)
    password = passwords.check(body.password, (body.name, email.key))
    with password_turn() as turn:
        password_hash = turn.hash(password)
    values = {
        "role": body.role, "store": body.store, "name": body.name,
        "email": email.shown, "email_key": email.key, "password_hash": password_hash,
    }  # fmt: skip
    with current().database.transaction() as connection:
        return shown(store.add_staff(connection, values), 201)


@api.get("/", query=AccountQuery, answers={200: AccountPage}, roles=STAFF, problems=[400, 503])
def list_accounts(query: AccountQuery) -> Answer:
    """List and search accounts by name; staff see customers only. Those that are erased are in no list."""
    who = acting_staff()
    role = _visible_role(who)
    if role is not None and query.role not in {None, role}:
        return Answer({"items": [], "next": None}, headers=PRIVATE)
    name, customer_id = decode_cursor(query.after, str, str) if query.after else (None, None)
    if customer_id is not None and not is_uuid(customer_id):
        raise bad_cursor()
    words = (query.q or "").split()[:WORDS]
    filters = {
        "role": role or query.role,
        "store": query.store,
        "active": query.active,
        "words": words + [None] * (WORDS - len(words)),
        "after_name": name,
        "after_id": customer_id,
        "limit": query.limit + 1,
    }
    rows = current().database.read(store.list_accounts, filters)
    found = page(rows, query.limit, lambda row: encode_cursor(row["sort_name"], row["customer_id"]))
    return Answer({**found, "items": [_show(row) for row in found["items"]]}, headers=PRIVATE)


def _show(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "sort_name"}


@api.get("/<uuid:customer_id>", answers={200: AccountView}, roles=STAFF, problems=[404, 503])
def read_account(customer_id: UUID) -> Answer:
    """One account; staff see customers only."""
    row = current().database.read(store.account, str(customer_id), _visible_role(acting_staff()))
    return shown(_found(row))


@api.post("/<uuid:customer_id>/deactivate", answers={200: AccountView}, roles=STAFF, problems=[404, 503])
def deactivate(customer_id: UUID) -> Answer:
    """Deactivate an account: signing in and refreshing are refused from now on. Twice is as good as once."""
    who = acting_staff()
    return _deactivated(str(customer_id), _visible_role(who), who.subject)


@api.post("/me/deactivate", answers={200: AccountView}, roles=ALL, problems=[503])
def deactivate_oneself() -> Answer:
    """Deactivate one's own account; staff can activate it again."""
    _, account = signed_in()
    return _deactivated(account["customer_id"], None, account["customer_id"])


def _deactivated(customer_id: str, role: str | None, who: str) -> Answer:
    with current().database.transaction() as connection:
        _found(store.account(connection, customer_id, role))
        row = _found(store.deactivate(connection, customer_id, who))
        session_store.end_sessions(connection, customer_id, "deactivation")
    return shown(row)


@api.post("/<uuid:customer_id>/activate", answers={200: AccountView}, roles=STAFF, problems=[404, 503])
def activate(customer_id: UUID) -> Answer:
    """Let an account be signed in to again; its old sessions stay ended."""
    role = _visible_role(acting_staff())
    with current().database.transaction() as connection:
        _found(store.account(connection, str(customer_id), role))
        return shown(_found(store.activate(connection, str(customer_id))))


def _visible_role(who: Identity) -> str | None:
    return None if who.has_any(["hq"]) else "customer"


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound("There is no such account.", code="account_not_found")
    return row
