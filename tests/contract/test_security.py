"""docs/security.md names a test for every risk, and what can be read off the source: limits, patterns, who calls whom."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, Field

from functions.shared import Api, Body, openapi
from tests.support.hostile import Schema, unbounded
from tests.support.postgres import PROJECT
from tests.support.secret_search import shapes_in, tracked_files
from tests.support.security_page import PAGE, TESTS, named_tests

FUNCTIONS = sorted(path.parent.name for path in (PROJECT / "functions").glob("*/handler.py"))
MADE_UP = [TESTS / "integration" / "earlier_rows" / "0007_customers.sql"]
"""Files with what looks like a secret and is none: the hash of a password that the tests know."""
SOURCES = sorted([*(PROJECT / "functions").rglob("*.py"), *(PROJECT / "template").rglob("*.py")])
RISKS = {f"API{number}:2023" for number in range(1, 11)}


# The page


def sections(page: str) -> dict[str, str]:
    """Each section of the page by its heading's first word."""
    return {part.split()[0]: part for part in page.split("\n## ")[1:]}


def missing_tests(page: str) -> list[str]:
    return [
        f"{file}::{name}"
        for file, name in named_tests(page)
        if not (TESTS / file).is_file() or not re.search(rf"^(?:async )?def {name}\(", (TESTS / file).read_text(), re.MULTILINE)
    ]  # fmt: skip


def rows_without_test(section: str) -> list[str]:
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [row for row in rows if not named_tests(row)]


def test_every_risk_has_its_section() -> None:
    assert {name for name in sections(PAGE) if name.startswith("API")} == RISKS


@pytest.mark.parametrize("name", sections(PAGE))
def test_every_row_is_proved(name: str) -> None:
    section = sections(PAGE)[name]
    assert rows_without_test(section) == []
    assert name not in RISKS or named_tests(section)


def test_every_test_named_is_there() -> None:
    assert missing_tests(PAGE) == []


def test_a_row_without_test_and_a_test_that_is_not_there_are_found() -> None:
    section = "API1\n\n| risk | defence | test |\n|---|---|---|\n| a | b | c |\n"
    assert rows_without_test(section) == ["| a | b | c |"]
    assert missing_tests("`contract/test_security.py::test_nothing`, `contract/test_security.py::test_every_risk_has_its_section`") == ["contract/test_security.py::test_nothing"]  # fmt: skip


# API4: unrestricted resource consumption

STREAMED = {"reports"}
"""Its lists are sent while they are read, so a long one takes no more memory than a short one."""
LONGEST_PAGE = 500


def api_of(function: str) -> Api:
    api = import_module(f"functions.{function}.handler").api
    assert isinstance(api, Api)
    return api


