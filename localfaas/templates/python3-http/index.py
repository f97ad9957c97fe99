"""Serve `function/handler.py`, written for OpenFaaS' templates python3-http or python3-flask, without a watchdog.

`handle(event, context)` may return None, a dictionary with `statusCode`, `body` and `headers` (each optional), or
whatever a Flask view may; `handle(body)`, which takes the body's bytes, whatever a Flask view may.
Environment: `PORT`, `HOST`, `threads` (10), and what the handler reads itself. `/_/health` and `/_/ready` are ours.
"""

from __future__ import annotations

import inspect
import os
import time
from typing import Any

from drain import serve
from flask import Flask, Response, g, jsonify, request
from function import handler

TAKES_EVENT = len(inspect.signature(handler.handle).parameters) > 1
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"] if TAKES_EVENT else ["GET", "POST"]

app = Flask(__name__)


class Event:
    """One request as a handler sees it: bytes, headers, method, query (a MultiDict) and path."""

    def __init__(self) -> None:
        self.body = request.get_data()
        self.headers = request.headers
        self.method = request.method
        self.query = request.args
        self.path = request.path


class Context:
    """Where the handler runs."""

    def __init__(self) -> None:
        self.hostname = os.environ.get("HOSTNAME", "localhost")


@app.before_request
def begin() -> None:
    g.began = time.perf_counter()


@app.after_request
def add_duration(response: Response) -> Response:
    response.headers["X-Duration-Seconds"] = f"{time.perf_counter() - g.began:.6f}"
    return response


@app.get("/_/health")
@app.get("/_/ready")
def health() -> Response:
    return Response("OK", mimetype="text/plain")


@app.route("/", defaults={"path": ""}, methods=METHODS)
@app.route("/<path:path>", methods=METHODS)
def call(path: str) -> Any:
    if not TAKES_EVENT:
        return handler.handle(request.get_data())
    result = handler.handle(Event(), Context())
    if result is None:
        return ""
    return answer(result) if isinstance(result, dict) else result


def answer(result: dict[str, Any]) -> tuple[Any, int, Any]:
    """A handler's dictionary as Flask has it: a dictionary for a body is JSON, anything else is text."""
    body = result.get("body", "")
    return (
        jsonify(body) if isinstance(body, dict) else str(body),
        result.get("statusCode", 200),
        result.get("headers", []),
    )


if __name__ == "__main__":
    serve(
        app,
        os.environ.get("HOST") or "127.0.0.1",
        int(os.environ.get("PORT") or "8080"),
        int(os.environ.get("threads") or "10"),
    )
