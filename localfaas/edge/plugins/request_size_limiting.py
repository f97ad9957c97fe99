"""request-size-limiting: 413 for a body over the limit, decided from Content-Length where there is one.

A chunked body is gathered first (Envoy's buffer filter), as Kong does, so that it is refused before the upstream sees it.
"""

from __future__ import annotations

from localfaas.edge.plugins.base import Contribution, PluginKind, Use
from localfaas.edge.schema import Flag, Number, Record, Text

BUFFER_FILTER = "buffer"
_UNITS = {"megabytes": 1048576, "kilobytes": 1024, "bytes": 1}


def _contribute(use: Use) -> Contribution:
    limit = use.config["allowed_payload_size"] * _UNITS[use.config["size_unit"]]
    return Contribution(
        lua={"limit": limit, "require_length": use.config["require_content_length"]},
        filters={
            BUFFER_FILTER: {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
                "buffer": {"max_request_bytes": min(limit, 0xFFFFFFFF)},
            }
        },
    )


KIND = PluginKind(
    name="request-size-limiting",
    priority=951,
    config=Record(
        fields={
            "allowed_payload_size": Number(default=128),
            "size_unit": Text(default="megabytes", required=True, one_of=tuple(_UNITS)),
            "require_content_length": Flag(default=False, required=True),
        }
    ),
    contribute=_contribute,
)
