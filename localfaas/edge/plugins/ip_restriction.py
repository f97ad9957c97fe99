"""ip-restriction: who may come in by address. Envoy's own filter judges and enforces; the script only words the answer.

The filter stands before the script, where it judges and changes nothing, and again behind it, where it refuses:
so the refusal has its place among the plugins and Kong's body, and stands even if the script should fail.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from localfaas.edge.errors import ENTITY_RULE, Place
from localfaas.edge.plugins.base import Contribution, PluginKind, Use
from localfaas.edge.schema import ListOf, Number, Record, Report, Text

VERDICT_FILTER, ACCESS_FILTER = "ip-verdict", "ip-access"
_PER_ROUTE = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute"


def _contribute(use: Use) -> Contribution:
    """What is on `deny` is refused; then, if there is an `allow`, what is not on it."""
    allow, deny = use.config["allow"] or [], use.config["deny"] or []
    conditions = [
        *([{"not_id": _any_of(deny)}] if deny else []),
        *([_any_of(allow)] if allow else []),
    ]
    policy = {"permissions": [{"any": True}], "principals": [{"and_ids": {"ids": conditions}}]}
    rules = {"action": "ALLOW", "policies": {"ip-restriction": policy}}
    return Contribution(
        lua={"status": use.config["status"] or 403, "message": use.config["message"]},
        filters={
            VERDICT_FILTER: {"@type": _PER_ROUTE, "rbac": {"shadow_rules": rules}},
            ACCESS_FILTER: {"@type": _PER_ROUTE, "rbac": {"rules": rules}},
        },
    )


def _any_of(ranges: list[str]) -> dict[str, Any]:
    return {"or_ids": {"ids": [{"direct_remote_ip": _cidr(text)} for text in ranges]}}


def _cidr(text: str) -> dict[str, Any]:
    network = ipaddress.ip_network(text, strict=False)
    return {"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}


def _address_or_range(value: str) -> str | None:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return f"invalid ip or cidr range: '{value}'"
    return None


def _some_list(record: Mapping[str, Any], place: Place, report: Report) -> None:
    if not record["allow"] and not record["deny"]:
        text = "at least one of these fields must be non-empty: 'config.allow', 'config.deny'"
        report((*place[:-1], *ENTITY_RULE), text)


KIND = PluginKind(
    name="ip-restriction",
    priority=990,
    config=Record(
        fields={
            "allow": ListOf(of=Text(rule=_address_or_range)),
            "deny": ListOf(of=Text(rule=_address_or_range)),
            "status": Number(between=(100, 599)),
            "message": Text(),
        },
        rules=(_some_list,),
    ),
    contribute=_contribute,
    protocols=("http", "https", "tcp", "tls", "grpc", "grpcs"),
)
