"""OTLP over HTTP (https://opentelemetry.io/docs/specs/otlp/): a body to spans, protobuf or JSON, gzipped or not."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

PROTOBUF, JSON = "application/x-protobuf", "application/json"
LARGEST_BYTES = 16 * 1024 * 1024
"""Of a body, before and after it is unpacked."""
LONGEST_TEXT = 2000
"""Of one attribute's value; what is longer is cut."""
MOST_ATTRIBUTES = 100
KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


class BadBody(ValueError):
    """A body that is not what its headers say; `status` is the HTTP status for it."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Span:
    """One span; times are nanoseconds since 1970. `attributes` are the span's own, plain values by name."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    instance: str
    name: str
    kind: str
    started_ns: int
    ended_ns: int
    failed: bool
    attributes: dict[str, Any]


def read(body: bytes, content_type: str, encoding: str) -> list[Span]:
    """The spans in a request's body; raises BadBody. A span without usable ids is left out, as OTLP allows."""
    kind = content_type.partition(";")[0].strip().lower()
    message = ExportTraceServiceRequest()
    try:
        if kind == PROTOBUF:
            message.ParseFromString(_unpacked(body, encoding))
        elif kind == JSON:
            json_format.Parse(_unpacked(body, encoding), message, ignore_unknown_fields=True)
        else:
            raise BadBody(f"Content-Type must be {PROTOBUF} or {JSON}", 415)
        return list(_spans(message, from_json=kind == JSON))
    except (DecodeError, json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise BadBody("the body is not an ExportTraceServiceRequest") from error


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise BadBody("Content-Encoding must be gzip, or none", 415)
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(body, LARGEST_BYTES)
    except zlib.error as error:
        raise BadBody("the body is not gzip") from error
    if unpacker.unconsumed_tail:
        raise BadBody(f"the body is more than {LARGEST_BYTES} bytes", 413)
    if not unpacker.eof:
        raise BadBody("the body is cut off")
    return text


def _spans(message: ExportTraceServiceRequest, *, from_json: bool) -> Iterator[Span]:
    for group in message.resource_spans:
        resource = _plain(group.resource.attributes)
        service = str(resource.get("service.name", "unknown"))
        instance = str(resource.get("service.instance.id", ""))
        for scope in group.scope_spans:
            for span in scope.spans:
                if found := _span(span, service, instance, from_json=from_json):
                    yield found


def _span(span: trace_pb2.Span, service: str, instance: str, *, from_json: bool) -> Span | None:
    trace_id, span_id, parent_id = (
        _hex(one, from_json=from_json) for one in (span.trace_id, span.span_id, span.parent_span_id)
    )
    if len(trace_id) != 32 or len(span_id) != 16 or len(parent_id) not in (0, 16):
        return None
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        service=service,
        instance=instance,
        name=span.name[:LONGEST_TEXT],
        kind=KINDS.get(span.kind, ""),
        started_ns=min(span.start_time_unix_nano, _LATEST),
        ended_ns=min(max(span.start_time_unix_nano, span.end_time_unix_nano), _LATEST),
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        attributes=_plain(span.attributes),
    )


_LATEST = 2**63 - 1
"""SQLite's largest integer."""


def _hex(raw: bytes, *, from_json: bool) -> str:
    """In OTLP's JSON ids are hexadecimal, which protobuf's reader took for base64."""
    if not from_json:
        return raw.hex()
    text = base64.b64encode(raw).decode()
    try:
        return binascii.unhexlify(text).hex()
    except binascii.Error:
        return ""


def _plain(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in attributes:
        if len(found) == MOST_ATTRIBUTES:
            break
        value = _value(item.value)
        if value not in ("", "-"):  # Envoy's words for what it does not know
            found[item.key[:LONGEST_TEXT]] = value
    return found


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind in ("int_value", "double_value", "bool_value"):
        return getattr(value, kind)
    if kind == "string_value":
        return value.string_value[:LONGEST_TEXT]
    return "" if kind is None else json_format.MessageToJson(value, indent=None)[:LONGEST_TEXT]
