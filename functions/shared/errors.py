"""Refusals: raised anywhere, rendered once as RFC 9457 `application/problem+json`.

A body is `{type, title, status, detail, code, errors: [{field, message}], request_id}`; `code` is stable and
is what a program should look at. A problem may have members of its own beside these (RFC 9457 section 3.2).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

PROBLEM_JSON = "application/problem+json"

FieldErrors = Sequence[Mapping[str, str]]
"""`[{"field": "items.3.price_cents", "message": "…"}, …]`"""


class Problem(Exception):
    """A refusal with an HTTP status; the subclasses below name the usual ones."""

    status = 500
    code = "internal_error"
    detail = "Something went wrong on our side; the request id finds it in our logs."

    def __init__(
        self,
        detail: str | None = None,
        *,
        code: str | None = None,
        errors: FieldErrors = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        self.detail = detail or type(self).detail
        self.code = code or type(self).code
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.members = dict(members or {})
        super().__init__(self.detail)


class BadRequest(Problem):
    """The request cannot be understood: malformed JSON, a bad cursor, a missing header."""

    status, code, detail = 400, "bad_request", "The request cannot be understood."


class Unauthorized(Problem):
    """No token, or one that does not verify."""

    status, code, detail = 401, "unauthorized", "A valid bearer token is required."

    def __init__(self, detail: str | None = None, *, code: str | None = None) -> None:
        super().__init__(detail, code=code, headers={"WWW-Authenticate": 'Bearer realm="magasin"'})


class PaymentRequired(Problem):
    status, code, detail = 402, "payment_required", "This is not paid, and nothing was charged."


class Forbidden(Problem):
    status, code, detail = 403, "forbidden", "This token does not allow the request."


class NotFound(Problem):
    status, code, detail = 404, "not_found", "There is nothing here."


class MethodNotAllowed(Problem):
    status, code, detail = 405, "method_not_allowed", "This method is not allowed here."


class Conflict(Problem):
    status, code, detail = 409, "conflict", "The request does not fit the present state."


class PreconditionFailed(Problem):
    status, code, detail = 412, "stale", "The resource has changed since it was read; read it again."


class TooLarge(Problem):
    status, code, detail = 413, "too_large", "The body is larger than this function takes."


class UnsupportedMediaType(Problem):
    status, code, detail = 415, "unsupported_media_type", "The body must be application/json."


class Invalid(Problem):
    """Well formed, but a field is not acceptable; `errors` names each."""

    status, code, detail = 422, "invalid", "Some fields are not acceptable."


class PreconditionRequired(Problem):
    status, code, detail = 428, "if_match_required", "Send If-Match with the ETag that you read."


class Unavailable(Problem):
    """For a while only: says when to try again. `retry_after_seconds` is a whole number."""

    status, code, detail = 503, "unavailable", "This cannot be answered right now; try again shortly."

    def __init__(
        self, detail: str | None = None, *, code: str | None = None, retry_after_seconds: int = 1
    ) -> None:
        super().__init__(detail, code=code, headers={"Retry-After": str(retry_after_seconds)})


class UpstreamTimeout(Problem):
    status, code, detail = 504, "deadline_exceeded", "The time allowed for the request has passed."


def render(problem: Problem, request_id: str) -> tuple[bytes, int, dict[str, str]]:
    """The response of `problem`: body, status, headers."""
    body = {
        **problem.members,
        "type": f"urn:magasin:problem:{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "errors": problem.errors,
        "request_id": request_id,
    }
    return json.dumps(body).encode(), problem.status, {"Content-Type": PROBLEM_JSON, **problem.headers}
