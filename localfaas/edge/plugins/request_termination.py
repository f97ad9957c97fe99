"""request-termination: answer here, with a fixed status and message or body, without asking the upstream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localfaas.edge.errors import ENTITY_RULE, Place
from localfaas.edge.plugins.base import Contribution, PluginKind, Use
from localfaas.edge.schema import Flag, Number, Record, Report, Text


def _contribute(use: Use) -> Contribution:
    keys = ("status_code", "message", "body", "content_type", "trigger")
    return Contribution(lua={key: use.config[key] for key in keys})


def _one_kind_of_answer(record: Mapping[str, Any], place: Place, report: Report) -> None:
    if record["message"] and (record["body"] or record["content_type"]):
        report(place, "message cannot be used with content_type or body")
    elif record["content_type"] and not record["body"]:
        report((*place[:-1], *ENTITY_RULE), "content_type requires a body")


KIND = PluginKind(
    name="request-termination",
    priority=2,
    config=Record(
        fields={
            "status_code": Number(default=503, required=True, between=(100, 599)),
            "message": Text(),
            "body": Text(),
            "content_type": Text(),
            "echo": Flag(default=False, required=True, unsupported=True),
            "trigger": Text(),
        },
        rules=(_one_kind_of_answer,),
    ),
    contribute=_contribute,
)
