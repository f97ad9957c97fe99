"""The web application behind :8011: pages, dashboards as JSON, and the few questions to Prometheus that they need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import requests
from flask import Flask, Response, abort, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from localfaas import loopback
from localfaas.commands import as_typed
from localfaas.dashboards import files
from localfaas.monitoring.prometheus import SCRAPE_INTERVAL
from localfaas.settings import Settings

TIMEOUT_SECONDS = (2, 30)
"""To connect to Prometheus, and between two parts of its answer."""
LARGEST_QUESTION_BYTES = 256 * 1024
LARGEST_ANSWER_BYTES = 32 * 1024 * 1024
"""No panel can draw as much; more would only fill the memory of this process and of the browser."""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""Styles may be inline because the charts' tooltips are made so; scripts may not."""
QUESTIONS = frozenset({"query", "query_range", "alerts"})


@dataclass(frozen=True)
class Link:
    """A neighbour of the dashboards, shown at the top of every page."""

    title: str
    url: str


def create_app(settings: Settings) -> Flask:
    """The application for the project and the ports of `settings`. It changes nothing, so it asks for no password."""
    app = Flask("localfaas.dashboards", root_path=str(Path(__file__).parent))
    app.config["TRUSTED_HOSTS"] = loopback.HOSTS
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_QUESTION_BYTES
    app.jinja_env.globals["links"] = _links(settings)
    _add_pages(app, settings)
    _add_data(app, settings)
    app.register_error_handler(HTTPException, _refused)
    app.after_request(_with_headers)
    return app


def _links(settings: Settings) -> list[Link]:
    parts = {"Prometheus": "prometheus", "Alertmanager": "alertmanager", "Shop": "edge"}
    if settings.stores_traces:
        parts["Traces"] = "traces"
    return [Link(title, f"http://localhost:{settings.port(part)}/") for title, part in parts.items()]


def _add_pages(app: Flask, settings: Settings) -> None:
    @app.get("/")
    def home() -> str:
        return render_template("home.html", dashboards=files.summaries(settings.project))

    @app.get("/d/<uid>")
    @app.get("/d/<uid>/<slug>")
    def dashboard(uid: str, slug: str = "") -> str:
        found = files.summaries(settings.project)
        one = next((summary for summary in found if summary.uid == uid), None) or abort(404)
        return render_template(
            "dashboard.html", dashboard=one, dashboards=found, scrape_interval=SCRAPE_INTERVAL
        )

    @app.get("/runbooks/")
    def runbooks() -> str:
        return render_template("runbooks.html", names=files.runbook_names(settings.project))

    @app.get("/runbooks/<name>")
    def runbook(name: str) -> str:
        html = files.runbook(settings.project, name) or abort(404)
        return render_template("runbook.html", name=name, html=html)

    @app.get("/healthz")
    def health() -> Response:
        return Response("OK", content_type="text/plain")


def _add_data(app: Flask, settings: Settings) -> None:
    @app.get("/api/dashboards/<uid>")
    def dashboard_json(uid: str) -> Response:
        return jsonify(files.dashboard(settings.project, uid) or abort(404))

    @app.route("/api/v1/<question>", methods=["GET", "POST"])
    def ask(question: str) -> Response:
        if question not in QUESTIONS:
            abort(404)
        return _asked(settings, f"/api/v1/{question}")

    @app.get("/api/v1/label/<name>/values")
    def values(name: str) -> Response:
        if not name.isidentifier():
            abort(404)
        return _asked(settings, f"/api/v1/label/{name}/values")


def _asked(settings: Settings, path: str) -> Response:
    """Prometheus' own answer; 502 with a sentence when it is away or says too much."""
    values = list(request.values.items(multi=True))
    form, query = (values, None) if request.method == "POST" else (None, values)
    url = settings.url("prometheus") + path
    try:
        with (
            loopback.session() as session,
            session.request(
                request.method, url, data=form, params=query, timeout=TIMEOUT_SECONDS, stream=True
            ) as answer,
        ):
            body = _bounded(answer)
    except requests.RequestException:
        message = f"Prometheus does not answer at {settings.url('prometheus')}; see `localfaas status`."
        return _json_error(502, as_typed(message, settings.project))
    if body is None:
        return _json_error(502, "Prometheus' answer is too large to draw; choose a shorter time.")
    return Response(body, answer.status_code, content_type="application/json")


def _bounded(answer: requests.Response) -> bytes | None:
    """The whole answer; None, and the rest unread, when it is too large."""
    body = bytearray()
    for part in answer.iter_content(64 * 1024):
        body += part
        if len(body) > LARGEST_ANSWER_BYTES:
            return None
    return bytes(body)


def _json_error(status: int, message: str) -> Response:
    response = jsonify({"status": "error", "errorType": "unavailable", "error": message})
    response.status_code = status
    return response


def _refused(error: HTTPException) -> Response:
    if request.path.startswith("/api/"):
        return _json_error(error.code or 500, error.name)
    return Response(f"{error.code} {error.name}\n", error.code, content_type="text/plain")


def _with_headers(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    if request.path.startswith("/static/vendor/"):
        response.headers["Cache-Control"] = "max-age=86400"
    else:
        response.headers["Cache-Control"] = "no-cache" if request.path.startswith("/static/") else "no-store"
    return response
