"""Lists in pages: `{"items": […], "next": cursor-or-null}` with `limit` and `after`.

A cursor is the sort key of the last row shown, so a page stays right while rows come and go.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any

from .errors import BadRequest


def encode_cursor(*key: str | int) -> str:
    """An opaque cursor for the values that the list is sorted by."""
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """The values that `encode_cursor` was given; raises BadRequest unless they are of `kinds`."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError, binascii.Error) as error:
        raise _bad_cursor() from error
    if not isinstance(key, list) or [type(value) for value in key] != list(kinds):
        raise _bad_cursor()
    if any(not _storable(value) for value in key):
        raise _bad_cursor()
    return tuple(key)


def page(rows: Sequence[Any], limit: int, cursor_of: Callable[[Any], str]) -> dict[str, Any]:
    """A page from `limit + 1` rows read: the extra one only says that there is more."""
    more = len(rows) > limit
    items = list(rows[:limit])
    return {"items": items, "next": cursor_of(items[-1]) if more else None}


def _storable(value: str | int) -> bool:
    if isinstance(value, int):
        return abs(value) < 2**63
    return "\x00" not in value and _encodable(value)


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bad_cursor() -> BadRequest:
    return BadRequest(
        "`after` is not a cursor of this list.",
        code="bad_cursor",
        errors=[{"field": "after", "message": "use the value of `next` from the page before"}],
    )
