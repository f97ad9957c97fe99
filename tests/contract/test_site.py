"""The landing page and the API documentation, from the real documents of the real functions."""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from functions.shared import FunctionSettings, Unavailable, create_app
from functions.site import handler
from functions.site.documents import FRESH_SECONDS, INCOMPLETE_SECONDS, Documents
from functions.site.domain import INTERNAL_ROLES, operations

PROJECT = Path(__file__).resolve().parents[2]
PRESENT = sorted(
    path.parent.name
    for path in (PROJECT / "functions").glob("*/handler.py")
    if path.parent.name not in {"maintenance", "payments", "site"}
)


class Functions:
    """In the place of the client: answers from the functions' applications; tests take some away."""

    def __init__(self, clients: dict[str, FlaskClient]) -> None:
        self.clients = clients
        self.replaced: dict[str, Callable[[], Any]] = {}
        self.asked: list[str] = []

    def get(self, function: str, path: str) -> Any:
        self.asked.append(function)
        if function in self.replaced:
            return self.replaced[function]()
        return _Response(self.clients[function].get(path)) if function in self.clients else _Gone()


class _Response:
    def __init__(self, response: Any) -> None:
        self.status_code, self.json = response.status_code, response.get_json


class _Gone:
    status_code = 404


class _Garbage:
    status_code = 200

    def json(self) -> Any:
        raise ValueError("not JSON")


def unavailable() -> Any:
    raise Unavailable


@pytest.fixture(scope="module")
def clients() -> dict[str, FlaskClient]:
    apis = {name: importlib.import_module(f"functions.{name}.handler").api for name in PRESENT}
    return {name: create_app(api, FunctionSettings, {}).test_client() for name, api in apis.items()}


@pytest.fixture
def functions(clients: dict[str, FlaskClient]) -> Functions:
    return Functions(clients)


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def site(functions: Functions, now: list[float]) -> Iterator[FlaskClient]:
    app = handler.create_app({"functions": " ".join(PRESENT), "prometheus_url": "http://localhost:8010"})
    app.extensions["documents"] = Documents(functions, PRESENT, clock=lambda: now[0])  # type: ignore[arg-type]
    with app.test_client() as client:
        yield client


class Page(HTMLParser):
    """What a page refers to, and whether anything runs inside of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.ids: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [str(values[key]) for key in ("href", "src") if values.get(key)]
        self.ids += [str(values["id"])] if "id" in values else []
        if tag == "style" or (tag == "script" and "src" not in values):
            self.inline.append(tag)
        self.inline += [key for key in values if key.startswith("on") or key == "style"]


def merged(site: FlaskClient) -> dict[str, Any]:
    content: dict[str, Any] = site.get("/docs/openapi.json").get_json()
    return content


def test_the_merged_document_is_valid(site: FlaskClient) -> None:
    OpenAPIV31SpecValidator(merged(site)).validate()  # type: ignore[arg-type]


def test_it_has_every_operation_that_is_not_internal(site: FlaskClient, functions: Functions) -> None:
    expected = {
        (method, f"/api/{name}{path}".rstrip("/"))
        for name, client in functions.clients.items()
        for method, path, operation in operations(client.get("/openapi.json").get_json())
        if operation.get("x-roles") != INTERNAL_ROLES
    }
    assert {(method, path) for method, path, _ in operations(merged(site))} == expected
    assert ("POST", "/api/cart/expire") not in expected


def test_the_pages_are_about_the_functions_that_the_edge_serves() -> None:
    text = (PROJECT / "kong" / "kong.yml").read_text()
    paths = [
        path
        for service in yaml.safe_load(text)["services"]
        for route in service["routes"]
        for path in route.get("paths", [])
    ]
    served = {found[1] for path in paths if (found := re.match(r"~?/api/([a-z]+)", path))}
    documented = handler.create_app({}).service.settings(handler.SiteSettings).functions.split()
    assert served <= set(documented)
    assert set(PRESENT) <= set(documented)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(unavailable, "did not answer"), (_Gone, "answered 404"), (_Garbage, "not JSON")],
)
def test_a_function_that_is_away_is_named(
    site: FlaskClient, functions: Functions, answer: Callable[[], Any], reason: str
) -> None:
    functions.replaced["cart"] = answer
    page, document = site.get("/docs").text, merged(site)
    notice = page[page.index("Missing from this page") : page.index('id="viewer"')]
    assert "<code>cart</code>" in notice
    assert reason in notice
    assert "`cart`" in document["info"]["description"]
    assert not [path for path in document["paths"] if path.startswith("/api/cart")]


def test_functions_are_asked_again_soon_when_one_is_away(
    site: FlaskClient, functions: Functions, now: list[float]
) -> None:
    functions.replaced["cart"] = unavailable
    merged(site)
    functions.replaced.clear()
    now[0] += INCOMPLETE_SECONDS
    assert "/api/cart" in merged(site)["paths"]
    functions.asked.clear()
    now[0] += FRESH_SECONDS - 0.1
    merged(site)
    assert functions.asked == []
    now[0] += 0.1
    merged(site)
    assert sorted(functions.asked) == PRESENT


def test_many_readers_make_one_request_of_each_function(functions: Functions) -> None:
    documents = Documents(functions, PRESENT)  # type: ignore[arg-type]
    readers = [threading.Thread(target=documents.current) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(10)
    assert sorted(functions.asked) == PRESENT


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_elsewhere_and_run_nothing_inline(site: FlaskClient, path: str) -> None:
    response = site.get(path)
    page = Page(response.text)
    policy = response.headers["Content-Security-Policy"]
    assert (response.status_code, response.mimetype, page.inline) == (200, "text/html", [])
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    outside = [address for address in page.addresses if re.match(r"[a-z]+:|//", address)]
    assert outside == (["http://localhost:8010"] if path == "/" else [])


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_every_link_within_the_site_leads_somewhere(site: FlaskClient, path: str) -> None:
    docs = Page(site.get("/docs").text).ids
    for address in Page(site.get(path).text).addresses:
        if address.startswith("/"):
            page, _, fragment = address.partition("#")
            assert site.get(page).status_code == 200, address
            assert not fragment or fragment in docs, address


def test_documentation_is_readable_without_a_script(site: FlaskClient) -> None:
    page = site.get("/docs").text
    assert "<b>PUT</b> /api/cart/items/{sku}" in page
    assert "/api/cart/expire" not in page


def test_files_are_kept_by_browsers_and_pages_are_asked_for_again(site: FlaskClient) -> None:
    [bundle] = re.findall(r'src="([^"]+/swagger-ui-bundle\.js)"', site.get("/docs").text)
    script = site.get(bundle)
    assert script.mimetype == "text/javascript"
    assert "immutable" in script.headers["Cache-Control"]
    page = site.get("/docs/openapi.json")
    assert page.headers["Cache-Control"] == "no-cache"
    again = site.get("/docs/openapi.json", headers={"If-None-Match": page.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/docs/files/5/x", "/docs/files/../handler.py", "/docs/files/0/handler.py", "/api"]
)
def test_nothing_else_is_served(site: FlaskClient, path: str) -> None:
    assert site.get(path).status_code == 404


def test_what_a_setting_says_is_text_and_not_markup() -> None:
    app = handler.create_app({"functions": "cart", "edge_url": "http://<script>x</script>"})
    assert "<script>x" not in app.test_client().get("/").text
