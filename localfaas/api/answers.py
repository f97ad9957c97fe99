"""Answers in the form of OpenFaaS' Go programs: plain text for errors, empty bodies, JSON without decoration."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, request

from localfaas import gojson
from localfaas.deployment import NAMESPACE

TEXT = "text/plain; charset=utf-8"


class Refused(Exception):
    """A request that is answered with an error; raise it anywhere below a route."""

    def __init__(self, status: int, text: str = "") -> None:
        """`text` is one line, without its newline; none makes an empty body."""
        super().__init__(text)
        self.status = status
        self.text = text

    def answer(self) -> Response:
        return error(self.status, self.text) if self.text else empty(self.status)


def empty(status: int) -> Response:
    response = Response(status=status)
    del response.headers["Content-Type"]
    return response


def error(status: int, text: str) -> Response:
    """One line of plain text, as Go's http.Error writes it."""
    return Response(
        f"{text}\n", status=status, content_type=TEXT, headers={"X-Content-Type-Options": "nosniff"}
    )


def as_json(value: Any) -> Response:
    return Response(json.dumps(value, ensure_ascii=False), content_type="application/json")


def fields(complaint: str = "") -> gojson.Fields:
    """The request's JSON object; raises Refused (400) with `complaint` when it is none."""
    try:
        return gojson.Fields(gojson.loads(request.get_data()))
    except gojson.BadJson as exc:
        raise Refused(400, complaint) from exc


def check_namespace(in_body: str = "", with_text: bool = True) -> None:
    """Refuse every namespace but the default one; the query's wins over the body's."""
    namespace = request.args.get("namespace") or in_body or NAMESPACE
    if namespace != NAMESPACE:
        raise Refused(400, f"namespace must be: {NAMESPACE}" if with_text else "")
