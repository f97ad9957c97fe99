"""One request is found in all logs and told in the order in which its parts began."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from localfaas import request_log

REQUEST, TRACE = "abc-1", "4bf92f3577b34da6a3ce929d0e0e4736"


def line(time: str, replica: str, **fields: Any) -> str:
    function = replica.rpartition("-")[0]
    ids = {"request_id": REQUEST, "trace_id": TRACE}
    head = {"time": f"2026-03-01T12:00:{time}Z", "level": "info", "function": function, "replica": replica}
    return json.dumps({**head, **ids, **fields}) + "\n"


def answered(time: str, replica: str, took: float, route: str = "/", status: int = 200, **more: Any) -> str:
    fields = {"message": "request", "method": "POST", "route": route, "status": status, "milliseconds": took}
    return line(time, replica, **fields, **more)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "checkout-1.log").write_text(
        answered("02.000000", "checkout-1", 1_000, status=503)
        + line(
            "01.900000", "checkout-1", level="error", message="no answer", traceback="Traceback\n  KeyError"
        )
        + answered("02.000000", "checkout-1", 5, request_id="abc-12", trace_id="0")
    )
    (tmp_path / "cart-2.log.1").write_text(answered("01.300000", "cart-2", 200, "/checkouts", first=True))
    (tmp_path / "cart-2.log").write_text("no JSON abc-1\n[1]\n" + '{"request_id": "abc-1"}\n')
    (tmp_path / "postgres.log").write_bytes(b"\xff abc-1 \xfe\n")
    return tmp_path


def shown(directory: Path, wanted: str, **options: Any) -> tuple[bool, str]:
    out = io.StringIO()
    found = request_log.show(
        directory, wanted, Console(file=out, highlight=False, width=40, **options), directory
    )
    return found, out.getvalue()


@pytest.mark.parametrize("wanted", [REQUEST, TRACE])
def test_a_request_is_told_from_where_it_began_across_functions_and_rotated_files(
    logs: Path, wanted: str
) -> None:
    found, text = shown(logs, wanted)
    assert found
    assert text.splitlines()[1:] == [
        "12:00:01.000       +0.0  checkout-1  POST / 503 1000.0 ms",
        "12:00:01.100     +100.0  cart-2      POST /checkouts 200 200.0 ms, the replica's first request",
        "12:00:01.900     +900.0  checkout-1  error: no answer",
        "                                     Traceback",
        "                                       KeyError",
    ]


def test_colours_are_for_terminals_alone(logs: Path) -> None:
    assert "\x1b" not in shown(logs, REQUEST)[1]
    assert "\x1b[31m" in shown(logs, REQUEST, force_terminal=True, color_system="standard")[1]


def test_a_log_cannot_steer_the_terminal(logs: Path) -> None:
    (logs / "evil-1.log").write_text(line("03.000000", "evil-1", message="a\x1b[2Jb\rc [red]d"))
    assert "info: a\\x1b[2Jb\\rc [red]d" in shown(logs, REQUEST)[1]


def test_the_same_line_in_two_files_is_one(logs: Path) -> None:
    (logs / "cart-2.log").write_text((logs / "cart-2.log.1").read_text())
    assert shown(logs, REQUEST)[1].count("cart-2") == 1


def test_what_is_not_there_is_said_with_what_to_do(logs: Path, tmp_path: Path) -> None:
    found, text = shown(logs, "nosuch")
    assert not found
    assert "Nothing about nosuch in 4 log files." in text
    assert "X-Request-Id" in text
    found, text = shown(tmp_path / "empty", "nosuch")
    assert not found
    assert "`localfaas up`" in text