def parameters(function: str) -> Iterator[tuple[str, Schema, Schema]]:
    """Each query parameter of a function: where it is, its schema and the models that may be referred to."""
    document = openapi.document(api_of(function))
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            for parameter in described["parameters"]:
                if parameter["in"] == "query":
                    at = f"{method.upper()} {path}?{parameter['name']}"
                    yield at, parameter["schema"], document["components"]["schemas"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_all_that_is_taken_has_a_limit(function: str) -> None:
    models = openapi.document(api_of(function))["components"]["schemas"]
    faults = [
        f"{route.method} {route.path}: {fault}"
        for route in api_of(function).routes
        if route.body is not None
        for fault in unbounded({"$ref": f"#/{route.body.__name__}"}, models)
    ]
    faults += [
        f"{at}: {fault}" for at, schema, models in parameters(function) for fault in unbounded(schema, models)
    ]
    assert faults == []


@pytest.mark.parametrize("function", sorted(set(FUNCTIONS) - STREAMED))
def test_no_page_is_long(function: str) -> None:
    longest = {at: schema["maximum"] for at, schema, _ in parameters(function) if at.endswith("?limit")}
    assert {at: limit for at, limit in longest.items() if limit > LONGEST_PAGE} == {}


def test_what_has_no_limit_is_found() -> None:
    class Inner(BaseModel):
        text: str

    class Whole(Body):
        names: list[str]
        number: int | None = Field(default=None, ge=0)
        free: dict[str, Any]
        inner: Inner
        pattern: str = Field(pattern="^[*+]{1,3}a+$")
        fine: str = Field(pattern="^[*+]{1,3}$")

    schema = Whole.model_json_schema()
    assert sorted(fault.partition(":")[0] for fault in unbounded(schema, schema["$defs"])) == [
        "free", "inner", "inner.text", "names", "names[]", "number", "pattern",
    ]  # fmt: skip


OWN_TEXTS = {r"(?:\s+|--[^\n]*\n|/\*.*?\*/)*([A-Za-z]+)", r"(\d+(\.\d+)?(ms|s|m|h))+|\d+"}
"""Matched against statements that are written in the source, and against settings."""


def patterns(source: str) -> set[str]:
    """The regular expressions that a file hands to `re`, but for those put together while it runs."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return {
        call.args[0].value
        for call in calls
        if ast.unparse(call.func).startswith("re.")
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }


def takes_long(pattern: str) -> bool:
    """Whether a repetition without end holds another, so that a text that does not match is tried in all its divisions."""
    return _nested(parser.parse(pattern), inside=False)


def _nested(parsed: Any, *, inside: bool) -> bool:
    for code, argument in parsed:
        endless = code in (codes.MAX_REPEAT, codes.MIN_REPEAT) and argument[1] == codes.MAXREPEAT
        if endless and inside:
            return True
        if any(_nested(part, inside=inside or endless) for part in _parts(argument)):
            return True
    return False


def _parts(argument: Any) -> Iterator[Any]:
    if isinstance(argument, parser.SubPattern):
        yield argument
    elif isinstance(argument, list | tuple):
        for part in argument:
            yield from _parts(part)


def test_no_pattern_takes_long_for_any_text() -> None:
    """Patterns of fields are pydantic's, whose engine takes linear time for each; these are Python's own."""
    found = set().union(*(patterns(path.read_text()) for path in SOURCES))
    assert {pattern for pattern in found if takes_long(pattern)} == OWN_TEXTS


def test_a_pattern_that_takes_long_is_found() -> None:
    assert patterns('re.compile(r"(a+)+")') == {"(a+)+"}
    for pattern in ("(a+)+$", "(?:a|b*)*c", "(([a-z])+.)+[A-Z]([a-z])+$"):
        assert takes_long(pattern)
    for pattern in ("a+b+", "(a{1,3}b)+", "[a-z+*]+"):
        assert not takes_long(pattern)


# API7: server side request forgery

CALLERS = {"functions/shared/client.py", "functions/shared/tracer.py"}
"""Who opens connections to other servers beside the database: calls between functions, and spans."""
NETWORK = {
    "aiohttp", "ftplib", "http.client", "httpx", "opentelemetry.exporter", "requests", "smtplib", "socket", "ssl", "urllib.request",
    "urllib3", "webbrowser", "xmlrpc",
}  # fmt: skip
LISTENS = {"template/python3-flask-granian/index.py"}
"""Looks whether its port is free."""
ADDRESS = re.compile(r"ur[il]\b|link|href|callback|webhook|redirect|host|proxy|endpoint", re.IGNORECASE)


def uses_network(source: str) -> bool:
    """Whether a file imports what opens connections; a type for a signature opens none."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in set(names) - {"requests.Response"}:
            if any(name == module or name.startswith(f"{module}.") for module in NETWORK):
                return True
    return False


def test_requests_are_made_in_one_place() -> None:
    """There the address is the gateway's, from a setting, and the name of the function is from the source (test_call_graph.py)."""
    using = {path.relative_to(PROJECT).as_posix() for path in SOURCES if uses_network(path.read_text())}
    assert using == CALLERS | LISTENS


def test_a_file_that_opens_connections_is_found() -> None:
    for line in (
        "import requests",
        "from urllib.request import urlopen",
        "import http.client",
        "from requests import get",
    ):
        assert uses_network(line)
    for line in (
        "from requests import Response",
        "from http import HTTPStatus",
        "from urllib.parse import quote",
    ):
        assert not uses_network(line)


@cache
def field_names(function: str) -> frozenset[str]:
    """Every name that a client may give a value: in bodies, in queries, in paths."""
    document = openapi.document(api_of(function))
    bodies = [route.body.model_json_schema() for route in api_of(function).routes if route.body is not None]
    models = [model for schema in bodies for model in (schema, *schema.get("$defs", {}).values())]
    named = {
        parameter["name"]
        for methods in document["paths"].values()
        for described in methods.values()
        for parameter in described["parameters"]
    }
    return frozenset(named | {name for model in models for name in model.get("properties", {})})


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_client_names_an_address(function: str) -> None:
    assert {name for name in field_names(function) if ADDRESS.search(name)} == set()


def test_names_of_addresses_are_known() -> None:
    assert "amount_cents" in field_names("payments")
    assert all(ADDRESS.search(name) for name in ("image_url", "webhook", "redirect_uri", "callbackHost"))


# API8: security misconfiguration


def test_the_edge_gives_no_stranger_a_customers_credentials() -> None:
    plugins = yaml.safe_load((PROJECT / "kong" / "kong.yml").read_text())["plugins"]
    [cors] = [plugin["config"] for plugin in plugins if plugin["name"] == "cors"]
    assert cors["credentials"]
    assert [
        origin for origin in cors["origins"] if not re.fullmatch(r"https?://[a-z0-9.]+(:\d+)?", origin)
    ] == []


def test_nothing_in_the_repository_looks_like_a_secret() -> None:
    """Whoever's it is; that each kind is found is tested in unit/test_secret_search.py."""
    looks = shapes_in(tracked_files(PROJECT))
    assert {path: kinds for path, kinds in looks.items() if path not in map(str, MADE_UP)} == {}


def test_no_secret_has_a_value_in_what_is_deployed() -> None:
    """stack.yml names secrets, and settings that are none."""
    stack = yaml.safe_load((PROJECT / "stack.yml").read_text())
    names = {name for each in stack["functions"].values() for name in each.get("environment", {})}
    assert {
        name for name in names if re.search(r"secret|password|token|key|dsn|credential", name, re.IGNORECASE)
    } == set()
    for path in (PROJECT / "functions").rglob("requirements.txt"):
        assert "://" not in Path(path).read_text()
