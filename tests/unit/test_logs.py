"""Logs are read by replica, by time and as they grow, across rotation."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest

from localfaas.logs import Message, Query, follow, history

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def line(minutes_ago: float, text: str) -> str:
    stamp = (NOW - timedelta(minutes=minutes_ago)).isoformat().replace("+00:00", "Z")
    return json.dumps({"time": stamp, "message": text}) + "\n"


def texts(messages: Iterator[Message]) -> list[str]:
    return [json.loads(one.text)["message"] if one.text.startswith("{") else one.text for one in messages]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "cart-1.log").write_text(line(20, "old") + line(2, "first") + line(1, "second"))
    (tmp_path / "cart-2.log").write_text(line(3, "third"))
    (tmp_path / "cart-pay-1.log").write_text(line(1, "another function"))
    (tmp_path / "cart-1-1.log").write_text(line(1, "yet another function"))
    return tmp_path


def test_without_tail_and_since_the_last_five_minutes_are_shown(logs: Path) -> None:
    assert texts(history(logs, Query("cart"), NOW)) == ["first", "second", "third"]
    assert texts(history(logs, Query("cart", tail=-1), NOW)) == ["first", "second", "third"]


def test_tail_counts_lines_of_each_replica(logs: Path) -> None:
    assert texts(history(logs, Query("cart", tail=1), NOW)) == ["second", "third"]
    assert texts(history(logs, Query("cart", tail=9), NOW)) == ["old", "first", "second", "third"]


def test_since_and_tail_both_apply(logs: Path) -> None:
    since = NOW - timedelta(minutes=2, seconds=30)
    assert texts(history(logs, Query("cart", since=since), NOW)) == ["first", "second"]
    assert texts(history(logs, Query("cart", since=since, tail=1), NOW)) == ["second"]


def test_an_instance_is_one_replica(logs: Path) -> None:
    assert texts(history(logs, Query("cart", instance="cart-2"), NOW)) == ["third"]
    assert texts(history(logs, Query("cart", instance="cart-9"), NOW)) == []


def test_a_line_without_a_time_has_that_of_the_line_before(tmp_path: Path) -> None:
    (tmp_path / "cart-1.log").write_text(line(20, "old") + "Traceback\n" + line(1, "new") + "  more\n")
    assert texts(history(tmp_path, Query("cart"), NOW)) == ["new", "  more"]


def test_a_file_without_times_has_the_time_of_its_last_write(tmp_path: Path) -> None:
    path = tmp_path / "cart-1.log"
    path.write_text("hello\n")
    os.utime(path, (NOW.timestamp() - 60, NOW.timestamp() - 60))
    (message,) = history(tmp_path, Query("cart"), NOW)
    assert message.timestamp == NOW - timedelta(minutes=1)
    assert texts(history(tmp_path, Query("cart"), NOW + timedelta(hours=1))) == []


@pytest.mark.parametrize("prefix", ["2026-03-01 11:59:30,123Z INFO", "[2026-03-01T11:59:30+00:00] x"])
def test_a_date_at_the_start_of_a_line_is_its_time(tmp_path: Path, prefix: str) -> None:
    (tmp_path / "cart-1.log").write_text(prefix + "\n")
    (message,) = history(tmp_path, Query("cart"), NOW)
    assert abs(message.timestamp - NOW) < timedelta(minutes=1)


def test_rotated_files_come_first(tmp_path: Path) -> None:
    (tmp_path / "cart-1.log.2").write_text(line(4, "a"))
    (tmp_path / "cart-1.log.1").write_text(line(3, "b"))
    (tmp_path / "cart-1.log").write_text(line(2, "c"))
    assert texts(history(tmp_path, Query("cart"), NOW)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\n", b"{not json\n", b'{"time": 5}\n', b'{"time": "soon"}\n', b"[" * 9999]
)
def test_any_bytes_are_a_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cart-1.log").write_bytes(content)
    (message,) = history(tmp_path, Query("cart", tail=5), NOW)
    assert json.loads(message.to_json())["instance"] == "cart-1"


def test_a_message_is_one_line_of_openfaas_json() -> None:
    text = Message("cart", "cart-1", NOW, "é\u2028x").to_json()
    assert text.count("\n") == 1
    assert json.loads(text) == {
        "name": "cart",
        "namespace": "openfaas-fn",
        "instance": "cart-1",
        "timestamp": "2026-03-01T12:00:00.000000Z",
        "text": "é\u2028x",
    }


def test_following_sees_new_lines_new_replicas_and_rotation(tmp_path: Path) -> None:
    log = tmp_path / "cart-1.log"
    log.write_text("present\n")

    def more(text: str) -> None:
        with log.open("a") as file:
            file.write(text)

    def rotate() -> None:
        more("before rotation\n")
        log.rename(tmp_path / "cart-1.log.1")
        log.write_text("after rotation\n")

    steps = iter(
        [
            lambda: more("half a "),
            lambda: more("line\n"),
            lambda: (tmp_path / "cart-2.log").write_text("another replica\n"),
            rotate,
        ]
    )
    stream = follow(tmp_path, Query("cart", tail=1, follow=True), lambda: False, lambda _: next(steps)())
    assert texts(islice(stream, 5)) == [
        "present",
        "half a line",
        "another replica",
        "before rotation",
        "after rotation",
    ]
    stream.close()  # type: ignore[attr-defined]


def test_following_ends_when_the_client_is_gone(logs: Path) -> None:
    answers = iter([False, False, True])
    stream = follow(logs, Query("cart", tail=1, follow=True), lambda: next(answers), lambda _: None)
    assert texts(stream) == ["second", "third"]
