"""What an attacker makes of honest requests: text in every place that takes some, fields that are not there for clients.

Places are found in a function's OpenAPI document, so an operation that is added is attacked without being named here.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from tests.support.callers import Request

Schema = Mapping[str, Any]

SLEEP_SECONDS = 60
"""Far beyond every statement's time: a statement that sleeps is cut off, and its request answered 503."""
TRUE, FALSE = "' OR 1=1--", "' OR 1=2--"
"""Ten characters each, so that even a location's code takes them. To a client who only reads, both are as unknown."""
LEAKS = (
    "Traceback", 'File "', "psycopg2", "LINE 1:", "syntax error", "site-packages", "pg_catalog", "$argon2",
    "PostgreSQL 1", "current transaction",
)  # fmt: skip


def texts(canary: str) -> tuple[str, ...]:
    """Statements to be run, addresses to be fetched, lines to be written, in as few texts as hold them all."""
    return (
        f"'||pg_sleep({SLEEP_SECONDS})||'",
        f"1'); DROP TABLE products.products CASCADE; SELECT pg_sleep({SLEEP_SECONDS}) --",
        "1 UNION SELECT version(), password_hash FROM customers.accounts --",
        f"{canary}/../..;/system/functions?x=${{jndi:{canary}}}%0d%0aX-Injected:%201",
    )


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation of a function as its document has it; `models` are the document's schemas."""

    function: str
    name: str
    described: Schema
    models: Schema

    @property
    def method(self) -> str:
        return self.name.partition(" ")[0]

    @property
    def path(self) -> str:
        return self.name.partition(" ")[2]

    @property
    def body(self) -> Schema | None:
        content = self.described.get("requestBody", {}).get("content", {})
        schema: Schema | None = content.get("application/json", {}).get("schema")
        return schema

    def answer(self, status: int) -> Schema | None:
        """The schema of a JSON answer with this status; None where there is none."""
        content = self.described["responses"].get(str(status), {}).get("content", {})
        schema: Schema | None = content.get("application/json", {}).get("schema")
        return schema


def operations(function: str, document: Schema) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            yield Operation(
                function, f"{method.upper()} {path}", described, document["components"]["schemas"]
            )


@dataclass(frozen=True)
class Place:
    """Where a request takes a value: its kind is path, query, header or body; in a body `name` is dotted."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def places(operation: Operation, request: Request) -> Iterator[Place]:
    """Every parameter that the document has, everything in the body, and what the body could have as well."""
    for parameter in operation.described["parameters"]:
        yield Place(parameter["in"], parameter["name"])
    if operation.body is None:
        return
    yield from (Place("body", name) for name, _ in _leaves(request.body))
    declared = {
        name for each in _alternatives(operation.body, operation.models) for name in each["properties"]
    }
    yield from (Place("body", name) for name in sorted(declared - set(request.body)))


def filled(operation: Operation, request: Request, place: Place, value: Any) -> Request:
    """The request with `value` in this place."""
    if place.kind == "header":
        return replace(request, headers={**request.headers, place.name: value})
    if place.kind == "body":
        return replace(request, body=_with(request.body, place.name, value))
    path, _, query = request.path.partition("?")
    if place.kind == "query":
        pairs = [pair for pair in parse_qsl(query) if pair[0] != place.name]
        return replace(request, path=f"{path}?{urlencode([*pairs, (place.name, value)])}")
    segments = path.split("/")
    segments[operation.path.split("/").index(f"{{{place.name}}}")] = quote(value, safe="")
    return replace(request, path="/".join(segments) + (f"?{query}" if query else ""))


Ask = Callable[[Request], Any]


def attack(ask: Ask, operation: Operation, request: Request, canary: str) -> list[str]:
    """What is wrong with the answers when each place in turn is filled with each text; nothing, if all is well."""
    return [
        f"{operation.function} {operation.name}: {place}: {fault}"
        for place in places(operation, request)
        for fault in _faults(ask, operation, request, place, texts(canary))
    ]


def _faults(
    ask: Ask, operation: Operation, request: Request, place: Place, hostile: Sequence[str]
) -> Iterator[str]:
    for text in hostile:
        response = ask(filled(operation, request, place, text))
        shown = response.get_data(as_text=True).replace(text, "")
        if response.status_code >= 500:
            yield f"{text!r} is answered {response.status_code} {shown[:200]}"
        yield from (f"{text!r} is answered with {leak!r}" for leak in LEAKS if leak in shown)
        if "X-Injected" in response.headers:
            yield f"{text!r} makes a header"
    if operation.method == "GET":
        true, false = (ask(filled(operation, request, place, text)) for text in (TRUE, FALSE))
        if _told(true, TRUE) != _told(false, FALSE):
            yield f"{TRUE!r} and {FALSE!r} are told apart"


def _told(response: Any, text: str) -> tuple[int, str]:
    """Status and body without what is the request's own: its text, however it is written, and its id."""
    shown: str = response.get_data(as_text=True)
    for written in (text, json.dumps(text)[1:-1], response.headers["X-Request-Id"]):
        shown = shown.replace(written, "")
    body = response.get_json(silent=True)
    moment = body.get("as_of", "") if isinstance(body, dict) else ""
    return response.status_code, shown.replace(str(moment), "") if moment else shown


