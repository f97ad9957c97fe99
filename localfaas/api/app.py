"""The API's routing table, and what happens before a route: clean paths, methods, authentication, in that order."""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote, unquote

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import BaseConverter

from localfaas.api import answers, functions, logs, platform, scaling, secrets, status, ui
from localfaas.api.context import ApiContext

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Route:
    """One path and method. `open` routes need no password."""

    method: str
    path: str
    handle: Callable[..., Response]
    open: bool = False


ROUTES = (
    Route("GET", "/system/functions", functions.list_all),
    Route("POST", "/system/functions", functions.deploy),
    Route("PUT", "/system/functions", functions.update),
    Route("DELETE", "/system/functions", functions.remove),
    Route("GET", "/system/function/<name:name>", status.show),
    Route("POST", "/system/scale-function/<name:name>", scaling.scale),
    Route("POST", "/system/alert", scaling.alert),
    Route("GET", "/system/secrets", secrets.list_all),
    Route("POST", "/system/secrets", secrets.create),
    Route("PUT", "/system/secrets", secrets.replace),
    Route("DELETE", "/system/secrets", secrets.delete),
    Route("GET", "/system/namespaces", platform.namespaces),
    Route("GET", "/system/namespace/", platform.read_namespace),
    Route("GET", "/system/namespace/<name:namespace>", platform.read_namespace),
    *(
        Route(method, path, platform.change_namespace)
        for method in ("POST", "PUT", "DELETE")
        for path in ("/system/namespace/", "/system/namespace/<name:namespace>")
    ),
    Route("GET", "/system/info", platform.info),
    Route("GET", "/system/logs", logs.stream),
    Route("GET", "/system/telemetry", platform.telemetry),
    Route("GET", "/healthz", platform.health, open=True),
    Route("GET", "/ui/", ui.page),
    Route("GET", "/", platform.home, open=True),
)


class _NameConverter(BaseConverter):
    """A name as OpenFaaS' router takes it; any other is an unknown path."""

    regex = "[-a-zA-Z0-9_.]+"


def create_app(context: ApiContext) -> Flask:
    """The API behind the gateway's Envoy. Reads the basic auth files; raises OSError when they are missing."""
    app = Flask("localfaas.api", static_folder=None)
    app.url_map.converters["name"] = _NameConverter
    app.url_map.merge_slashes = False
    as_plain_text(app)
    credentials = tuple(
        (context.settings.secrets / f"basic-auth-{part}").read_bytes().strip()
        for part in ("user", "password")
    )
    open_endpoints = set()
    for number, route in enumerate(ROUTES):
        endpoint = f"{number} {route.method} {route.path}"
        app.add_url_rule(
            route.path,
            endpoint,
            partial(route.handle, context),
            methods=[route.method],
            provide_automatic_options=False,
        )
        if route.open:
            open_endpoints.add(endpoint)

    @app.before_request
    def check() -> Response | None:
        if redirect := _to_clean_path():
            return redirect
        if request.routing_exception or request.endpoint in open_endpoints:
            return None
        if request.method == "HEAD":
            return answers.empty(405)
        return None if _is_admitted(credentials) else _not_admitted()

    return app


def as_plain_text(app: Flask) -> None:
    """Answer what no route answers as Go's router does, and anything unforeseen with a fixed sentence."""
    app.register_error_handler(answers.Refused, lambda refused: refused.answer())

    @app.errorhandler(HTTPException)
    def no_route(exc: HTTPException) -> Response:
        if isinstance(exc, MethodNotAllowed):
            return answers.empty(405)
        if exc.code in (404, 308):
            return answers.error(404, "404 page not found")
        return answers.error(exc.code or 500, exc.name)

    @app.errorhandler(Exception)
    def unforeseen(_: Exception) -> Response:
        log.exception("%s %s failed", request.method, request.path)
        return answers.error(500, "internal error; the log of the localfaas API says more")


def _to_clean_path() -> Response | None:
    """A redirect (301) when the path has `//`, `/./` or `/../`."""
    raw_path, mark, query = request.environ["REQUEST_URI"].partition("?")
    path = unquote(raw_path)
    clean = posixpath.normpath("/" + path.lstrip("/"))
    if path.endswith("/") and clean != "/":
        clean += "/"
    if clean == path:
        return None
    response = answers.empty(301)
    response.headers["Location"] = quote(clean, safe="/:@!$&'()*+,;=~-._") + mark + query
    return response


def _is_admitted(credentials: tuple[bytes, ...]) -> bool:
    """Whether the request has the right basic auth; every comparison takes the same time."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return False
    same = [
        hmac.compare_digest(given, right) for given, right in zip((user, password), credentials, strict=True)
    ]
    return all(same) and scheme.lower() == "basic" and colon == b":"


def _not_admitted() -> Response:
    response = Response("invalid credentials", status=401, content_type=answers.TEXT)
    response.headers["WWW-Authenticate"] = 'Basic realm="Restricted"'
    return response
