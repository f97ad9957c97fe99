"""The Admin API of a DB-less Kong, the part that reads, and `POST /config`: one routing table, JSON in Kong's shapes.

Other than Kong it sends no CORS headers and takes no configuration from a page of another origin:
a browser on this machine must not be a way to the edge.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import flask
from flask import Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from localfaas.edge import admin_config, admin_entities, admin_node
from localfaas.edge.listener import PRODUCT

if TYPE_CHECKING:
    from localfaas.edge.edge import Edge

_OWN_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_WRITING = {"POST", "PUT", "PATCH", "DELETE"}
_METHODS = "GET, HEAD, OPTIONS, POST"

View = Callable[..., Any]


def create_admin_app(edge: Edge) -> flask.Flask:
    """The application; it reads the edge's state at each request."""
    app = flask.Flask(__name__, static_folder=None)
    app.url_map.strict_slashes = False
    app.json.compact = True  # type: ignore[attr-defined]
    for path, view in _routes(edge).items():
        app.add_url_rule(path, path, view, methods=["GET"], provide_automatic_options=False)
    app.add_url_rule(
        "/config", "post-config", lambda: admin_config.post(edge), methods=["POST"],
        provide_automatic_options=False,
    )  # fmt: skip
    for path in admin_entities.WRITABLE_PATHS:
        app.add_url_rule(
            path, f"refuse:{path}", admin_entities.refuse_writing, methods=sorted(_WRITING),
            provide_automatic_options=False,
        )  # fmt: skip
    app.before_request(_before)
    app.after_request(_after)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
    return app


def _routes(edge: Edge) -> Mapping[str, View]:
    return {
        "/": lambda: admin_node.root(edge),
        "/status": lambda: admin_node.status(edge),
        "/config": lambda: admin_config.get(edge),
        "/metrics": lambda: Response(edge.metrics_text(), content_type="text/plain; charset=UTF-8"),
        "/endpoints": _page_of_paths,
        **admin_node.routes(edge),
        **admin_entities.routes(edge),
    }


def _page_of_paths() -> dict[str, Any]:
    paths = sorted({str(rule) for rule in flask.current_app.url_map.iter_rules()})
    return {"data": paths, "next": None}


def _before() -> Response | None:
    flask.g.started = time.monotonic()
    if request.method == "OPTIONS":
        return Response(status=204, headers={"Allow": _METHODS})
    origin = request.headers.get("Origin")
    if request.method in _WRITING and origin and urlsplit(origin).hostname not in _OWN_HOSTS:
        return _json({"message": "a page of another origin may not change the edge"}, 403)
    return None


def _after(response: Response) -> Response:
    if response.mimetype == "application/json":
        response.headers["Content-Type"] = "application/json; charset=utf-8"
    elapsed_ms = (time.monotonic() - flask.g.get("started", time.monotonic())) * 1000
    response.headers["X-Kong-Admin-Latency"] = f"{elapsed_ms:.0f}"
    response.headers["Server"] = PRODUCT
    return response


def _http_error(error: HTTPException) -> Response:
    if error.response is not None:
        return flask.make_response(error.response)
    if isinstance(error, MethodNotAllowed):
        return _json({"message": "Method not allowed"}, 405)
    text = "Not found" if error.code == 404 else str(error.description)
    return _json({"message": text}, error.code or 500)


def _unexpected(error: Exception) -> Response:
    flask.current_app.logger.error("admin request failed", exc_info=error)
    return _json({"message": "An unexpected error occurred"}, 500)


def _json(body: Any, status: int) -> Response:
    return Response(json.dumps(body), status=status, content_type="application/json; charset=utf-8")
