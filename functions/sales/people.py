"""Who acts where: staff at their own store, hq at any."""

from __future__ import annotations

from flask import current_app

from functions.shared import (
    Conflict,
    Connection,
    Forbidden,
    Invalid,
    NotFound,
    Unavailable,
    identity,
)

from . import register_store
from .domain import Rules
from .stock import Store, stores

CLERKS = ("staff", "hq")
READERS = ("staff", "hq", "service")
WIDE = ("hq", "service")


def rules() -> Rules:
    """What the running function's settings say of sales."""
    found: Rules = current_app.extensions["rules"]
    return found


def in_flight() -> Conflict:
    """The refusal of a request that is being worked on."""
    return Conflict(
        "This is being worked on; ask again for its answer.",
        code="idempotency_key_in_flight",
        headers={"Retry-After": "1"},
    )


def unfinished(kind: str) -> Unavailable:
    """A void or return that is recorded and cannot be finished now."""
    return Unavailable(
        f"Stock cannot be reached right now. The {kind} is recorded and will be finished by itself; "
        "repeat the request with the same key for its answer, and pay nothing back before.",
        code=f"{kind}_unfinished",
    )


def acting_store(named: str | None) -> Store:
    """The store that the request acts in. Raises Forbidden for another one than the token's."""
    who = identity()
    check_store(named)
    code = named or who.store
    if code is None:
        raise Invalid(
            "Name the store.", code="store_missing", errors=[{"field": "store", "message": "is required"}]
        )
    return stores().find(code)


def check_store(store: str | None) -> None:
    """Raise Forbidden when the token is for another store."""
    who = identity()
    if store is not None and not who.has_any(WIDE) and store != who.store:
        raise Forbidden("This token is for another store.", code="other_store")


def visible_store(named: str | None) -> str | None:
    """The store that a list is limited to: staff see their own only."""
    who = identity()
    check_store(named)
    return named if who.has_any(WIDE) else who.store or ""


def open_session(connection: Connection, store: str, register: str) -> int:
    """The session of an open register, which stays open until the transaction ends."""
    session_id = register_store.find_open(connection, store, register)
    if session_id is None:
        raise register_closed(register)
    return session_id


def register_closed(register: str) -> Conflict:
    return Conflict(
        f"Register {register} is not open.",
        code="register_closed",
        errors=[{"field": "register", "message": "open it first"}],
    )


def sale_not_found() -> NotFound:
    return NotFound("There is no such sale.", code="sale_not_found")
