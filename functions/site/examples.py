"""Examples of requests: as commands for a shell, and as values in the document. Pure: document in, document out.

An operation's `x-request` is what the function says of it (`examples.json` beside its handler):

| key | meaning |
|---|---|
| `token` | the shell variable with the token of who asks |
| `path`, `query`, `headers`, `body` | what is sent; `{"number": "$total"}` is a variable that is no text |
| `jar` | cookies are kept in the file `$jar` |
| `given` | variables that are set before, to a text in which a shell makes something new |
| `takes` | variables that are set afterwards, each to a member of the answer |
| `ends` | variables that name something which is gone afterwards |
| `status` | what is answered, if it is no success |

A text may name variables, `$sale`. Besides `$hq`, which BEGIN sets, each comes from another example.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

Json = dict[str, Any]

EDGE_URL = "http://localhost:8000"
NOW = "$(date +%s%N)"
BEGIN = """hq=$(make -s token)
pick() { python3 -c 'import json, sys; print(json.loads(sys.argv[1])[sys.argv[2]])' "$answer" "$1"; }
"""
"""What has to be said once to a shell, in the project's folder."""

_VARIABLE = re.compile(r"\$([a-z_]+)")
_NUMBER = re.compile(r'"@number (\$[a-z_]+)@"')
_KEY = "Idempotency-Key"
_WIDEST_BODY = 90


@dataclass(frozen=True)
class Source:
    """Where a variable comes from, and what it was when the answers were recorded; None: that is not known."""

    operation: str
    name: str
    value: Any


def with_examples(document: Json, edge_url: str = EDGE_URL) -> Json:
    """The document with examples of bodies, of parameters, and of the whole request in `x-codeSamples`.

    `x-needs` says which variables the request has from which operation, and without one what the page tells how to have;
    `x-ends` says which serve no more afterwards, and `x-refused` that it is shown how the operation refuses something.
    """
    sources = sources_of(document)
    paths = {
        path: {
            method: _with_example(path, method.upper(), operation, sources, edge_url)
            for method, operation in methods.items()
        }
        for path, methods in document["paths"].items()
    }
    return {**document, "paths": paths}


def sources_of(document: Json) -> dict[str, Source]:
    """Each variable's first source: the operation that gives it, or takes it from its answer without having needed it."""
    sources: dict[str, Source] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            request = operation.get("x-request", {})
            name = f"{method.upper()} {path}"
            for variable, text in request.get("given", {}).items():
                sources.setdefault(variable, Source(operation["operationId"], name, text.replace(NOW, "1")))
            used = used_by(request)
            answer = _answer(operation)
            for variable, member in request.get("takes", {}).items():
                if variable not in used:
                    sources.setdefault(variable, Source(operation["operationId"], name, answer.get(member)))
    return sources


def _answer(operation: Json) -> Json:
    """The recorded answer of a success."""
    for status, response in operation["responses"].items():
        for content in response.get("content", {}).values():
            if status.startswith("2") and isinstance(content.get("example"), dict):
                found: Json = content["example"]
                return found
    return {}


def used_by(request: Mapping[str, Any]) -> list[str]:
    """The variables that a request needs from elsewhere, in the order in which they stand in it."""
    parts = [request.get(part) for part in ("path", "query", "headers", "body")]
    named = _VARIABLE.findall(json.dumps(parts)) + ["jar"] * request.get("jar", False)
    own = request.get("given", {})
    before = [request["token"]] if "token" in request else []
    return [name for name in dict.fromkeys(before + named) if name not in own]


def _with_example(
    path: str, method: str, operation: Json, sources: Mapping[str, Source], edge_url: str
) -> Json:
    request = operation.get("x-request")
    rest = {name: value for name, value in operation.items() if name != "x-request"}
    if request is None:
        return rest
    parameters = [_parameter(parameter, request, sources) for parameter in operation.get("parameters", [])]
    needs = [_need(name, sources.get(name)) for name in used_by(request)]
    example = {
        **rest,
        "parameters": parameters,
        "x-codeSamples": [
            {"lang": "Shell", "label": "curl", "source": commands(path, method, operation, edge_url)}
        ],
        "x-needs": needs,
        "x-ends": request.get("ends", []),
    }
    if "status" in request:
        example["x-refused"] = request["status"]
    if "body" in request and "requestBody" in operation:
        example["requestBody"] = _body(operation["requestBody"], request["body"], sources)
    return example


