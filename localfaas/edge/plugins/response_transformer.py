"""response-transformer: remove, rename, replace, add and append response headers, on the edge's own errors too.

Header operations only; those on JSON bodies are refused.
"""

from __future__ import annotations

from localfaas.edge.plugins.base import Contribution, PluginKind, Use
from localfaas.edge.schema import ListOf, Record, Text


def _contribute(use: Use) -> Contribution:
    config = use.config
    pairs = {
        operation: [list(_pair(item)) for item in config[operation]["headers"]]
        for operation in ("rename", "replace", "add", "append")
    }
    removed = [_pair(item)[0] for item in config["remove"]["headers"]]
    return Contribution(lua={"remove": removed, **pairs})


def _pair(item: str) -> tuple[str, str]:
    name, _, value = item.partition(":")
    return name.strip().lower(), value.strip()


def _has_value(item: str) -> str | None:
    name, colon, _ = item.partition(":")
    return None if colon and name.strip() else f"invalid value: {item}"


def _headers(*, with_value: bool) -> ListOf:
    return ListOf(of=Text(rule=_has_value if with_value else None), default=[])


def _operation(*, with_value: bool, body: tuple[str, ...]) -> Record:
    refused = {key: ListOf(of=Text(), default=[], unsupported=True) for key in body}
    return Record(fields={"headers": _headers(with_value=with_value), **refused})


KIND = PluginKind(
    name="response-transformer",
    priority=800,
    config=Record(
        fields={
            "remove": _operation(with_value=False, body=("json",)),
            "rename": _operation(with_value=True, body=("json",)),
            "replace": _operation(with_value=True, body=("json", "json_types")),
            "add": _operation(with_value=True, body=("json", "json_types")),
            "append": _operation(with_value=True, body=("json", "json_types")),
        }
    ),
    contribute=_contribute,
)
