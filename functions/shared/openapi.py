"""OpenAPI 3.1 of an Api, from the same routes and pydantic models that requests are checked with."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from .api import Api, Route
from .errors import PROBLEM_JSON
from .idempotency import KEY_HEADER, LONGEST_KEY

_PARAMETER = re.compile(r"<(?:(?P<kind>[a-z]+)(?:\([^)]*\))?:)?(?P<name>[a-z_]+)>")
_SCHEMA_OF_KIND = {
    "id": {"type": "integer", "minimum": 0},
    "int": {"type": "integer"},
    "uuid": {"type": "string", "format": "uuid"},
}
_KEY_SCHEMA = {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[ -~]+$"}
EXAMPLES_FILE = "examples.json"
"""Beside the handler: by operation, a request that works as it stands (`x-request` here), and its `answer`."""
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
    examples = _examples(api)
    for route in api.routes:
        operation = _operation(route)
        paths.setdefault(path_template(route.path), {})[route.method.lower()] = operation
        for response, links in _links(api, route):
            operation["responses"][response]["links"] = links
        if route.name in examples:
            _add_example(operation, examples[route.name])
    return {
        "openapi": "3.1.0",
        "info": {"title": api.title, "version": "1"},
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM_SCHEMA, **_schemas(api)},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _examples(api: Api) -> dict[str, Any]:
    """What lies beside the handlers of the function, in the project as in an image."""
    files = {Path(inspect.getfile(route.handler)).with_name(EXAMPLES_FILE) for route in api.routes}
    return {
        name: example
        for file in files
        if file.is_file()
        for name, example in json.loads(file.read_text()).items()
    }


def _add_example(operation: dict[str, Any], example: Mapping[str, Any]) -> None:
    operation["x-request"] = {name: value for name, value in example.items() if name != "answer"}
    answer = example.get("answer")
    if answer is None:
        return
    status = str(answer["status"])
    response = operation["responses"][status]
    if "body" in answer and "content" in response:
        shown = {
            kind: {**media, "example": answer["body"]} if kind.endswith("json") else media
            for kind, media in response["content"].items()
        }
        # In a description of its own, as one of a refusal is that of all operations.
        operation["responses"][status] = {**response, "content": shown}


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
    """The refusals that a route names, and those that come before it is asked."""
    problems = set(route.problems)
    if _PARAMETER.search(route.path):
        problems |= {404}
    if route.roles:
        problems |= {401, 403}
    if route.body is not None:
        problems |= {400, 413, 415, 422}
    if route.query is not None:
        problems |= {400, 422}
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
    content: dict[str, Any] = {}
    for form in model if isinstance(model, tuple) else (model,):
        content |= {form: {}} if isinstance(form, str) else {"application/json": {"schema": _schema(form)}}
    return {"description": "Success", **more, "content": content}


def _links(api: Api, route: Route) -> Iterator[tuple[str, dict[str, Any]]]:
    """Status of each success of a POST, and links to what can be done with what it made (OpenAPI 3.1, section 4.8.20).

    That is what lies right below its path under a name that the answer has a member for.
    """
    below = route.path.rstrip("/") + "/<"
    for status, model in route.answers.items() if route.method == "POST" else ():
        members = _members(model) | route.links.keys()
        links = {
            each.name: _link(each, match["name"], route.links.get(match["name"], match["name"]))
            for each in api.routes
            if each.path.startswith(below)
            and (match := _PARAMETER.match(each.path, len(below) - 1))
            and match["name"] in members
        }
        if links:
            yield str(status), links


def _members(model: Any) -> set[str]:
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return set()
    return {field.alias or name for name, field in model.model_fields.items()}


def _link(target: Route, parameter: str, member: str) -> dict[str, Any]:
    parameters = {parameter: f"$response.body#/{member}"}
    if target.if_match:
        parameters["If-Match"] = "$response.header.ETag"
    return {"operationId": target.name, "parameters": parameters}


def _schema(model: Any) -> dict[str, Any]:
    if isinstance(model, type) and issubclass(model, BaseModel):
        return {"$ref": _REF.format(model=model.__name__)}
    schema = TypeAdapter(model).json_schema(ref_template=_REF)
    schema.pop("$defs", None)
    return schema


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
            parameters.append({"name": name, "in": "query", "required": required, "schema": _sent(field)})
    if route.idempotency is not None:
        key = _header(KEY_HEADER, required=route.idempotency != "optional")
        parameters.append({**key, "schema": _KEY_SCHEMA})
    if route.if_match:
        parameters.append(_header("If-Match", required=True))
    for name, sentence in route.request_headers.items():
        parameters.append({**_header(name, required=False), "description": sentence})
    return parameters


def _sent(field: dict[str, Any]) -> dict[str, Any]:
    """The schema of a query parameter as it can be sent: one that is left out is None here, but there is no null there."""
    if "anyOf" not in field:
        return field
    kinds = [kind for kind in field["anyOf"] if kind != {"type": "null"}]
    rest = {
        name: value for name, value in field.items() if name != "anyOf" and (name, value) != ("default", None)
    }
    return {**kinds[0], **rest} if len(kinds) == 1 else {"anyOf": kinds, **rest}


def _header(name: str, *, required: bool) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "schema": {"type": "string"}}


def _answered(route: Route) -> Iterator[Any]:
    """What the successes of a route may be, each form by itself."""
    for model in route.answers.values():
        yield from model if isinstance(model, tuple) else (model,)


def _schemas(api: Api) -> dict[str, Any]:
    models: dict[str, type[BaseModel]] = {}
    for route in api.routes:
        for model in (route.body, *_answered(route)):
            if isinstance(model, type) and issubclass(model, BaseModel):
                models[model.__name__] = model
    modes = [(model, "validation") for model in models.values()]
    _, schema = models_json_schema(modes, ref_template=_REF)  # type: ignore[arg-type]
    return dict(schema.get("$defs", {}))
