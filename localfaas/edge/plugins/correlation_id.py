"""correlation-id: every request has an id, the client's or a new one, for the upstream and (echo) the client."""

from __future__ import annotations

from localfaas.edge import rules
from localfaas.edge.plugins.base import Contribution, PluginKind, Use
from localfaas.edge.schema import Flag, Record, Text

_GENERATORS = ("uuid", "uuid#counter", "tracker")


def _contribute(use: Use) -> Contribution:
    return Contribution(
        lua={
            "header": use.config["header_name"],
            "counter": use.config["generator"] == "uuid#counter",
            "echo": use.config["echo_downstream"],
        }
    )


KIND = PluginKind(
    name="correlation-id",
    priority=100001,
    config=Record(
        fields={
            "header_name": Text(default="Kong-Request-ID", rule=rules.header_name),
            "generator": Text(
                default="uuid#counter",
                required=True,
                one_of=_GENERATORS,
                supported=("uuid", "uuid#counter"),
            ),
            "echo_downstream": Flag(default=False, required=True),
        }
    ),
    contribute=_contribute,
)
