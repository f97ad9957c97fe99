"""Who holds the cart that a request is about: a signed-in customer, the bearer of a cart token, or nobody yet.

A token comes in the header `X-Cart-Token` or in the cookie `cart_token`. A header that opens no cart is an error of
the program that sent it (404); a cookie may simply be older than its cart, and counts as none.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Literal

from flask import Response, after_this_request, request

from functions.shared import Connection, Forbidden, NotFound, Row, current

from . import store
from .store import Key

TOKEN_HEADER = "X-Cart-Token"  # noqa: S105 - the name of a header
TOKEN_COOKIE = "cart_token"  # noqa: S105 - the name of a cookie
TOKEN_BYTES = 24
"""192 bits: nobody guesses one."""


@dataclass(frozen=True)
class Holder:
    """How the cart of a request is found, and how its holder proved to hold it."""

    proof: Literal["customer", "header", "cookie", "nothing"]
    key: Key
    token: str | None = None

    def require_cart(self, found: object | None) -> None:
        """Raise NotFound when a token was sent on purpose and opens nothing (any more)."""
        if found is None and self.proof == "header":
            raise NotFound("There is no such cart; it may have expired.", code="cart_not_found")


def current_holder() -> Holder:
    """The holder that the request names. Raises Unauthorized for a bad bearer token, Forbidden for no customer's."""
    identity = current().identity()
    if identity is None:
        return token_holder()
    if "customer" not in identity.roles:
        raise Forbidden("Only customers have carts of their own.")
    return Holder("customer", Key(customer_id=identity.subject))


def token_holder() -> Holder:
    """The holder of the cart token in the request, whoever is signed in."""
    token = request.headers.get(TOKEN_HEADER)
    if token is not None:
        return Holder("header", Key(token_sha256=_digest(token)), token)
    token = request.cookies.get(TOKEN_COOKIE)
    if token:
        return Holder("cookie", Key(token_sha256=_digest(token)), token)
    return Holder("nothing", Key())


def _digest(token: str) -> bytes:
    """A fast hash is right here: a random token of this length is not found by trying."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def principal() -> str:
    """In whose name an Idempotency-Key is remembered.

    Someone without a cart shares nothing with anyone, not even a key that another client chose as well.
    """
    holder = current_holder()
    if holder.proof == "customer":
        return f"customer:{holder.key.customer_id}"
    digest = holder.key.token_sha256
    if digest is None:
        return f"new:{secrets.token_hex(16)}"
    if holder.proof == "cookie" and current().database.read(store.find_cart, holder.key) is None:
        return f"new:{secrets.token_hex(16)}"
    return f"token:{digest.hex()}"


def touch_cart(connection: Connection, holder: Holder, ttl_seconds: int) -> Row | None:
    """Lock the holder's cart for a change; `cart_id` and `version`, None when there is none.

    The browser keeps a cookie as long as the cart. Raises NotFound as `require_cart` does.
    """
    row = store.touch_cart(connection, holder.key, ttl_seconds)
    holder.require_cart(row)
    if row is not None and holder.proof == "cookie" and holder.token is not None:
        _hand_over(holder.token, ttl_seconds, with_header=False)
    return row


def open_cart(connection: Connection, holder: Holder, ttl_seconds: int) -> Row:
    """As `touch_cart`, but make a cart for a customer or a visitor without one.

    A visitor's new token is in the response only, in header and cookie: the database keeps its hash.
    """
    if holder.key.customer_id is not None:
        return store.open_customer_cart(connection, holder.key.customer_id, ttl_seconds)
    row = touch_cart(connection, holder, ttl_seconds) if holder.token is not None else None
    if row is not None:
        return row
    token = secrets.token_urlsafe(TOKEN_BYTES)
    created = store.create_token_cart(connection, _digest(token), ttl_seconds)
    _hand_over(token, ttl_seconds, with_header=True)
    return created


def drop_cookie() -> None:
    """Let the browser forget its token: the cart has become part of the customer's."""

    @after_this_request
    def expire(response: Response) -> Response:
        if response.status_code < 400 and TOKEN_COOKIE in request.cookies:
            response.delete_cookie(TOKEN_COOKIE, path="/", httponly=True, samesite="Lax")
        return response


def _hand_over(token: str, ttl_seconds: int, *, with_header: bool) -> None:
    @after_this_request
    def add(response: Response) -> Response:
        if response.status_code >= 400:
            return response
        if with_header:
            response.headers[TOKEN_HEADER] = token
        secure = request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(
            TOKEN_COOKIE, token, max_age=ttl_seconds, path="/", httponly=True, samesite="Lax", secure=secure
        )
        return response
