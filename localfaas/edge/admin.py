"""The Admin API of a DB-less Kong, the part that reads, and `POST /config`: one routing table, JSON in Kong's shapes.

Other than Kong it opens itself to pages of this machine only, such as Kong Manager's: no page from elsewhere may read
or change the edge through a browser here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import flask
from flask import Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from localfaas import loopback
from localfaas.edge import admin_config, admin_entities, admin_node, admin_schemas
from localfaas.edge.admin_answers import answer
from localfaas.edge.edge import Edge
from localfaas.edge.listener import PRODUCT
from localfaas.edge.metrics import metrics_text

_OWN_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_WRITING = {"POST", "PUT", "PATCH", "DELETE"}
_METHODS = "GET, HEAD, OPTIONS, POST"
_PREFLIGHT = {
    "Allow": _METHODS,
    "Access-Control-Allow-Methods": _METHODS,
    "Access-Control-Allow-Headers": "Content-Type",
}

View = Callable[..., Any]


def create_admin_app(edge: Edge) -> flask.Flask:
    """The application; it reads the edge's state at each request."""
    app = flask.Flask(__name__, static_folder=None)
    app.url_map.strict_slashes = False
    app.config["TRUSTED_HOSTS"] = loopback.HOSTS
    app.json.compact = True  # type: ignore[attr-defined]
    for path, view in _routes(edge).items():
        app.add_url_rule(path, path, view, methods=["GET"], provide_automatic_options=False)
    for path, name in admin_entities.WRITABLE_PATHS.items():
        refuse = partial(admin_entities.refuse_writing, name)
        app.add_url_rule(
            path, f"refuse:{path}", refuse, methods=sorted(_WRITING), provide_automatic_options=False
        )
    for path, view in _posts(edge).items():
        app.add_url_rule(path, f"post:{path}", view, methods=["POST"], provide_automatic_options=False)
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
        "/metrics": lambda: Response(metrics_text(edge), content_type="text/plain; charset=UTF-8"),
        "/endpoints": _page_of_paths,
        **admin_node.routes(edge),
        **admin_entities.routes(edge),
        **admin_schemas.routes(),
    }


def _posts(edge: Edge) -> Mapping[str, View]:
    return {
        "/config": lambda: admin_config.post(edge),
        "/schemas/<entity>/validate": admin_schemas.validate,
    }


def _page_of_paths() -> dict[str, Any]:
    paths = sorted({re.sub("<(.*?)>", r"{\1}", str(rule)) for rule in flask.current_app.url_map.iter_rules()})
    return {"data": paths, "next": None}


def _before() -> Response | None:
    flask.g.started = time.monotonic()
    if request.method == "OPTIONS":
        return Response(status=204, headers=_PREFLIGHT)
    if request.method in _WRITING and request.headers.get("Origin") and not _own_origin():
        return answer({"message": "a page of another origin may not change the edge"}, 403)
    return None


def _own_origin() -> str | None:
    """The page that asks, if it is one of this machine."""
    origin = request.headers.get("Origin", "")
    try:
        return origin if urlsplit(origin).hostname in _OWN_HOSTS else None
    except ValueError:
        return None


def _after(response: Response) -> Response:
    if response.mimetype == "application/json":
        response.headers["Content-Type"] = "application/json; charset=utf-8"
    elapsed_ms = (time.monotonic() - flask.g.get("started", time.monotonic())) * 1000
    response.headers["X-Kong-Admin-Latency"] = f"{elapsed_ms:.0f}"
    response.headers["Server"] = PRODUCT
    response.vary.add("Origin")
    if origin := _own_origin():
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
    return response


def _http_error(error: HTTPException) -> Response:
    if error.response is not None:
        return flask.make_response(error.response)
    if isinstance(error, MethodNotAllowed):
        return answer({"message": "Method not allowed"}, 405)
    text = "Not found" if error.code == 404 else str(error.description)
    return answer({"message": text}, error.code or 500)


def _unexpected(error: Exception) -> Response:
    flask.current_app.logger.error("admin request failed", exc_info=error)
    return answer({"message": "An unexpected error occurred"}, 500)
