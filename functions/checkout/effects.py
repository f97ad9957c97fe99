"""What the steps ask of other functions. Each may be asked again; each asks under the checkout's own id.

An effect ends in one of three ways: done (it returns what was learnt), decided against (Refused), or not known
(Unavailable, UpstreamTimeout), which only asking again can settle. An answer that nobody foresaw is not known.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from flask import current_app
from requests import Response

from functions.shared import Conflict, Invalid, Unavailable, current, stock
from functions.shared.catalogue import find_products
from functions.shared.payments import CaptureRefused, CardDeclined, PaymentProvider, PaymentRefused
from functions.shared.taxes import show_taxes

from . import domain
from .checkouts import Checkout
from .domain import Facts, Item, Refused, Rules

CART_REFUSALS = frozenset({"cart_empty", "cart_changed", "cart_in_checkout"})
UNDONE_CODES = frozenset(
    {
        "checkout_settled",
        "reservation_released",
        "order_abandoned",
        "reference_voided",
        "authorisation_voided",
    }
)
"""Somebody has taken this step back, so that it can never be done."""

_log = logging.getLogger("magasin")


class AlreadyCaptured(Exception):
    """The payment cannot be let go: the money is taken, so the only way is forward."""


def rules() -> Rules:
    """What the running function's settings say of checkouts."""
    found: Rules = current_app.extensions["rules"]
    return found


def freeze_cart(checkout: Checkout) -> Facts:
    """Nobody changes the cart from now on. Learns its items, without those that it shows as not to be had."""
    body = {
        "checkout_id": checkout.checkout_id,
        "customer_id": checkout.customer_id,
        "version": checkout.cart_version,
    }
    frozen = _done(_post("cart", "/checkouts", body))
    items = [_item(item) for item in _list(frozen, "items") if item.get("available") is not False]
    if not items:
        raise Refused(Conflict("Nothing in the cart is sold any more.", code="cart_empty"))
    return {"items": items}


def release_cart(checkout: Checkout) -> None:
    _undone(_post("cart", f"/checkouts/{checkout.checkout_id}/release"))


def price_items(checkout: Checkout) -> Facts:
    """What the items cost now; refused unless the customer has agreed to exactly that. Learns the bill."""
    items = [Item(**item) for item in checkout.facts["items"]]
    products = find_products(current().client, ids=[item.product_id for item in items])
    bill = domain.bill(items, products, rules().currency, rules().taxes, checkout.agreed_cents)
    return {
        "bill": {
            "currency": bill.currency,
            "lines": [asdict(line) for line in bill.lines],
            "subtotal_cents": bill.subtotal_cents,
            "taxes": show_taxes(bill.taxes),
            "tax_cents": bill.tax_cents,
            "total_cents": bill.total_cents,
        }
    }


def reserve_stock(checkout: Checkout) -> Facts:
    """All lines are promised for a while."""
    body = {
        "reservation_id": checkout.checkout_id,
        "location": checkout.location,
        "lines": stock.lines_of(_goods(checkout)),
        "reference": checkout.checkout_id,
        "ttl_seconds": rules().reservation_seconds,
    }
    _decided_stock(checkout, "/reservations", body, {"open", "committed", "expired"})
    return {}


def commit_stock(checkout: Checkout) -> Facts:
    """The stock leaves. A promise whose time has passed is taken anew, or refused when others were faster."""
    _decided_stock(checkout, f"/reservations/{checkout.checkout_id}/commit", None, {"committed"})
    return {}


def put_stock_back(checkout: Checkout) -> None:
    """Take the promise back; what has left already comes back into stock."""
    try:
        released = stock.read_decision(stock.post(f"/reservations/{checkout.checkout_id}/release", None))
        _require_state(released, {"released"})
    except stock.StockRefused as refused:
        if refused.code != "reservation_committed":
            raise _unforeseen("inventory", refused.code, refused.detail) from refused
        _restock(checkout)


def _restock(checkout: Checkout) -> None:
    """What has left comes back; a shelf that has no room for it now (`stock_limit`) may have some later."""
    try:
        stock.book_in(checkout.location, checkout.checkout_id, _goods(checkout), restock=True)
    except (stock.StockLacking, stock.StockRefused) as refused:
        raise _unforeseen("inventory", "a return", str(refused)) from refused


def create_order(checkout: Checkout) -> Facts:
    """The order exists, and is not paid yet. Learns its id and number."""
    body = {
        "checkout_id": checkout.checkout_id,
        "customer_id": checkout.customer_id,
        "location": checkout.location,
        "reservation_id": checkout.checkout_id,
        "address": checkout.address,
        **checkout.facts["bill"],
    }
    order = _done(_post("orders", "/", body))
    return {"order_id": _text(order, "order_id"), "number": _text(order, "number")}


def abandon_order(checkout: Checkout) -> None:
    body = {"reason": "the checkout was not finished"}
    _undone(_post("orders", f"/by-checkout/{checkout.checkout_id}/abandon", body))


def authorise(checkout: Checkout) -> Facts:
    """The amount is held on the card."""
    bill = checkout.facts["bill"]
    try:
        _provider().authorise(
            checkout.checkout_id, bill["total_cents"], bill["currency"], checkout.card_token or ""
        )
    except CardDeclined as declined:
        raise domain.card_declined(declined.decline_code) from declined
    except PaymentRefused as refused:
        if refused.code == "invalid":
            raise domain.unknown_card(refused.detail) from refused
        raise _payment_refused(refused) from refused
    return {}


