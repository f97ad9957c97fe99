"""Lists in pages: `{"items": […], "next": cursor-or-null}` with `limit` and `after`.

A cursor is the sort key of the last row shown, so a page stays right while rows come and go. It also names its list,
since another list's key may look the same and would show a page from a place that nobody asked for.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import current_app, has_request_context, request

from .errors import BadRequest


def encode_cursor(*key: str | int) -> str:
    """An opaque cursor for the values that the list is sorted by."""
    text = json.dumps([_list_name(), *key], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """The values that `encode_cursor` was given for this list; raises BadRequest unless they are of `kinds`."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError, binascii.Error) as error:
        raise bad_cursor() from error
    if not isinstance(key, list) or [type(value) for value in key] != [str, *kinds]:
        raise bad_cursor()
    if key[0] != _list_name() or any(not _storable(value) for value in key):
        raise bad_cursor()
    return tuple(key[1:])


def decode_moment_cursor(cursor: str) -> tuple[datetime, str]:
    """The moment and the UUID that a list in the order of time is sorted by; raises BadRequest for anything else."""
    moment, identifier = decode_cursor(cursor, str, str)
    try:
        found = datetime.fromisoformat(moment)
        if found.utcoffset() is None:
            raise bad_cursor()
        return found.astimezone(UTC), str(UUID(identifier))
    except (ValueError, OverflowError) as error:
        raise bad_cursor() from error


def moment_filters(cursor: str | None) -> dict[str, Any]:
    """`after_time` and `after_id` of a list in the order of time, both None for its first page."""
    if cursor is None:
        return {"after_time": None, "after_id": None}
    moment, identifier = decode_moment_cursor(cursor)
    return {"after_time": moment, "after_id": identifier}


def _list_name() -> str:
    """The function and the route that is being answered, such as `sales.list_sales`."""
    return f"{current_app.name}.{request.endpoint}" if has_request_context() else ""


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


def bad_cursor() -> BadRequest:
    """The refusal of what is no cursor of the list that is asked for."""
    return BadRequest(
        "`after` is not a cursor of this list.",
        code="bad_cursor",
        errors=[{"field": "after", "message": "use the value of `next` from the page before"}],
    )
