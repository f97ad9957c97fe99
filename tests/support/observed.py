"""What a real Kong 3.9.3 was seen to answer, as tables: a claim, the requests that show it, the answers expected.

A claim is numbered by the section of the record it comes from. It holds rows, or says that ours differs and where
`kong/README.md` tells so, or names the test function that holds it. `test_every_claim_is_held.py` reads them all.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from string import Template
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from localfaas import __version__
from localfaas.edge import create_admin_app
from tests.support.edge import Answer, RunningEdge, Upstream, running_edge

ABSENT = None
REQUEST_ID = re.compile(r"[0-9a-f]{32}")
DIGITS = re.compile(r"\d+")
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
JSON_KIND = "application/json; charset=utf-8"
TEXT_KIND = "text/plain; charset=utf-8"
HTML_KIND = "text/html; charset=utf-8"
XML_KIND = "application/xml; charset=utf-8"
BODIES = {
    JSON_KIND: '{{\n  "message":"{0}",\n  "request_id":"{1}"\n}}',
    TEXT_KIND: "{0}\nrequest_id: {1}\n",
    HTML_KIND: (
        '<!doctype html>\n<html>\n  <head>\n    <meta charset="utf-8">\n    <title>Error</title>\n  </head>\n'
        "  <body>\n    <h1>Error</h1>\n    <p>{0}.</p>\n    <p>request_id: {1}</p>\n  </body>\n</html>\n"
    ),
    XML_KIND: (
        '<?xml version="1.0" encoding="UTF-8"?>\n<error>\n  <message>{0}</message>\n'
        "  <requestid>{1}</requestid>\n</error>\n"
    ),
}

Expected = str | Sequence[str] | re.Pattern[str] | None
"""One value, all values in order, a pattern for the whole value, or nothing at all (ABSENT)."""


@dataclass(frozen=True)
class Row:
    """One request and what comes of it. `$UPSTREAM`, `$EDGE` and `$VERSION` stand for ports and our version.

    `sees` is the path that the upstream is sent, `saw` headers that it is sent, `has` headers of the answer;
    `says` is the message of an error in the form that `kind` names.
    """

    path: str
    status: int = 200
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    chunked: bool = False
    raw: bytes | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    sees: str | None = None
    saw: Mapping[str, Expected] = field(default_factory=dict)
    has: Mapping[str, Expected] = field(default_factory=dict)
    says: str | None = None
    kind: str = JSON_KIND
    text: str | None = None

    @property
    def label(self) -> str:
        shown = self.raw.decode("latin-1").split("\r\n")[0] if self.raw else f"{self.method} {self.path}"
        return shown if len(shown) < 60 else shown[:57] + "..."


@dataclass(frozen=True)
class Differs:
    """Ours differs from Kong; `told` is a piece of the sentence in kong/README.md that says how."""

    told: str


@dataclass(frozen=True)
class HeldBy:
    """A claim that a row cannot hold: the file (in tests/) and the test function that do."""

    file: str
    function: str


@dataclass(frozen=True)
class Asked:
    """One request to the Admin API. `told` is the whole JSON answer, `part` a part of it (of each level's keys)."""

    path: str
    status: int = 200
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    data: Any = None
    kind: str | None = None
    has: Mapping[str, Expected] = field(default_factory=dict)
    told: Any = None
    part: Any = None

    @property
    def label(self) -> str:
        return f"{self.method} {self.path}"


Held = Row | Asked | Differs | HeldBy


@dataclass(frozen=True)
class Table:
    """Claims by number and text, all asked of one configuration."""

    config: str
    claims: Mapping[str, Sequence[Held]]


def cases(tables: Iterable[Table]) -> list[Any]:
    """Every row, or request, as a pytest parameter `(config, row)` whose id is its claim."""
    return [
        pytest.param(table.config, held, id=f"{claim} | {held.label}")
        for table in tables
        for claim, rows in table.claims.items()
        for held in rows
        if isinstance(held, Row | Asked)
    ]


@dataclass
class Site:
    """An edge before an upstream that tells each request back."""

    edge: RunningEdge
    upstream: Upstream

    def load(self, config: str) -> None:
        """Put `config` into force unless it is."""
        text = self.written(config)
        if text != self.edge.edge.loaded.text:
            self.edge.load(text)

    @cached_property
    def admin(self) -> FlaskClient:
        return create_admin_app(self.edge.edge).test_client()

    def written(self, text: str) -> str:
        return Template(text).safe_substitute(
            UPSTREAM=self.upstream.server_port, EDGE=self.edge.port, VERSION=__version__
        )

    def check(self, config: str, row: Row) -> Answer:
        """Send the row's request and compare what comes back."""
        self.load(config)
        self.upstream.calm()
        for name, value in row.given.items():
            setattr(self.upstream, name, value)
        answer = self._send(row)
        assert answer.status == row.status, answer.text[:500]
        if row.sees is not None:
            assert answer.json["path"] == row.sees
        for name, expected in row.saw.items():
            values = [value for key, value in answer.json["headers"] if key == name.lower()]
            self._compare(f"upstream's {name}", values, expected)
        for name, expected in row.has.items():
            self._compare(name, answer.all(name), expected)
        if row.says is not None:
            rid = answer.header("X-Kong-Request-Id")
            assert answer.header("Content-Type") == row.kind
            assert answer.text == BODIES[row.kind].format(row.says, rid)
        if row.text is not None:
            assert answer.text == row.text
        return answer

    def ask(self, config: str, asked: Asked) -> TestResponse:
        """Send the request to the Admin API and compare what comes back."""
        self.load(config)
        data = self.written(asked.data) if isinstance(asked.data, str) else asked.data
        answer = self.admin.open(
            asked.path, method=asked.method, headers=asked.headers, data=data, content_type=asked.kind
        )
        assert answer.status_code == asked.status, answer.get_data(as_text=True)[:500]
        for name, expected in asked.has.items():
            self._compare(name, answer.headers.getlist(name), expected)
        if asked.told is not None:
            assert answer.get_json() == asked.told
        if asked.part is not None:
            self._compare_part(answer.get_json(), asked.part)
        return answer

    def _compare_part(self, found: Any, part: Any, place: str = "") -> None:
        if isinstance(part, Mapping):
            assert isinstance(found, Mapping), place
            for key, expected in part.items():
                assert key in found, f"{place}.{key}"
                self._compare_part(found[key], expected, f"{place}.{key}")
        elif isinstance(part, re.Pattern):
            assert part.fullmatch(str(found)), f"{place}: {found}"
        else:
            assert found == part, place

    def _send(self, row: Row) -> Answer:
        if row.raw is not None:
            return parsed(self.edge.raw(row.raw))
        headers = {name: self.written(value) for name, value in row.headers.items()}
        return self.edge.send(row.method, row.path, headers, body=row.body, chunked=row.chunked)

    def _compare(self, name: str, values: list[str], expected: Expected) -> None:
        if expected is ABSENT:
            assert values == [], name
        elif isinstance(expected, re.Pattern):
            assert len(values) == 1, name
            assert expected.fullmatch(values[0]), f"{name}: {values[0]}"
        elif isinstance(expected, str):
            assert values == [self.written(expected)], name
        else:
            assert [item for value in values for item in re.split(r",\s*", value)] == [
                self.written(item) for item in expected
            ], name


def parsed(received: bytes) -> Answer:
    """The first response in `received`; its body is all that follows."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    assert first.startswith("HTTP/1."), received
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Answer(int(first.split()[1]), headers, body)


@contextmanager
def running_site(project: Path | None = None) -> Iterator[Site]:
    """A site of the test's own, with the kong.conf of `project`; no script of its edge may have failed by the end."""
    state = Path(tempfile.mkdtemp(prefix="edge-"))
    upstream = Upstream()
    try:
        with running_edge(state, project) as edge:
            yield Site(edge, upstream)
            assert edge.stat("http.edge.lua.errors") == 0
    finally:
        upstream.stop()
        shutil.rmtree(state)
