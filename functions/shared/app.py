"""The application factory: an Api and an environment become a Flask application that the template can serve."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg2
from flask import Flask, Response, request
from flask.sessions import SessionInterface
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from . import errors, metrics, openapi
from .api import Answer, Api, Route
from .database import Connection
from .idempotency import KEY_HEADER, REPLAYED_HEADER, StoredAnswer, attempt
from .refusals import translate
from .service import FunctionApp, Service, current
from .settings import FunctionSettings, load
from .telemetry import Telemetry, configure_logging, current_trace
from .tracing import make_tracer
from .validation import validate_body, validate_query

LARGEST_BODY_BYTES = 4 * 1024 * 1024
EDGE_HEADER = "X-Kong-Request-Id"

_log = logging.getLogger("magasin")


def create_app(api: Api, settings: type[FunctionSettings], environ: Mapping[str, str]) -> FunctionApp:
    """The application of `api` in `environ`; opens no connection yet.

    Raises SettingsError naming every setting that is missing or wrong.
    """
    values = load(settings, api.name, environ)
    app = FunctionApp(api.name, static_folder=None)
    app.service = Service(api, values)
    app.session_interface = _NoSessions()
    app.url_map.converters["id"] = _IdConverter
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY_BYTES
    for route in api.routes:
        app.add_url_rule(
            route.path,
            route.name,
            _view(route),
            methods=[route.method],
            provide_automatic_options=False if route.is_internal else None,
        )
    app.add_url_rule("/openapi.json", "openapi", _openapi_view(api))
    _handle_errors(app, api)
    configure_logging(api.name, values.replica, values.log_level)
    metrics.THREADS.set(values.threads)
    tracer = make_tracer(api.name, values)
    app.wsgi_app = Telemetry(app.wsgi_app, api.name, values.replica, values.exec_timeout, tracer)  # type: ignore[method-assign]
    return app


def to_json(value: Any) -> bytes:
    """JSON as all functions write it: times in ISO 8601 UTC, decimals and ids as text."""
    return _encode(value).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, UUID | Decimal):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_encode = json.JSONEncoder(default=_plain, ensure_ascii=False, separators=(",", ":")).encode


def _view(route: Route) -> Callable[..., Response]:
    """The Flask view of a route: authorise, validate, call, render."""

    def view(**arguments: Any) -> Response:
        _name_route(route.path)
        _refuse_what_waited_too_long()
        _refuse_nul(arguments)
        if route.is_internal and _came_through_the_edge():
            raise errors.NotFound
        if route.roles:
            _authorise(route.roles)
        if route.query is not None:
            arguments["query"] = validate_query(route.query, request.args)
        if route.body is not None:
            arguments["body"] = validate_body(route.body, _json_bytes())
        if route.idempotency in {"required", "optional"}:
            return _idempotently(route, arguments)
        result = route.handler(**arguments)
        return result if isinstance(result, Response) else _response(_rendered(result))

    return view


def _openapi_view(api: Api) -> Callable[[], Response]:
    document = json.dumps(openapi.document(api)).encode()

    def view() -> Response:
        _name_route("/openapi.json")
        return Response(document, mimetype="application/json")

    return view


def _name_route(template: str) -> None:
    trace = current_trace()
    if trace is not None:
        trace.route = template


def _refuse_what_waited_too_long() -> None:
    trace = current_trace()
    if trace is not None and trace.waited_too_long:
        raise errors.Unavailable("Too many are waiting; try again shortly.", code="too_busy")


def _refuse_nul(arguments: Mapping[str, Any]) -> None:
    if any(isinstance(value, str) and "\x00" in value for value in arguments.values()):
        raise errors.NotFound


def _came_through_the_edge() -> bool:
    """Kong and the embedded edge name each request; calls between functions never pass through either.

    A client that sends the header itself only hides the internal routes from itself.
    """
    return EDGE_HEADER in request.headers


def _authorise(roles: frozenset[str]) -> None:
    identity = current().identity()
    if identity is None:
        raise errors.Unauthorized
    if not identity.has_any(roles):
        raise errors.Forbidden(f"This needs one of the roles: {', '.join(sorted(roles))}.")


def _json_bytes() -> bytes:
    if request.mimetype != "application/json":
        raise errors.UnsupportedMediaType
    return request.get_data(cache=True)


def _idempotently(route: Route, arguments: dict[str, Any]) -> Response:
    """Call the handler in a transaction that also stores its answer; or answer what is stored."""
    key = request.headers.get(KEY_HEADER)
    database = current().database
    if key is None and route.idempotency == "optional":
        return _response(database.change(lambda connection: _called(route, arguments, connection)))
    this = attempt(_principal(route), f"{route.method} {request.path}", key, request.get_data(cache=True))

    def answer(connection: Connection) -> Response:
        stored = this.begin(connection)
        if stored is not None:
            return _response(stored, {REPLAYED_HEADER: "true"})
        rendered = _called(route, arguments, connection)
        this.store(connection, rendered)
        return _response(rendered)

    return database.change(answer)


def _called(route: Route, arguments: Mapping[str, Any], connection: Connection) -> StoredAnswer:
    return _rendered(route.handler(**arguments, connection=connection))


def _principal(route: Route) -> str:
    if route.principal is not None:
        return route.principal()
    identity = current().identity()
    return identity.subject if identity else "anonymous"


def _rendered(result: Any) -> StoredAnswer:
    answer = result if isinstance(result, Answer) else Answer(result)
    body = b"" if answer.body is None else to_json(answer.body)
    return StoredAnswer(answer.status, body, dict(answer.headers))


def _response(answer: StoredAnswer, more_headers: Mapping[str, str] | None = None) -> Response:
    response = Response(answer.body, answer.status, mimetype="application/json")
    for name, value in {**answer.headers, **(more_headers or {})}.items():
        response.headers[name] = value
    return response


def _handle_errors(app: FunctionApp, api: Api) -> None:
    def refuse(problem: errors.Problem) -> Response:
        trace = current_trace()
        body, status, headers = errors.render(problem, trace.request_id if trace else "")
        return Response(body, status, headers)

    def refuse_http(error: HTTPException) -> Response:
        if error.code == 405 and _came_through_the_edge() and not _has_public_route(app, api):
            return refuse(errors.NotFound())
        return refuse(_http_problem(error))

    def refuse_database(error: psycopg2.Error) -> Response:
        problem = translate(error, api.refusals)
        if problem is None:
            _log.error("database error", exc_info=error)
        return refuse(problem or errors.Problem())

    def refuse_unknown(error: Exception) -> Response:
        _log.error("unexpected error", exc_info=error)
        return refuse(errors.Problem())

    app.register_error_handler(errors.Problem, refuse)
    app.register_error_handler(HTTPException, refuse_http)
    app.register_error_handler(psycopg2.Error, refuse_database)
    app.register_error_handler(Exception, refuse_unknown)


def _has_public_route(app: FunctionApp, api: Api) -> bool:
    """Whether the path of this request, with whatever method, leads to a route that is not internal."""
    internal = {route.name for route in api.routes if route.is_internal}
    adapter = app.create_url_adapter(request)
    if adapter is None:
        return False
    return any(adapter.match(method=method)[0] not in internal for method in adapter.allowed_methods())


def _http_problem(error: HTTPException) -> errors.Problem:
    """Werkzeug's own refusals (no route, wrong method, too large, …) as problems."""
    known: dict[int, type[errors.Problem]] = {
        kind.status: kind
        for kind in (errors.BadRequest, errors.NotFound, errors.MethodNotAllowed, errors.TooLarge)
    }
    kind = known.get(error.code or 500)
    if kind is None:
        problem = errors.Problem(error.description, code="refused")
        problem.status = error.code or 500
        return problem
    problem = kind()
    for name, value in error.get_headers():
        if name == "Allow":
            problem.headers[name] = value
    return problem


class _IdConverter(BaseConverter):
    """`<id:product_id>`: a whole number that fits a PostgreSQL bigint, in plain digits."""

    regex = "[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        return int(value)


class _NoSessions(SessionInterface):
    """No cookies of Flask's own: functions keep no state in the client."""

    def open_session(self, app: Flask, request: Any) -> Any:
        return self.make_null_session(app)

    def save_session(self, app: Flask, session: Any, response: Any) -> None:
        return None
