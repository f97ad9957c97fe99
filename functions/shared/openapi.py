"""OpenAPI 3.1 of an Api, from the same routes and pydantic models that requests are checked with."""

from __future__ import annotations

import inspect
import re
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from .api import Api, Route
from .errors import PROBLEM_JSON

_PARAMETER = re.compile(r"<(?:(?P<kind>[a-z]+)(?:\([^)]*\))?:)?(?P<name>[a-z_]+)>")
_SCHEMA_OF_KIND = {
    "id": {"type": "integer", "minimum": 0},
    "int": {"type": "integer"},
    "uuid": {"type": "string", "format": "uuid"},
}
_REF = "#/components/schemas/{model}"
_PROBLEM_SCHEMA = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail", "code", "errors", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def document(api: Api) -> dict[str, Any]:
    """The whole document; paths are as the function sees them."""
    paths: dict[str, dict[str, Any]] = {}
    for route in api.routes:
        paths.setdefault(path_template(route.path), {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": api.title, "version": "1"},
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM_SCHEMA, **_schemas(api)},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def path_template(path: str) -> str:
    """`/<int:product_id>` as OpenAPI writes it: `/{product_id}`."""
    return _PARAMETER.sub(lambda match: "{" + match["name"] + "}", path)


def _operation(route: Route) -> dict[str, Any]:
    text = inspect.getdoc(route.handler) or ""
    summary, _, description = text.partition("\n")
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": summary.rstrip("."),
        "parameters": _parameters(route),
        "responses": {str(status): _answer(model, route) for status, model in route.answers.items()},
    }
    if description.strip():
        operation["description"] = description.strip()
    if route.body is not None:
        schema = {"$ref": _REF.format(model=route.body.__name__)}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if route.roles:
        operation["security"] = [{"token": []}]
        operation["x-roles"] = sorted(route.roles)
    for status in sorted(_problems(route)):
        operation["responses"].setdefault(str(status), _PROBLEM)
    operation["responses"]["default"] = _PROBLEM
    return operation


_PROBLEM = {
    "description": "A refusal",
    "content": {PROBLEM_JSON: {"schema": {"$ref": _REF.format(model="Problem")}}},
}


def _problems(route: Route) -> set[int]:
    problems = set(route.problems)
    if route.roles:
        problems |= {401, 403}
    if route.body is not None:
        problems |= {400, 413, 415, 422}
    if route.query is not None:
        problems |= {422}
    if route.idempotency is not None:
        problems |= {400, 409, 422}
    if route.if_match:
        problems |= {412, 428}
    return problems


def _answer(model: Any, route: Route) -> dict[str, Any]:
    headers = {
        name: {"description": sentence, "schema": {"type": "string"}}
        for name, sentence in route.response_headers.items()
    }
    more = {"headers": headers} if headers else {}
    if model is None:
        return {"description": "No body", **more}
    if isinstance(model, str):
        return {"description": "Success", "content": {model: {}}, **more}
    schema = TypeAdapter(model).json_schema(ref_template=_REF)
    schema.pop("$defs", None)
    if isinstance(model, type) and issubclass(model, BaseModel):
        schema = {"$ref": _REF.format(model=model.__name__)}
    return {"description": "Success", **more, "content": {"application/json": {"schema": schema}}}


def _parameters(route: Route) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {
            "name": match["name"],
            "in": "path",
            "required": True,
            "schema": _SCHEMA_OF_KIND.get(match["kind"], {"type": "string"}),
        }
        for match in _PARAMETER.finditer(route.path)
    ]
    if route.query is not None:
        schema = route.query.model_json_schema(ref_template=_REF)
        for name, field in schema["properties"].items():
            required = name in schema.get("required", ())
            parameters.append({"name": name, "in": "query", "required": required, "schema": field})
    if route.idempotency is not None:
        parameters.append(_header("Idempotency-Key", required=route.idempotency != "optional"))
    if route.if_match:
        parameters.append(_header("If-Match", required=True))
    for name, sentence in route.request_headers.items():
        parameters.append({**_header(name, required=False), "description": sentence})
    return parameters


def _header(name: str, *, required: bool) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "schema": {"type": "string"}}


def _schemas(api: Api) -> dict[str, Any]:
    models: dict[str, type[BaseModel]] = {}
    for route in api.routes:
        for model in (route.body, *route.answers.values()):
            if isinstance(model, type) and issubclass(model, BaseModel):
                models[model.__name__] = model
    modes = [(model, "validation") for model in models.values()]
    _, schema = models_json_schema(modes, ref_template=_REF)  # type: ignore[arg-type]
    return dict(schema.get("$defs", {}))
