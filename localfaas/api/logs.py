"""`/system/logs`: lines of a function's replicas as a stream of JSON, one message a line."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from flask import Response, request

from localfaas import logs
from localfaas.api import answers
from localfaas.api.context import ApiContext
from localfaas.deployment import NAMESPACE
from localfaas.gojson import whole_number

MAX_FOLLOWERS = 16
"""Each follower holds a thread of the API; some must be left for everything else."""

_followers = threading.BoundedSemaphore(MAX_FOLLOWERS)
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False", "")


def stream(context: ApiContext) -> Response:
    """Present lines, then, with `follow`, new ones until the client leaves."""
    query = _query()
    namespace = request.args.get("namespace") or NAMESPACE
    if namespace != NAMESPACE or context.registry.get(query.name) is None:
        raise answers.Refused(500, "unknown log request error (500)")
    directory = context.settings.logs
    if not query.follow:
        return _answer(logs.history(directory, query, datetime.now(UTC)))
    if not _followers.acquire(blocking=False):
        raise answers.Refused(503, f"{MAX_FOLLOWERS} clients follow logs already")
    response = _answer(logs.follow(directory, query, _client_left(), time.sleep))
    response.call_on_close(_followers.release)
    return response


def _answer(messages: Iterator[logs.Message]) -> Response:
    return Response((message.to_json() for message in messages), content_type=answers.TEXT)


def _client_left() -> Callable[[], bool]:
    """Whether the client has closed its connection, as the server sees it (waitress, with look-ahead)."""
    asked: Callable[[], bool] | None = request.environ.get("waitress.client_disconnected")
    return asked or (lambda: False)


def _query() -> logs.Query:
    """The query string; what cannot be parsed is the 422 that OpenFaaS' gateway reports as a 500."""
    arguments = request.args
    try:
        return logs.Query(
            name=_required(arguments.get("name", "")),
            instance=arguments.get("instance", ""),
            tail=_integer(arguments.get("tail", "")),
            since=_time(arguments.get("since", "")),
            follow=_boolean(arguments.get("follow", "")),
        )
    except ValueError as exc:
        raise answers.Refused(500, "unknown log request error (422)") from exc


def _required(text: str) -> str:
    if not text:
        raise ValueError("a name is required")
    return text


def _integer(text: str) -> int:
    number = whole_number(text or "0")
    if number is None:
        raise ValueError(f"{text!r} is not a number")
    return number


def _time(text: str) -> datetime | None:
    """An RFC 3339 time; a `+` that a client did not encode arrives as a space."""
    if not text:
        return None
    time_given = datetime.fromisoformat(text.replace(" ", "+"))
    if time_given.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return time_given


def _boolean(text: str) -> bool:
    if text not in (*_TRUE, *_FALSE):
        raise ValueError(f"{text!r} is neither true nor false")
    return text in _TRUE
