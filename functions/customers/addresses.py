"""Addresses of the one who asks: several, one of them the default. Someone else's is as good as none: 404."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from functions.shared import Answer, Conflict, Connection, NotFound, Row, current

from . import store
from .bodies import AddressBody
from .people import desk, ended, signed_in
from .routes import ALL, PRIVATE, api
from .views import AddressList, AddressView


@api.post("/me/addresses", body=AddressBody, answers={201: AddressView}, roles=ALL, problems=[409, 503])
def add_address(body: AddressBody) -> Answer:
    """Add an address; the first one is the default."""

    def add(connection: Connection, customer_id: str) -> str:
        if store.count_addresses(connection, customer_id) >= desk().limits.max_addresses:
            limit = desk().limits.max_addresses
            raise Conflict(f"There are {limit} addresses already; remove one first.", code="address_limit")
        address_id = store.add_address(connection, customer_id, body.model_dump())
        store.choose_default(connection, customer_id, address_id if body.default else None)
        return address_id

    return _changed(add, 201)


@api.get("/me/addresses", answers={200: AddressList}, roles=ALL, problems=[503])
def list_addresses() -> Answer:
    """All addresses, the default first."""
    _, account = signed_in()
    return Answer({"items": shown_addresses(account["customer_id"])}, headers=PRIVATE)


def shown_addresses(customer_id: str) -> list[dict[str, Any]]:
    return [_show(row) for row in current().database.read(store.addresses, customer_id)]


@api.get("/me/addresses/<uuid:address_id>", answers={200: AddressView}, roles=ALL, problems=[404, 503])
def read_address(address_id: UUID) -> Answer:
    """One address."""
    _, account = signed_in()
    row = current().database.read(store.address, account["customer_id"], str(address_id))
    return Answer(_show(row), headers=PRIVATE)


@api.put(
    "/me/addresses/<uuid:address_id>", body=AddressBody, answers={200: AddressView}, roles=ALL,
    problems=[404, 503],
)  # fmt: skip
def replace_address(address_id: UUID, body: AddressBody) -> Answer:
    """Replace an address. `default: false` leaves the default one as it is: there is always one."""

    def replace(connection: Connection, customer_id: str) -> str:
        if not store.change_address(connection, customer_id, str(address_id), body.model_dump()):
            raise _not_found()
        if body.default:
            store.choose_default(connection, customer_id, str(address_id))
        return str(address_id)

    return _changed(replace, 200)


@api.delete("/me/addresses/<uuid:address_id>", answers={204: None}, roles=ALL, problems=[404, 503])
def remove_address(address_id: UUID) -> Answer:
    """Remove an address; was it the default, the one added last becomes it."""

    def remove(connection: Connection, customer_id: str) -> None:
        if not store.remove_address(connection, customer_id, str(address_id)):
            raise _not_found()
        store.choose_default(connection, customer_id, None)

    return _changed(remove, 204)


def _changed(change: Callable[[Connection, str], str | None], status: int) -> Answer:
    """Change one's addresses while one's account is locked: two at once leave one default, within the limit."""
    _, account = signed_in()
    customer_id = account["customer_id"]

    def work(connection: Connection) -> Row | None:
        if store.lock_account(connection, customer_id) is None:
            raise ended()
        address_id = change(connection, customer_id)
        return store.address(connection, customer_id, address_id) if address_id else None

    row = current().database.change(work)
    return Answer(None, status) if row is None else Answer(_show(row), status, headers=PRIVATE)


def _show(row: Row | None) -> dict[str, Any]:
    if row is None:
        raise _not_found()
    return {name: value for name, value in row.items() if name != "is_default"} | {
        "default": row["is_default"]
    }


def _not_found() -> NotFound:
    return NotFound("There is no such address.", code="address_not_found")
