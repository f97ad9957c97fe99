"""The shop's front door: a landing page at `/` and the API documentation at `/docs`, each reached through the edge.

Owns no tables and no key. Asks every public function for its `/openapi.json`, as any visitor may.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from flask import Response, current_app, request

from functions.shared import Answer, Api, FunctionApp, FunctionSettings, NotFound, current, setting
from functions.shared import create_app as build
from functions.shared.client import ServiceClient

from . import pages
from .documents import FETCH_SECONDS, Documents
from .examples import EDGE_URL

SECURITY_HEADERS = {
    # Everything comes from this function; nothing is inline, so injected text can neither run nor load anything.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
FOREVER = "public, max-age=31536000, immutable"
"""For files whose address changes when they do."""


@dataclass(frozen=True, kw_only=True)
class SiteSettings(FunctionSettings):
    functions: str = setting(
        "Public functions, separated by spaces: what the pages link to and document.",
        default="products inventory sales reports customers orders cart checkout",
    )
    edge_url: str = setting(
        "Address of the edge as a visitor writes it, shown in the examples.", default=EDGE_URL
    )
    prometheus_url: str = setting(
        "Address of Prometheus for a visitor; without it there is no link.", default=""
    )
    dashboards_url: str = setting(
        "Address of the dashboards for a visitor; without it there is no link.", default=""
    )


api = Api("site", title="Landing page and API documentation", warm_up=["/"])


@api.get("/", answers={200: "text/html", 304: None})
def show_landing_page() -> Response:
    """The landing page."""
    settings = current().settings(SiteSettings)
    links = pages.links(settings.prometheus_url, settings.dashboards_url)
    return _page(pages.landing(settings.functions.split(), settings.edge_url, links))


@api.get("/docs", answers={200: "text/html", 304: None})
def show_documentation() -> Response:
    """The API documentation: a list of operations that a script turns into the viewer."""
    gathered = _documents().current()
    return _page(pages.documentation(gathered.document, gathered.away))


@api.get("/docs/openapi.json", answers={200: "application/json", 304: None})
def merged_document() -> Response:
    """The OpenAPI document of all public functions."""
    gathered = _documents().current()
    response = Response(gathered.body, mimetype="application/json")
    return _revalidated(response, gathered.etag)


@api.get("/docs/files/<version>/<name>", answers={200: tuple(pages.KINDS.values())})
def send_file(version: str, name: str) -> Response | Answer:
    """A script, a style or a picture of these pages."""
    file = pages.files().get((version, name))
    if file is None:
        raise NotFound
    response = Response(file.content, mimetype=file.kind)
    response.headers.update({**SECURITY_HEADERS, "Cache-Control": FOREVER})
    return response


def _page(html: str) -> Response:
    return _revalidated(Response(html, mimetype="text/html"), pages.etag(html))


def _revalidated(response: Response, etag: str) -> Response:
    """`response`, which a browser may keep but asks about each time."""
    response.headers.update({**SECURITY_HEADERS, "Cache-Control": "no-cache", "ETag": etag})
    return cast(Response, response.make_conditional(request))


def _documents() -> Documents:
    return cast(Documents, current_app.extensions["documents"])


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The site in `environ`; the template calls this once."""
    app = build(api, SiteSettings, environ)
    settings = app.service.settings(SiteSettings)
    client = ServiceClient(settings.gateway_url, token=None, default_budget_seconds=FETCH_SECONDS)
    app.extensions["documents"] = Documents(client, settings.functions.split(), settings.edge_url)
    return app
