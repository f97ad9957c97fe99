"""What Kong demands of single values: names, hosts, paths, targets. Each rule says what is wrong, in Kong's words."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from localfaas.edge.errors import ENTITY_RULE, Place
from localfaas.edge.refused import NOT_SUPPORTED
from localfaas.edge.schema import Report

_NAME = re.compile(r"^[\w.\-~\u0080-\U0010ffff]+$")
_HOSTNAME = re.compile(
    r"^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$"
)
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}")
_TOKEN = re.compile(r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
_NOT_RE2 = re.compile(r"\(\?(?:=|!|<=|<!|>)|\\[1-9]|[*+?}]\+")

DEFAULT_TARGET_PORT = 8000


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def name(value: str) -> str | None:
    if _NAME.match(value):
        return None
    return f"invalid value '{value}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"


def upstream_name(value: str) -> str | None:
    if _HOSTNAME.match(value) and not is_address(value):
        return None
    return f"Invalid name ('{value}'); must be a valid hostname"


def host(value: str) -> str | None:
    return None if is_address(value) or _HOSTNAME.match(value) else f"invalid value: {value}"


def route_host(value: str) -> str | None:
    """A host name, perhaps with a leading `*` label."""
    bare = value
    if re.search(r":\d+$", value) and not is_address(value):
        return "a host with a port is not supported by the embedded edge; a host matches on every port"
    if bare.startswith("*."):
        bare = bare[2:]
    elif bare.endswith(".*"):
        return "a trailing wildcard (name.*) is not supported by the embedded edge"
    return host(bare)


def service_path(value: str) -> str | None:
    if not value.startswith("/"):
        return "should start with: /"
    return _escapes(value)


def route_path(value: str) -> str | None:
    """A fixed path or, after `~`, a regular expression that RE2 can run (it has no look-around)."""
    if value.startswith("~/"):
        return regex(value[1:])
    if not value.startswith("/"):
        return "should start with: / (fixed path) or ~/ (regex path)"
    return _escapes(value)


def _escapes(value: str) -> str | None:
    broken = _ESCAPE.search(value)
    return f"invalid url-encoded value: '{broken.group()}'" if broken else None


def regex(value: str) -> str | None:
    if beyond := _NOT_RE2.search(value):
        return f"'{beyond.group()}' in a regular expression is not supported by the embedded edge (RE2)"
    try:
        re.compile(value.replace("(?<", "(?P<"))
    except re.error as broken:
        return f"invalid regex: '{value}' (PCRE returned: {broken.msg})"
    return None


def method(value: str) -> str | None:
    return None if re.match(r"^[A-Z]+$", value) else f"invalid value: {value}"


def header_name(value: str) -> str | None:
    if _TOKEN.match(value):
        return None
    return f"bad header name '{value}', allowed characters are A-Z, a-z, 0-9, '_', and '-'"


def target(value: str) -> str | None:
    name_part, port = split_target(value)
    if port is not None and 0 <= port <= 65535 and (is_address(name_part) or _HOSTNAME.match(name_part)):
        return None
    return f"Invalid target ('{value}'); not a valid hostname or ip address"


def split_target(value: str) -> tuple[str, int | None]:
    """Host and port of a target as written; port 8000 where none is; None where it is no number."""
    bracketed = re.match(r"^(\[[0-9a-fA-F:.]+\])(?::(\d+))?$", value)
    if bracketed:
        return bracketed.group(1), int(bracketed.group(2) or DEFAULT_TARGET_PORT)
    name_part, colon, port = value.partition(":")
    if not colon:
        return name_part, DEFAULT_TARGET_PORT
    return name_part, int(port) if port.isdecimal() and len(port) <= 5 else None


# Rules over several fields


def route_has_matcher(record: Mapping[str, Any], place: Place, report: Report) -> None:
    if not any(record[key] for key in ("methods", "hosts", "headers", "paths", "snis")):
        text = "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"
        report((*place, *ENTITY_RULE), text)


def hash_inputs_named(record: Mapping[str, Any], place: Place, report: Report) -> None:
    """`hash_on: header` needs `hash_on_header`, and so on for each input that has a name."""
    needed = {
        ("hash_on", "header"): "hash_on_header",
        ("hash_on", "cookie"): "hash_on_cookie",
        ("hash_on", "query_arg"): "hash_on_query_arg",
        ("hash_fallback", "header"): "hash_fallback_header",
        ("hash_fallback", "cookie"): "hash_on_cookie",
        ("hash_fallback", "query_arg"): "hash_fallback_query_arg",
    }
    for (field, value), other in needed.items():
        if record[field] == value and not record[other]:
            report((*place, other), "required field missing")
            report((*place, *ENTITY_RULE), f"failed conditional validation given value of field '{field}'")


def hashing_is_chosen(record: Mapping[str, Any], place: Place, report: Report) -> None:
    """Kong takes `hash_on` to mean an algorithm that the file did not name; here it is written."""
    if record["hash_on"] != "none" and record["algorithm"] != "consistent-hashing":
        text = f"hash_on with algorithm '{record['algorithm']}' is {NOT_SUPPORTED}; use consistent-hashing"
        report((*place, "hash_on"), text)
