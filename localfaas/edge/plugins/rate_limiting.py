"""rate-limiting, policy local: fixed windows aligned to the clock, counted in the edge's own memory.

Counted exactly, unlike Kong's: one worker decides and counts in one step. A refused request counts nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from localfaas.edge import rules
from localfaas.edge.errors import ENTITY_RULE, Place
from localfaas.edge.plugins.base import Contribution, PluginKind, Use
from localfaas.edge.schema import Flag, Number, Opaque, Record, Report, Text

PERIODS = ("second", "minute", "hour", "day", "month", "year")
_LIMIT_BY = ("consumer", "credential", "ip", "service", "header", "path", "consumer-group")


def _contribute(use: Use) -> Contribution:
    config, scope = use.config, ":".join(use.scope)
    return Contribution(
        lua={
            "limits": [
                {
                    "period": period,
                    "key": f"{scope}:{period}:",
                    "limit": config[period],
                    "text": str(config[period]),
                    "limit_header": f"x-ratelimit-limit-{period}",
                    "remaining_header": f"x-ratelimit-remaining-{period}",
                }
                for period in PERIODS
                if config[period] is not None
            ],
            "service": use.service_id if config["limit_by"] == "service" else None,
            "header": config["header_name"] if config["limit_by"] == "header" else None,
            "path": config["path"] if config["limit_by"] == "path" else None,
            "hide": config["hide_client_headers"],
            "status": config["error_code"],
            "message": config["error_message"],
        }
    )


def _some_limit(record: Mapping[str, Any], place: Place, report: Report) -> None:
    if all(record[period] is None for period in PERIODS):
        names = ", ".join(f"'config.{period}'" for period in PERIODS)
        text = f"at least one of these fields must be non-empty: {names}"
        report((*place[:-1], *ENTITY_RULE), text)


def _longer_is_not_lower(record: Mapping[str, Any], place: Place, report: Report) -> None:
    limits = [(period, record[period]) for period in PERIODS if record[period] is not None]
    for (shorter, low), (longer, high) in pairwise(limits):
        if high < low:
            text = (
                f"The limit for {longer}({high:.1f}) cannot be lower than the limit for {shorter}({low:.1f})"
            )
            report(place, text)


def _named_input(record: Mapping[str, Any], place: Place, report: Report) -> None:
    for value, field in (("header", "header_name"), ("path", "path")):
        if record["limit_by"] == value and not record[field]:
            report((*place, field), "required field missing")
            text = "failed conditional validation given value of field 'config.limit_by'"
            report((*place[:-1], *ENTITY_RULE), text)


KIND = PluginKind(
    name="rate-limiting",
    priority=910,
    config=Record(
        fields={
            **{period: Number(above=0) for period in PERIODS},
            "limit_by": Text(
                default="consumer",
                one_of=_LIMIT_BY,
                supported=("consumer", "credential", "ip", "service", "header", "path"),
            ),
            "header_name": Text(rule=rules.header_name),
            "path": Text(rule=rules.service_path),
            "policy": Text(default="local", one_of=("local", "redis"), supported=("local",)),
            "fault_tolerant": Flag(default=True, required=True),
            "redis": Opaque(),
            "hide_client_headers": Flag(default=False, required=True),
            "error_code": Number(default=429, above=0),
            "error_message": Text(default="API rate limit exceeded"),
            "sync_rate": Number(default=-1, fraction=True, unsupported=True),
        },
        rules=(_some_limit, _longer_is_not_lower, _named_input),
    ),
    contribute=_contribute,
)
