"""Reports as JSON or CSV (RFC 4180), sent while they are read when they are long."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from flask import Response, request

from functions.shared import Connection, Database

CHUNK_CHARACTERS = 64 * 1024
AS_OF_HEADER = "X-As-Of"
CSV = "text/csv"
KEYS = ("start", "day", "week", "month", "hour", "store", "channel", "location", "category", "sku")
"""Columns that say what a row is about."""


@dataclass(frozen=True)
class Report:
    """`head` is what JSON says beside the rows (None: it is all); `rows` are mappings that have all of `columns`."""

    file_name: str
    as_of: datetime
    head: Mapping[str, Any]
    columns: Sequence[str] = ()
    rows: Iterable[Mapping[str, Any]] | None = None


def answer(database: Database, make: Callable[[Connection], Report], wanted: str | None) -> Response:
    """The report that `make` reads in a transaction, in the format `wanted`, or that the client accepts.

    What fits into one chunk is sent whole; otherwise the transaction stays open until the last row is sent.
    """
    as_csv = wants_csv(wanted)
    with ExitStack() as stack:
        connection = stack.enter_context(database.transaction())
        report = make(connection)
        chunks = _csv(report) if as_csv else _json(report)
        first, second = next(chunks), next(chunks, None)
        if second is None:
            return _response(report, first, as_csv=as_csv)
        still_open = stack.pop_all()

    def body() -> Iterator[bytes]:
        with still_open:
            yield first
            yield second
            yield from chunks

    response = _response(report, body(), as_csv=as_csv)
    response.call_on_close(still_open.close)
    return response


def wants_csv(wanted: str | None) -> bool:
    """`format` decides; without it the Accept header does, and JSON where that does not care."""
    if wanted is not None:
        return wanted == "csv"
    return request.accept_mimetypes.best_match(["application/json", CSV]) == CSV


def long_form(sections: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows `section, item, measure, value` for a report that has a table of its own in each section.

    A section is one mapping, or a list of mappings, in which KEYS name the item and the other numbers are measures.
    """
    for section, content in sections.items():
        for row in content if isinstance(content, list) else [content]:
            item = "/".join(str(row[key]) for key in KEYS if key in row)
            for measure, value in row.items():
                if measure not in KEYS and isinstance(value, int | float):
                    yield {"section": section, "item": item, "measure": measure, "value": value}


def _response(report: Report, body: bytes | Iterator[bytes], *, as_csv: bool) -> Response:
    kind = f"{CSV}; charset=utf-8; header=present" if as_csv else "application/json"
    response = Response(body, content_type=kind)
    response.headers[AS_OF_HEADER] = _plain(report.as_of)
    response.headers["Cache-Control"] = "private, no-cache"
    response.vary.update(["Accept", "Authorization"])
    if as_csv:
        response.headers["Content-Disposition"] = f'attachment; filename="{report.file_name}.csv"'
    return response


def _json(report: Report) -> Iterator[bytes]:
    return _chunks(_json_texts(report))


def _json_texts(report: Report) -> Iterator[str]:
    head = _encode({"as_of": report.as_of, **report.head})
    if report.rows is None:
        yield head
        return
    yield head[:-1] + ',"items":['
    separator = ""
    for row in report.rows:
        yield separator + _encode({column: row[column] for column in report.columns})
        separator = ","
    yield "]}"


def _csv(report: Report) -> Iterator[bytes]:
    """One header row, then the rows; every row says in its last column of when it is."""
    as_of = _plain(report.as_of)
    rows = ([row[column] for column in report.columns] + [as_of] for row in report.rows or ())
    return _chunks(_csv_texts([*report.columns, "as_of"], rows))


def _csv_texts(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for row in itertools.chain([header], rows):
        writer.writerow(row)
        yield text.getvalue()
        text.seek(0)
        text.truncate()


def _chunks(texts: Iterator[str]) -> Iterator[bytes]:
    """The texts joined to pieces of about CHUNK_CHARACTERS; at least one."""
    waiting: list[str] = []
    size = 0
    for text in texts:
        waiting.append(text)
        size += len(text)
        if size >= CHUNK_CHARACTERS:
            yield "".join(waiting).encode()
            waiting, size = [], 0
    yield "".join(waiting).encode()


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


_encode = json.JSONEncoder(default=_plain, ensure_ascii=False, separators=(",", ":")).encode
