"""The examiner of documents finds each kind of fault: planted in a function of ten lines, one at a time."""

from __future__ import annotations

import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, Response, jsonify, request

from tests.support.callers import Request
from tests.support.conformance import Examiner, documented_status

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Planted", "version": "1"},
    "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    "paths": {
        "/things": {
            "post": {
                "operationId": "make",
                "security": [{"token": []}],
                "parameters": [{"name": "X-Need", "in": "header", "required": True, "schema": {"type": "string"}}],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {
                        "type": "object", "required": ["size"], "additionalProperties": False,
                        "properties": {"size": {"type": "integer", "minimum": 1, "maximum": 9}},
                    }}},
                },
                "responses": {
                    "201": {
                        "description": "made",
                        "headers": {"X-Count": {"schema": {"type": "integer"}}},
                        "content": {"application/json": {"schema": {
                            "type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}},
                        }}},
                        "links": {"read": {"operationId": "read", "parameters": {"id": "$response.body#/id"}}},
                    },
                    "400": {"description": "no"}, "401": {"description": "no"}, "422": {"description": "no"},
                    "default": {"description": "no"},
                },
            }
        },
        "/things/{id}": {
            "get": {
                "operationId": "read",
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
                "responses": {
                    "200": {"description": "it"}, "404": {"description": "no"}, "default": {"description": "no"},
                },
            }
        },
    },
}  # fmt: skip


def refused(fault: str) -> int | None:
    """The status of what is wrong with a request, as far as the fault lets it be seen."""
    if fault != "auth" and request.headers.get("Authorization") != "Bearer good":
        return 401
    if fault != "header" and "X-Need" not in request.headers:
        return 400
    body = request.get_json(silent=True)
    size = body.get("size") if isinstance(body, dict) and set(body) == {"size"} else None
    fits = type(size) is int and 1 <= size <= 9
    return None if fits or fault == "negative" else 422


def planted(fault: str) -> Flask:
    """A small function that has this fault and no other."""
    app = Flask("planted")

    def make() -> Any:
        refusal = refused(fault)
        if refusal is not None:
            return "", refusal
        if fault == "server":
            return "", 500
        if fault == "status":
            return jsonify(id=1), 202
        if fault == "type":
            return Response("id", 201, mimetype="text/plain")
        told = Response(
            json.dumps({"id": "one" if fault == "schema" else 1}), 201, mimetype="application/json"
        )
        told.headers["X-Count"] = "many" if fault == "headers" else "1"
        return told

    def read(number: str) -> Any:
        there = number.lstrip("-").isdecimal() and fault != "link"
        return ("", 200) if there else ("", 404)

    methods = ["POST", "PUT"] if fault == "method" else ["POST"]
    app.add_url_rule("/things", "make", make, methods=methods, provide_automatic_options=fault != "allow")
    if fault == "allow":
        told = {"Allow": "GET, OPTIONS"}
        app.add_url_rule("/things", "allowed", lambda: ("", 200, told), methods=["OPTIONS"])
    app.add_url_rule("/things/<number>", "read", read)
    app.add_url_rule("/openapi.json", "document", lambda: jsonify(DOCUMENT))
    return app


def examiner_of_planted(fault: str) -> Examiner:
    seeds = {
        "POST /things": Request("/things", {"size": 3}, {"X-Need": "it"}),
        "GET /things/{id}": Request("/things/1"),
    }
    return Examiner(planted(fault), seeds.__getitem__, lambda *_: {"Authorization": "Bearer good"})


def examined(fault: str) -> Examiner:
    examiner = examiner_of_planted(fault)
    examiner.examine(positive=2, negative=2)
    return examiner


PLANTED: dict[str, str] = {
    "server": "Server error",
    "status": "202 is not among",
    "type": "Undocumented Content-Type",
    "schema": "violates schema",
    "headers": "header does not conform",
    "negative": "Schema-violating request accepted",
    "header": "Missing required header accepted",
    "method": "Unsupported method",
    "allow": "Allow header mismatch",
    "auth": "without authentication",
}


def test_a_function_without_fault_passes() -> None:
    examiner = examined("")
    assert not examiner.failures, examiner.report()
    assert examiner.follow_links(3, 5)
    assert not examiner.failures, examiner.report()


@pytest.mark.parametrize(("fault", "told"), PLANTED.items())
def test_each_check_finds_a_planted_fault(fault: str, told: str) -> None:
    assert told in examined(fault).report()


def test_links_that_chains_have_followed_and_not_are_told_apart() -> None:
    link = "POST /things -> [201] read -> GET /things/{id}"
    followed, never = examiner_of_planted(""), examiner_of_planted("status")
    assert followed.links == never.links == {link}
    assert followed.follow_links(3, 5, most=9).keys() == {link}
    assert never.follow_links(3, 5, most=9).keys() == set()


def test_a_link_that_leads_nowhere_is_found() -> None:
    examiner = examiner_of_planted("link")
    examiner.follow_links(3, 5)
    assert "Created resource not found" in examiner.report()


@pytest.mark.parametrize(
    ("of", "path", "status", "fault"),
    [
        ("/{id}", "/staff", 405, False),
        ("/{id}", "/staff", 500, True),
        ("/{id}", "/7", 405, True),
        ("/staff", "/staff", 405, True),
    ],
)
def test_an_id_that_is_another_path_is_refused_as_that_path_refuses(
    of: str, path: str, status: int, fault: bool
) -> None:
    raw = SimpleNamespace(raw={"responses": {"200": {}, "default": {}}})
    operation = SimpleNamespace(method="get", path=of, definition=raw, schema={"/{id}": {}, "/staff": {}})
    case: Any = SimpleNamespace(method="GET", operation=operation, formatted_path=path)
    response: Any = SimpleNamespace(status_code=status)
    no_context: Any = None
    with pytest.raises(AssertionError, match="is not among") if fault else nullcontext():
        documented_status(no_context, response, case)