def objects(operation: Operation, body: Any) -> Iterator[tuple[tuple[str, ...], Collection[str]]]:
    """Each object in a body: where it is, and the names that the document lets it have."""
    assert operation.body is not None
    yield from _objects(body, list(_alternatives(operation.body, operation.models)), operation.models, ())


def _objects(
    value: Any, schemas: Sequence[Schema], models: Schema, at: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Collection[str]]]:
    if isinstance(value, list) and value:
        items = [each for schema in schemas for each in _alternatives(schema.get("items", {}), models)]
        yield from _objects(value[0], items, models, (*at, "0"))
    if not isinstance(value, dict):
        return
    yield at, {name for schema in schemas for name in schema.get("properties", {})}
    for name, part in value.items():
        parts = [
            each
            for schema in schemas
            for each in _alternatives(schema.get("properties", {}).get(name, {}), models)
        ]
        yield from _objects(part, parts, models, (*at, name))


def with_fields(body: Any, at: Sequence[str], fields: Collection[str]) -> Any:
    """The body with these fields in the object there."""
    forged = copy.deepcopy(body)
    inner = forged
    for name in at:
        inner = inner[int(name)] if isinstance(inner, list) else inner[name]
    inner.update(dict.fromkeys(fields, 1))
    return forged


def undocumented(value: Any, schema: Schema, models: Schema, at: str = "") -> list[str]:
    """The names in an answer that its schema does not have."""
    found = [_undocumented(value, each, models, at) for each in _alternatives(schema, models)]
    return min(found, key=len, default=[])


def _undocumented(value: Any, schema: Schema, models: Schema, at: str) -> list[str]:
    if isinstance(value, list):
        items = schema.get("items", {})
        return [name for each in value for name in undocumented(each, items, models, at)]
    if not isinstance(value, dict) or schema.get("additionalProperties"):
        return []
    known = schema.get("properties", {})
    return [
        name
        for key, part in value.items()
        for name in (
            undocumented(part, known[key], models, f"{at}{key}.") if key in known else [f"{at}{key}"]
        )
    ]


def unbounded(schema: Schema, models: Schema, at: str = "") -> Iterator[str]:
    """Places in a schema where a client could send as much as it likes: text, lists, numbers, names of fields."""
    for each in _alternatives(schema, models):
        kind = each.get("type")
        if "enum" in each or "const" in each or kind in {"boolean", "null"}:
            continue
        if kind == "object":
            if each.get("additionalProperties") is not False:
                yield f"{at or 'the body'}: any fields"
            for name, part in each.get("properties", {}).items():
                yield from unbounded(part, models, f"{at}.{name}".lstrip("."))
        elif kind == "array":
            if "maxItems" not in each:
                yield f"{at}: a list of any length"
            yield from unbounded(each.get("items", {}), models, f"{at}[]")
        elif kind == "string":
            if not (each.get("format") or "maxLength" in each or _is_bounded(each.get("pattern", "*"))):
                yield f"{at}: text of any length"
        elif kind in {"integer", "number"}:
            if "maximum" not in each or "minimum" not in each:
                yield f"{at}: a number of any size"
        else:
            yield f"{at}: anything"


def _is_bounded(pattern: str) -> bool:
    """Whether a pattern without escapes of `*` and `+` holds texts of some length only: those in classes are letters."""
    outside, in_class = "", False
    for letter in pattern:
        in_class = (in_class or letter == "[") and letter != "]"
        outside += "" if in_class else letter
    return (
        pattern.startswith("^")
        and pattern.endswith("$")
        and not set(outside) & {"*", "+"}
        and ",}" not in outside
    )


def _alternatives(schema: Schema, models: Schema) -> Iterator[Schema]:
    """What a schema may be, references followed."""
    if "$ref" in schema:
        yield from _alternatives(models[schema["$ref"].rsplit("/", 1)[1]], models)
        return
    parts = [part for word in ("anyOf", "oneOf", "allOf") for part in schema.get(word, ())]
    if not parts:
        yield schema
    for part in parts:
        yield from _alternatives(part, models)


def _leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _leaves(part, f"{at}{name}.")
    elif isinstance(value, list):
        for index, part in enumerate(value[:1]):
            yield from _leaves(part, f"{at}{index}.")
    else:
        yield at.removesuffix("."), value


def _with(body: Any, name: str, value: Any) -> Any:
    changed = copy.deepcopy(body)
    *ways, last = name.split(".")
    inner = changed
    for way in ways:
        inner = inner[int(way)] if isinstance(inner, list) else inner[way]
    if isinstance(inner, list):
        inner[int(last)] = value
    else:
        inner[last] = value
    return changed
