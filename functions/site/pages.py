"""The pages and the files that they use, all from this folder and from the package that holds the viewer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .domain import operations
from .examples import BEGIN

HERE = Path(__file__).resolve().parent
VIEWER_PACKAGE = "flask-openapi-swagger"
"""Holds the files of npm's swagger-ui-dist in the version that it has itself (docs/decisions/0036)."""
_VIEWER_FOLDER = "flask_openapi_swagger/templates/swagger"
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_ABOUT = {
    "products": "the catalogue: search, prices",
    "inventory": "stock by location, reservations, replenishment",
    "sales": "the tills of the stores",
    "reports": "what was sold, what to order",
    "customers": "accounts and sign-in",
    "orders": "orders of the web shop",
    "cart": "carts of visitors and customers; three replicas",
    "checkout": "from a cart to an order",
}


@dataclass(frozen=True)
class File:
    """What is sent as it is."""

    content: bytes
    kind: str


@dataclass(frozen=True)
class Link:
    """A link of the landing page."""

    address: str
    text: str
    about: str


def landing(functions: Sequence[str], edge_url: str, links: Sequence[Link]) -> str:
    """The landing page, in HTML."""
    shown = [Link(f"/docs#{name}", name, _ABOUT.get(name, "")) for name in functions]
    return _render("landing.html", functions=shown, edge_url=edge_url.rstrip("/"), links=links)


def links(prometheus_url: str, dashboards_url: str) -> list[Link]:
    """Where else to look, as far as there is an address."""
    known = [
        Link("/docs", "API documentation", "every operation, to read and to try"),
        Link("/docs/openapi.json", "OpenAPI document", "the same for programs"),
        Link(dashboards_url, "Dashboards", "rates, errors and durations"),
        Link(prometheus_url, "Prometheus", "the figures themselves, and the alerts"),
    ]
    return [link for link in known if link.address]


def documentation(document: Mapping[str, Any], away: Mapping[str, str]) -> str:
    """The documentation as plain HTML, whose list of operations `docs.js` replaces by the viewer."""
    sections: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {
        tag["name"]: [] for tag in document["tags"]
    }
    for method, path, operation in operations(document):
        sections[operation["tags"][0]].append((method, path, operation))
    return _render("docs.html", begin=BEGIN, sections=sections, away=away)


def etag(text: str) -> str:
    return f'"{_digest(text.encode())}"'


@lru_cache(maxsize=1)
def files() -> Mapping[tuple[str, str], File]:
    """Every file by its version and name. Raises PackageNotFoundError when the viewer is not installed."""
    return {**_own_files(), **_viewer_files()}


def _own_files() -> dict[tuple[str, str], File]:
    found = sorted((HERE / "static").iterdir())
    return {(_digest(path.read_bytes()), path.name): _file(path) for path in found}


def _viewer_files() -> dict[tuple[str, str], File]:
    package = distribution(VIEWER_PACKAGE)
    folder = Path(str(package.locate_file(_VIEWER_FOLDER)))
    found = (folder / "js" / "swagger-ui-bundle.js", folder / "css" / "swagger-ui.css")
    return {(package.version, path.name): _file(path) for path in found}


def _file(path: Path) -> File:
    return File(path.read_bytes(), KINDS[path.suffix])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _render(template: str, **values: Any) -> str:
    addresses = {name: f"/docs/files/{version}/{name}" for version, name in files()}
    return _templates().get_template(template).render(file=addresses, **values)


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
