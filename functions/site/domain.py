"""One OpenAPI document out of many: pure, documents in, document out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

from .examples import EDGE_URL, with_examples

Json = dict[str, Any]

SCHEMAS = "#/components/schemas/"
INTERNAL_ROLES = ["service"]
"""Operations for these roles alone are calls between functions: the edge does not serve them."""


def merge(documents: Mapping[str, Json], *, title: str, description: str, edge_url: str = EDGE_URL) -> Json:
    """The OpenAPI 3.1 document of all functions as the edge serves them, below `/api/<function>`.

    Their examples are for a shop whose edge is at `edge_url`.
    Schemas and operations are renamed `<function>.<name>`, so that two functions may use one name.
    Internal operations, and schemas that nothing else uses, are left out.
    """
    merged: Json = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1", "description": description},
        "servers": [{"url": "/", "description": "the shop's edge"}],
        "tags": [],
        "paths": {},
        "components": {"schemas": {}, "securitySchemes": {}},
    }
    for function, document in documents.items():
        public = _public_paths(function, document)
        components = document.get("components", {})
        merged["tags"].append({"name": function, "description": document.get("info", {}).get("title", "")})
        merged["paths"].update(public)
        merged["components"]["schemas"].update(_used_schemas(function, public, components.get("schemas", {})))
        merged["components"]["securitySchemes"].update(components.get("securitySchemes", {}))
    return with_examples(merged, edge_url)


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Json]]:
    """Method, path and operation of each operation, in the document's order."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _public_paths(function: str, document: Json) -> Json:
    paths: Json = {}
    shown = [found for found in operations(document) if found[2].get("x-roles") != INTERNAL_ROLES]
    names = {operation["operationId"] for _, _, operation in shown}
    for method, path, operation in shown:
        public = f"/api/{function}{path}".rstrip("/")
        paths.setdefault(public, {})[method.lower()] = _public_operation(function, operation, names)
    return paths


def _public_operation(function: str, operation: Json, names: Set[str]) -> Json:
    """The operation under its new name, with links to those among `names`, which are what is shown of the function."""
    renamed: Json = _with_own_schemas(function, operation)
    responses = {status: _linked(function, answer, names) for status, answer in renamed["responses"].items()}
    return {
        **renamed,
        "operationId": f"{function}.{operation['operationId']}",
        "responses": responses,
        "tags": [function],
    }


def _linked(function: str, answer: Json, names: Set[str]) -> Json:
    links = {
        name: {**link, "operationId": f"{function}.{link['operationId']}"}
        for name, link in answer.get("links", {}).items()
        if link["operationId"] in names
    }
    rest = {name: value for name, value in answer.items() if name != "links"}
    return {**rest, "links": links} if links else rest


def _with_own_schemas(function: str, part: Any) -> Any:
    """`part` with every reference to a schema, in discriminators too, leading to the function's own."""
    if isinstance(part, dict):
        return {key: _with_own_schemas(function, value) for key, value in part.items()}
    if isinstance(part, list):
        return [_with_own_schemas(function, value) for value in part]
    if isinstance(part, str) and part.startswith(SCHEMAS):
        return f"{SCHEMAS}{function}.{part.removeprefix(SCHEMAS)}"
    return part


def _used_schemas(function: str, paths: Json, schemas: Json) -> Json:
    """The schemas that `paths` lead to, directly or through each other."""
    renamed = {f"{function}.{name}": _with_own_schemas(function, schema) for name, schema in schemas.items()}
    used: set[str] = set()
    waiting = set(_references(paths))
    while waiting:
        name = waiting.pop()
        used.add(name)
        waiting |= set(_references(renamed[name])) - used
    return {name: schema for name, schema in renamed.items() if name in used}


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, str) and part.startswith(SCHEMAS):
        yield part.removeprefix(SCHEMAS)
    elif isinstance(part, dict | list):
        for value in part.values() if isinstance(part, dict) else part:
            yield from _references(value)
