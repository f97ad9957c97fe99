"""Logs of a function's replicas, read from the files that the replicas write.

One file per replica, `<function>-<slot>.log`, rotated to `.log.1`, `.log.2`. The time of a line is the one it
carries (a JSON line's `time`, or a date at its start); a line without one, such as a traceback's, has the time of
the line before it, and in a file without any times that of the last write.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from localfaas.deployment import NAMESPACE

DEFAULT_WINDOW = timedelta(minutes=5)
"""What is shown when neither `tail` nor `since` is given."""
POLL_SECONDS = 0.2
_BLOCK_BYTES = 256 * 1024
_TIME_KEYS = ("time", "timestamp", "ts", "@timestamp")
_DATE = re.compile(r"\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?)\s?(Z|[+-]\d\d:?\d\d)?")


@dataclass(frozen=True)
class Query:
    """Which lines are wanted: of one function or one replica, the last ones or those since a time, and then new ones."""

    name: str
    instance: str = ""
    tail: int = 0
    since: datetime | None = None
    follow: bool = False


@dataclass(frozen=True)
class Message:
    """One line of one replica."""

    name: str
    instance: str
    timestamp: datetime
    text: str

    def to_json(self) -> str:
        """One line of OpenFaaS' log stream."""
        stamp = self.timestamp.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        message = {
            "name": self.name,
            "namespace": NAMESPACE,
            "instance": self.instance,
            "timestamp": stamp,
            "text": self.text,
        }
        return json.dumps(message, ensure_ascii=False) + "\n"


def history(
    directory: Path, query: Query, now: datetime, until: Mapping[Path, int] | None = None
) -> Iterator[Message]:
    """The present lines, replica by replica, as `tail` and `since` select them.

    `until` gives, for some files, the byte at which to stop: what follows is read by someone else.
    """
    since = query.since or (now - DEFAULT_WINDOW if query.tail <= 0 else None)
    for path in replica_files(directory, query):
        yield from _selected(path, query, since, (until or {}).get(path))


def follow(
    directory: Path, query: Query, gone: Callable[[], bool], pause: Callable[[float], object]
) -> Iterator[Message]:
    """Present lines, then new ones as they are written, also of replicas that appear later, until `gone()`.

    `pause(seconds)` is called between two looks at the files.
    """
    followers = {path: _Follower(path, query.name, at_end=True) for path in replica_files(directory, query)}
    try:
        until = {path: follower.position for path, follower in followers.items()}
        yield from history(directory, query, datetime.now(UTC), until)
        while not gone():
            for path in replica_files(directory, query):
                if path not in followers:
                    followers[path] = _Follower(path, query.name, at_end=False)
            for follower in followers.values():
                yield from follower.new()
            pause(POLL_SECONDS)
    finally:
        for follower in followers.values():
            follower.close()


def replica_files(directory: Path, query: Query) -> list[Path]:
    """The log files of the query's replicas, in the order of their slots."""
    if not directory.is_dir():
        return []
    pattern = re.compile(re.escape(query.name) + r"-([0-9]+)\.log")
    found = [(int(match[1]), path) for path in directory.iterdir() if (match := pattern.fullmatch(path.name))]
    return [path for _, path in sorted(found) if query.instance in ("", path.stem)]


class _Follower:
    """One growing file, across rotation. Starts at its end, so that `history` may be read after it is opened."""

    def __init__(self, path: Path, name: str, at_end: bool) -> None:
        self._path, self._name = path, name
        self._rest = b""
        self._file = _open(path)
        if self._file and at_end:
            self._file.seek(0, os.SEEK_END)

    @property
    def position(self) -> int:
        return self._file.tell() if self._file else 0

    def new(self) -> Iterator[Message]:
        """Whole lines written since the last call, with the time they carry or else now."""
        yield from self._take()
        if self._rotated():
            self.close()
            self._file, self._rest = _open(self._path), b""
            yield from self._take()

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _take(self) -> Iterator[Message]:
        if not self._file:
            return
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)
        while block := self._file.read(_BLOCK_BYTES):
            *lines, self._rest = (self._rest + block).split(b"\n")
            for line in lines:
                text = line.decode("utf-8", "replace")
                yield Message(self._name, self._path.stem, _time_of(text) or datetime.now(UTC), text)

    def _rotated(self) -> bool:
        try:
            present = self._path.stat().st_ino
        except FileNotFoundError:
            return False
        return self._file is None or present != os.fstat(self._file.fileno()).st_ino


def _selected(path: Path, query: Query, since: datetime | None, until: int | None) -> list[Message]:
    """A replica's lines, oldest first. Files are read from the newest back, and no further than is needed."""
    rotated = sorted(path.parent.glob(f"{path.name}.[0-9]"))
    messages: list[Message] = []
    for one in (path, *rotated):
        try:
            content, written_at = one.read_bytes(), datetime.fromtimestamp(one.stat().st_mtime, UTC)
        except FileNotFoundError:
            continue
        text = (content[:until] if one == path else content).decode("utf-8", "replace")
        read = _dated(text, written_at, path.stem, query.name)
        messages[:0] = [message for message in read if since is None or message.timestamp >= since]
        if (since and written_at < since) or 0 < query.tail <= len(messages):
            break
    return messages[-query.tail :] if query.tail > 0 else messages


def _dated(text: str, written_at: datetime, instance: str, name: str) -> Iterator[Message]:
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    times = [_time_of(line) for line in lines]
    time = next((one for one in times if one), written_at)
    for line, own in zip(lines, times, strict=True):
        time = own or time
        yield Message(name, instance, time, line)


def _time_of(line: str) -> datetime | None:
    if line.startswith("{"):
        return _json_time(line)
    found = _DATE.match(line)
    return _parse(found[1].replace(",", ".") + (found[2] or "")) if found else None


def _json_time(line: str) -> datetime | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    texts = [fields[key] for key in _TIME_KEYS if isinstance(fields.get(key), str)]
    return _parse(texts[0]) if texts else None


def _parse(text: str) -> datetime | None:
    """A time; without a zone it is this machine's."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _open(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None
