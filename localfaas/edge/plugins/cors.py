"""cors: Kong's answers to preflights and its headers on every response, including those for unlisted origins."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from localfaas.edge.plugins.base import Contribution, PluginKind, Use
from localfaas.edge.schema import Flag, ListOf, Number, Record, Text

METHODS = ("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT")
_PLAIN_ORIGIN = re.compile(r"^[A-Za-z0-9.:/\[\]_-]+$")
_SIMPLE_REGEX = re.compile(r"^(?:[A-Za-z0-9:/_-]|\\\.|\.\*|\.\+|\.)+$")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def _contribute(use: Use) -> Contribution:
    origins = use.config["origins"] or ["*"]
    any_origin = "*" in origins
    single = origins[0] if len(origins) == 1 and not any_origin and _PLAIN_ORIGIN.match(origins[0]) else None
    headers, exposed = use.config["headers"], use.config["exposed_headers"]
    return Contribution(
        lua={
            "any": any_origin,
            "single": single,
            "literals": {_normal(item): True for item in origins if _PLAIN_ORIGIN.match(item)},
            "patterns": [
                _lua_pattern(item) for item in origins if not _PLAIN_ORIGIN.match(item) and item != "*"
            ],
            "credentials": use.config["credentials"],
            "methods": ",".join(use.config["methods"]),
            "headers": ",".join(headers) if headers else None,
            "exposed": ",".join(exposed) if exposed else None,
            "max_age": str(use.config["max_age"]) if use.config["max_age"] is not None else None,
            "continue": use.config["preflight_continue"],
        }
    )


def _normal(origin: str) -> str:
    """The origin as a browser writes it: without the scheme's own port."""
    parts = urlsplit(origin)
    suffix = f":{_DEFAULT_PORTS.get(parts.scheme, 0)}"
    return origin.removesuffix(suffix) if parts.scheme else origin


def _lua_pattern(expression: str) -> str:
    """A Lua pattern, anchored at both ends, for the part of regular expressions that origins use."""
    pattern = re.sub(r"\\\.", "\0", expression)
    pattern = re.sub(r"-", "%-", pattern)
    return "^" + pattern.replace("\0", "%.") + "$"


def _not_an_address(value: str) -> str | None:
    try:
        urlsplit(value)
    except ValueError as broken:
        return f"'{value}' is not an origin: {broken}"
    return None


def _origin(value: str) -> str | None:
    if value == "*":
        return None
    if _PLAIN_ORIGIN.match(value):
        return _not_an_address(value)
    try:
        re.compile(value)
    except re.error:
        return f"'{value}' is not a valid regex"
    if _SIMPLE_REGEX.match(value):
        return None
    return f"the regex '{value}' is not supported by the embedded edge; use literal text, \\., .* and .+"


KIND = PluginKind(
    name="cors",
    priority=2000,
    config=Record(
        fields={
            "origins": ListOf(of=Text(rule=_origin)),
            "headers": ListOf(of=Text()),
            "exposed_headers": ListOf(of=Text()),
            "methods": ListOf(of=Text(one_of=METHODS), default=list(METHODS)),
            "max_age": Number(),
            "credentials": Flag(default=False, required=True),
            "private_network": Flag(default=False, required=True, unsupported=True),
            "preflight_continue": Flag(default=False, required=True),
            "allow_origin_absent": Flag(default=True, required=True, unsupported=True),
        }
    ),
    contribute=_contribute,
)
