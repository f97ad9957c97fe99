"""Handlers written for OpenFaaS' python3-http and python3-flask, behind the index.py that localfaas gives them."""

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from localfaas.stack import OWN_TEMPLATES

HTTP = """
from flask import Response, jsonify

ANSWERS = {
    "none": None,
    "empty": {},
    "text": {"statusCode": 202, "body": "text"},
    "number": {"body": 7},
    "object": {"body": {"a": 1}, "headers": {"X-One": "1", "X-Two": "2"}},
    "pairs": {"body": "", "headers": [("X-One", "1"), ("X-One", "2")]},
    "plain": "plain",
    "flask": ("gone", 410, {"X-One": "1"}),
}

def handle(event, context):
    if event.path == "/echo":
        return {"body": {
            "body": event.body.decode(), "method": event.method, "path": event.path, "query": event.query["a"],
            "header": event.headers["x-word"], "host": context.hostname, "bytes": isinstance(event.body, bytes),
        }}
    if event.path == "/response":
        return Response(b"raw", status=203)
    return ANSWERS[event.path[1:]]
"""
FLASK = """
def handle(req):
    return (req[::-1], 201) if req else "nothing"
"""


@pytest.fixture
def client(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FlaskClient]:
    """The application of a layout with the handler that the test names: its template, then its text."""
    template, text = request.param
    layout = shutil.copytree(OWN_TEMPLATES / template, tmp_path / "layout")
    (layout / "function" / "handler.py").write_text(text)
    monkeypatch.syspath_prepend(layout)
    monkeypatch.setenv("HOSTNAME", "one-1")
    yield importlib.import_module("index").app.test_client()
    for name in [name for name in sys.modules if name.partition(".")[0] in {"index", "function", "drain"}]:
        del sys.modules[name]


@pytest.mark.parametrize("client", [("python3-http", HTTP)], indirect=True)
def test_event_and_context_are_those_of_python3_http(client: FlaskClient) -> None:
    answer = client.patch("/echo?a=1", data="body", headers={"X-Word": "w"})
    assert answer.json == {
        "body": "body",
        "method": "PATCH",
        "path": "/echo",
        "query": "1",
        "header": "w",
        "host": "one-1",
        "bytes": True,
    }
    assert float(answer.headers["X-Duration-Seconds"]) >= 0


@pytest.mark.parametrize("client", [("python3-http", HTTP)], indirect=True)
def test_results_are_answered_as_by_python3_http(client: FlaskClient) -> None:
    told = {
        name: client.get(f"/{name}")
        for name in ("none", "empty", "text", "number", "plain", "flask", "response")
    }
    assert {name: (answer.status_code, answer.text) for name, answer in told.items()} == {
        "none": (200, ""),
        "empty": (200, ""),
        "text": (202, "text"),
        "number": (200, "7"),
        "plain": (200, "plain"),
        "flask": (410, "gone"),
        "response": (203, "raw"),
    }
    as_json = client.get("/object")
    assert (as_json.json, as_json.headers["X-One"], as_json.headers["X-Two"]) == ({"a": 1}, "1", "2")
    assert client.get("/pairs").headers.getlist("X-One") == ["1", "2"]


@pytest.mark.parametrize("client", [("python3-flask", FLASK)], indirect=True)
def test_python3_flask_is_given_the_body_alone_by_get_and_post(client: FlaskClient) -> None:
    answer = client.post("/any/path", data=b"abc")
    assert (answer.status_code, answer.text) == (201, "cba")
    assert client.get("/").text == "nothing"
    assert client.put("/").status_code == 405


@pytest.mark.parametrize("client", [("python3-http", HTTP), ("python3-flask", FLASK)], indirect=True)
def test_health_is_answered_without_the_handler(client: FlaskClient) -> None:
    assert [client.get(f"/_/{name}").text for name in ("health", "ready")] == ["OK", "OK"]
