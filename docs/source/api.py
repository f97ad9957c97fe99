"""docs/api.md: every public operation, from the merged OpenAPI document that the shop shows at /docs."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from docs.source.markdown import code, page, section, table
from functions.shared import openapi
from functions.site.domain import SCHEMAS, merge, operations
from functions.site.examples import BEGIN
from functions.site.handler import SiteSettings

Json = Mapping[str, Any]

_ABOUT = """Paths are those of the edge, `http://localhost:8000` on one machine.
The running shop shows the same at `/docs`, where requests can be tried, and as one OpenAPI 3.1 document at `/docs/openapi.json`.

- **Tokens.** `Authorization: Bearer …`, from [customers](../functions/customers/README.md); who may call what stands with each operation, and *anyone* needs none.
- **Errors** are RFC 9457 problem details: `code` is stable and for programs, `detail` for people, `errors` names each field. Beside the answers listed, every operation may answer 500, 503 and 504 ([troubleshooting](troubleshooting.md#answers-of-functions)).
- **Idempotency-Key**, where it is listed: the same key with the same body gets the same answer, and nothing is done twice.
- **Lists** are `{"items": […], "next": …}`; `after` takes what `next` said.
- **Money** is whole cents (`…_cents`), **times** are ISO 8601 in UTC."""
_BEGIN = f"""Every operation has an example for a shell (bash or zsh), which works as it stands in a shop with its demonstration data.
Say this first, in the project's folder:

```sh
{BEGIN}```

`$hq` is then a token of the head office, good for eight hours, and `pick` takes a member out of the last answer.
What else an example needs stands with it, and which example to run for it."""


def document() -> Json:
    """The merged document of all public functions, as `site` makes it."""
    (public,) = (str(item.default) for item in dataclasses.fields(SiteSettings) if item.name == "functions")
    apis = {name: importlib.import_module(f"functions.{name}.handler").api for name in public.split()}
    return merge({name: openapi.document(api) for name, api in apis.items()}, title="Magasin", description="")


def text(merged: Json) -> str:
    """The page as it should be."""
    tags = {tag["name"]: tag["description"] for tag in merged["tags"]}
    begin = section("How to begin", _BEGIN)
    return page("API", _ABOUT, begin, *(_function(merged, name, title) for name, title in tags.items()))


def _function(merged: Json, name: str, title: str) -> str:
    own = [one for one in operations(merged) if name in one[2]["tags"]]
    schemas = {
        key: schema for key, schema in merged["components"]["schemas"].items() if key.startswith(f"{name}.")
    }
    schemas.pop(f"{name}.Problem", None)
    return section(
        name,
        f"{title}; its rules are in [its README](../functions/{name}/README.md).",
        *(_operation(method, path, operation) for method, path, operation in own),
        section(
            f"Bodies of {name}", *(_schema(key, schema) for key, schema in sorted(schemas.items())), level=3
        )
        if schemas
        else "",
    )


def _operation(method: str, path: str, operation: Json) -> str:
    who = ", ".join(operation.get("x-roles", [])) or "anyone"
    facts = [f"**Who:** {who}", *_body(operation), f"**Answers:** {', '.join(_answers(operation))}"]
    return section(
        f"`{method} {path}`",
        f"{operation['summary']}.",
        operation.get("description", ""),
        " · ".join(facts),
        table(["parameter", "in", "kind", "meaning"], _parameters(operation)),
        *_example(operation),
        level=3,
    )


def _example(operation: Json) -> Iterator[str]:
    for sample in operation.get("x-codeSamples", ()):
        needs = [
            f"`${need['variable']}` ({need.get('operation', 'how to begin')})"
            for need in operation["x-needs"]
        ]
        ends = [f"`${name}`" for name in operation["x-ends"]]
        yield f"Needs {', '.join(needs)}:" if needs else ""
        yield f"```sh\n{sample['source']}\n```"
        yield f"It is refused: {operation['x-refused']}." if "x-refused" in operation else ""
        yield f"Afterwards {', '.join(ends)} will not do any more." if ends else ""


def _body(operation: Json) -> Iterator[str]:
    content = operation.get("requestBody", {}).get("content", {})
    for media in content.values():
        yield f"**Body:** {_kind(media['schema'])}"


def _answers(operation: Json) -> Iterator[str]:
    for status, answer in operation["responses"].items():
        if status == "default":
            continue
        kinds = [
            _kind(media["schema"])
            for kind, media in answer.get("content", {}).items()
            if "json" in kind and media
        ]
        shown = [kind for kind in kinds if kind != "Problem"]
        yield f"{status} {shown[0]}" if shown else str(status)


def _parameters(operation: Json) -> Iterator[list[str]]:
    for one in operation["parameters"]:
        schema = one["schema"]
        needed = ", required" if one["required"] and one["in"] != "path" else ""
        meaning = one.get("description") or schema.get("description", "")
        yield [code(one["name"]), one["in"] + needed, _kind(schema) + _limits(schema), meaning]


def _schema(name: str, schema: Json) -> str:
    about = schema.get("description", "")
    if "properties" not in schema:
        return section(_short(name), about, _kind(schema) + _limits(schema), level=4)
    required = schema.get("required", ())
    rows = [
        [
            code(field) + ("" if field in required else " ?"),
            _kind(kind) + _limits(kind),
            kind.get("description", ""),
        ]
        for field, kind in schema["properties"].items()
    ]
    return section(_short(name), about, table(["field", "kind", "meaning"], rows), level=4)


def _kind(schema: Json) -> str:
    """A schema in a few words; bodies by their name."""
    if "$ref" in schema:
        return _short(schema["$ref"].removeprefix(SCHEMAS))
    if alternatives := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return " or ".join(dict.fromkeys(_kind(one) for one in alternatives))
    if "enum" in schema or "const" in schema:
        return ", ".join(code(str(one)) for one in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_kind(schema['additionalProperties'])}"
    return str(schema.get("format") or schema.get("type") or "anything")


_BOUNDS = {
    "minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}",
    "minLength": "from {} characters", "maxLength": "up to {} characters",
    "minItems": "from {} entries", "maxItems": "up to {} entries", "pattern": "`{}`", "default": "else `{}`",
}  # fmt: skip


def _limits(schema: Json) -> str:
    """Bounds, also those of the only alternative to null."""
    some = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    merged = {**(some[0] if len(some) == 1 else {}), **schema}
    told = [
        words.format(_plain(merged[name]))
        for name, words in _BOUNDS.items()
        if merged.get(name) not in (None, "")
    ]
    return f" ({', '.join(told)})" if told else ""


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).replace("`", "")


def _short(name: str) -> str:
    """A body's own name: schemas are `<function>.<name>`."""
    return name.rpartition(".")[2]