def void_payment(checkout: Checkout) -> None:
    """Let go of the amount. Raises AlreadyCaptured when that is too late."""
    try:
        _provider().void(checkout.checkout_id)
    except PaymentRefused as refused:
        if refused.code == "authorisation_captured":
            raise AlreadyCaptured from refused
        raise _unforeseen("payments", refused.code, refused.detail) from refused


def capture(checkout: Checkout) -> Facts:
    """The money is taken."""
    try:
        captured = _provider().capture(checkout.checkout_id)
    except CaptureRefused as refused:
        raise domain.card_declined(refused.code) from refused
    except PaymentRefused as refused:
        raise _payment_refused(refused) from refused
    if captured.captured_cents != checkout.facts["bill"]["total_cents"]:
        raise _unforeseen("payments", "captured", str(captured))
    return {}


def mark_paid(checkout: Checkout) -> Facts:
    """The order is paid. Learns the order as the customer is to see it."""
    body = {
        "payment_reference": checkout.checkout_id,
        "captured_cents": checkout.facts["bill"]["total_cents"],
    }
    order = _undone(_post("orders", f"/by-checkout/{checkout.checkout_id}/paid", body))
    return {"order": order, "order_id": _text(order, "order_id"), "number": _text(order, "number")}


def clear_cart(checkout: Checkout) -> Facts:
    """What was bought is out of the cart, and the cart is free."""
    _undone(_post("cart", f"/checkouts/{checkout.checkout_id}/close"))
    return {}


def _post(function: str, path: str, body: Any = None) -> Response:
    """A call under a key of its own: the checkout's id is what makes it safe to repeat."""
    return current().client.call("POST", function, path, json=body, idempotency_key=str(uuid.uuid4()))


def _done(response: Response) -> dict[str, Any]:
    """The body of a success. Raises Refused for what the function has decided against."""
    body = _json(response)
    if response.status_code in {200, 201}:
        return body
    code = body.get("code")
    if code in UNDONE_CODES:
        raise Refused(domain.given_up())
    if response.status_code == 409 and code in CART_REFUSALS:
        members = {"version": body["version"]} if "version" in body else {}
        raise Refused(Conflict(str(body.get("detail")), code=code, members=members))
    faults = [fault for fault in body.get("errors", ()) if str(fault["field"]).startswith("address")]
    if response.status_code == 422 and faults:
        raise Refused(Invalid(str(body.get("detail")), errors=faults))
    raise _unforeseen(response.url, code, response.text)


def _undone(response: Response) -> dict[str, Any]:
    """The body of an answer that cannot be a refusal."""
    if response.status_code != 200:
        raise _unforeseen(response.url, response.status_code, response.text)
    return _json(response)


def _decided_stock(checkout: Checkout, path: str, body: Any, states: Collection[str]) -> None:
    try:
        _require_state(stock.read_decision(stock.post(path, body)), states)
    except stock.StockLacking as lacking:
        raise domain.stock_lacking(checkout.facts["bill"]["lines"], lacking.lacking) from lacking
    except stock.StockRefused as refused:
        if refused.code in UNDONE_CODES:
            raise Refused(domain.given_up()) from refused
        if refused.code == "unknown_location":
            raise domain.unknown_location() from refused
        raise _unforeseen("inventory", refused.code, refused.detail) from refused


def _require_state(reservation: Mapping[str, Any], states: Collection[str]) -> None:
    if reservation.get("state") not in states:
        raise _unforeseen("inventory", "a reservation", str(reservation))


def _payment_refused(refused: PaymentRefused) -> Refused | Unavailable:
    if refused.code in UNDONE_CODES:
        return Refused(domain.given_up())
    return _unforeseen("payments", refused.code, refused.detail)


def _unforeseen(who: str, what: object, detail: str) -> Unavailable:
    """An answer that says nothing about the outcome: it is asked for again later, and the log tells a person."""
    _log.error("%s answered %s: %.300s", who, what, detail)
    return Unavailable(code="upstream_unavailable")


def _json(response: Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError as error:
        raise _unforeseen(response.url, response.status_code, response.text) from error
    if not isinstance(body, dict):
        raise _unforeseen(response.url, response.status_code, response.text)
    return body


def _list(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = body.get(name)
    if not isinstance(found, list) or not found:
        raise _unforeseen("a function", f"no {name}", ", ".join(body))
    return found


def _text(body: Mapping[str, Any], name: str) -> str:
    found = body.get(name)
    if not isinstance(found, str):
        raise _unforeseen("a function", f"no {name}", ", ".join(body))
    return found


def _item(row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {name: row[name] for name in ("sku", "product_id", "name", "quantity", "unit_price_cents")}
    except KeyError as error:
        raise _unforeseen("cart", "an item", ", ".join(row)) from error


def _goods(checkout: Checkout) -> list[tuple[str, int]]:
    return [(line["sku"], line["quantity"]) for line in checkout.facts["bill"]["lines"]]


def _provider() -> PaymentProvider:
    return PaymentProvider(current().client, rules().payment_timeout_seconds)