def _need(variable: str, source: Source | None) -> Json:
    found = {"operationId": source.operation, "operation": source.name} if source else {}
    return {"variable": variable, **found}


def _parameter(parameter: Json, request: Json, sources: Mapping[str, Source]) -> Json:
    """With its value, unless that comes from a former answer: who tries it has another one."""
    place = {"path": "path", "query": "query", "header": "headers"}.get(parameter["in"], "")
    value = request.get(place, {}).get(parameter["name"])
    own = set(request.get("given", {}))
    if value is None or not set(_VARIABLE.findall(json.dumps(value))) <= own:
        return parameter
    value = _as_recorded(value, sources)
    if parameter["schema"].get("type") == "integer":
        value = int(value)
    return {**parameter, "example": value}


def _body(body: Json, value: Any, sources: Mapping[str, Source]) -> Json:
    content = {
        kind: {**media, "example": _as_recorded(value, sources)} for kind, media in body["content"].items()
    }
    return {**body, "content": content}


def _as_recorded(value: Any, sources: Mapping[str, Source]) -> Any:
    """`value` with each variable as it was when the answers were recorded."""
    if isinstance(value, list):
        return [_as_recorded(one, sources) for one in value]
    if isinstance(value, dict):
        if set(value) == {"number"}:
            found = sources.get(value["number"].removeprefix("$"))
            return found.value if found else None
        return {name: _as_recorded(one, sources) for name, one in value.items()}
    if isinstance(value, str):
        return _VARIABLE.sub(
            lambda name: str(sources[name[1]].value) if name[1] in sources else name[0], value
        )
    return value


def commands(path: str, method: str, operation: Json, edge_url: str) -> str:
    """The request of an operation as it is typed into a shell, with what it sets before and afterwards."""
    request = operation["x-request"]
    given = [f"{variable}={text}" for variable, text in request.get("given", {}).items()]
    curl = " \\\n  ".join(_curl(path, method, operation, request, edge_url.rstrip("/")))
    taken = [f"{variable}=$(pick {member})" for variable, member in request.get("takes", {}).items()]
    if taken:
        curl = f'answer=$({curl}); echo "$answer"'
    return "\n".join([*given, curl, *taken])


def _curl(path: str, method: str, operation: Json, request: Json, edge_url: str) -> Iterator[str]:
    body = request.get("body")
    usual = "GET" if body is None else "POST"
    silent = "-s " if request.get("takes") else ""
    yield f"curl {silent}{'' if method == usual else f'-X {method} '}{_address(path, request, edge_url)}"
    if "jar" in request:
        yield "-b $jar -c $jar"
    if "token" in request:
        yield f'-H "Authorization: Bearer ${request["token"]}"'
    for name, text in request.get("headers", {}).items():
        yield f"-H {_quoted(f'{name}: {text}')}"
    if any(one["name"] == _KEY and one["required"] for one in operation.get("parameters", [])):
        yield f'-H "{_KEY}: {NOW}"'
    if body is not None:
        yield "-H 'Content-Type: application/json'"
        yield f"-d '{_typed(body)}'"


def _address(path: str, request: Json, edge_url: str) -> str:
    """The URL; what a shell would take for something of its own is quoted."""
    names = {name: quote(str(value), safe="$") for name, value in request.get("path", {}).items()}
    query = urlencode(request.get("query", {}), doseq=True)
    address = edge_url + path.format(**names)
    if query:
        return f"'{address}?{query}'" if "$" not in address else f'"{address}?{query}"'
    return address


def _quoted(text: str) -> str:
    if "$" not in text:
        return f"'{text}'"
    escaped = text.replace('"', '\\"')
    return f'"{escaped}"'


def _typed(body: Any) -> str:
    """JSON between single quotes of a shell, which end for each variable."""
    marked = _marked(body)
    text = json.dumps(marked, ensure_ascii=False)
    if len(text) > _WIDEST_BODY:
        text = json.dumps(marked, ensure_ascii=False, indent=2)
    text = _NUMBER.sub(r"\1", text.replace("'", "'\\''"))
    return _VARIABLE.sub(r"'$\1'", text)


def _marked(value: Any) -> Any:
    if isinstance(value, list):
        return [_marked(one) for one in value]
    if isinstance(value, dict):
        if set(value) == {"number"}:
            return f"@number {value['number']}@"
        return {name: _marked(one) for name, one in value.items()}
    return value
