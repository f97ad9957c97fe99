"""One request across all functions, from the logs that replicas write: JSON lines that bear its id or its trace's.

A function writes its line when it has answered, so what it called is written before it. Here a request is shown
where it began. Files are read line by line, so their size does not matter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from localfaas.commands import as_typed

ID_KEYS = ("request_id", "trace_id")


@dataclass(frozen=True)
class Entry:
    """One line: a request that a replica answered, or something that it said meanwhile."""

    began_at: datetime
    replica: str
    text: str
    style: str
    detail: str = ""


def find(directory: Path, wanted: str) -> list[Entry]:
    """All that replicas have written of a request (its request id or trace id), in the order in which it began."""
    lines = {line for path in log_files(directory) for line in _lines_with(path, wanted.encode())}
    entries = [entry for line in lines if (entry := parse(line, wanted)) is not None]
    return sorted(entries, key=lambda entry: (entry.began_at, entry.replica))


def log_files(directory: Path) -> list[Path]:
    """Every log there is, rotated ones too."""
    return sorted(
        path for path in directory.glob("*.log*") if path.suffix == ".log" or path.suffix[1:].isdigit()
    )


def _lines_with(path: Path, wanted: bytes) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from (line for line in file if wanted in line)
    except FileNotFoundError:  # rotated away in this moment
        return


def parse(line: bytes, wanted: str) -> Entry | None:
    """The entry that a line is; None when it is no JSON line of this request."""
    try:
        fields = json.loads(line)
        if not isinstance(fields, dict) or wanted not in [fields.get(key) for key in ID_KEYS]:
            return None
        written_at = datetime.fromisoformat(fields["time"])
        took = timedelta(milliseconds=float(fields.get("milliseconds", 0)))
        return _entry(fields, written_at - took)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _entry(fields: dict[str, Any], began_at: datetime) -> Entry:
    function, replica = str(fields.get("function", "")), str(fields.get("replica", ""))
    name = replica if replica.startswith(function) else f"{function} {replica}"
    if "status" not in fields:
        level = str(fields.get("level", "info"))
        style = {"info": "", "warning": "yellow"}.get(level, "red")
        detail = str(fields.get("traceback", "")).rstrip("\n")
        return Entry(began_at, name, f"{level}: {fields.get('message', '')}", style, detail)
    status = int(fields["status"])
    first = ", the replica's first request" if fields.get("first") else ""
    text = f"{fields['method']} {fields['route']} {status} {float(fields['milliseconds']):.1f} ms{first}"
    return Entry(began_at, name, text, "red" if status >= 500 else "yellow" if status >= 400 else "")


def show(directory: Path, wanted: str, console: Console, project: Path) -> bool:
    """Print a request of `project`; False, with what to do about it, when nothing is known of it."""
    entries = find(directory, wanted)
    if not entries:
        console.print(as_typed(_nothing(directory, wanted), project), soft_wrap=True, markup=False)
        return False
    for line in rendered(wanted, entries):
        console.print(line, soft_wrap=True)
    return True


def rendered(wanted: str, entries: Iterable[Entry]) -> Iterator[Text]:
    """Lines to print: a head, then time (UTC), milliseconds since the beginning, replica, and what was done or said."""
    entries = list(entries)
    start, width = entries[0].began_at, max(len(entry.replica) for entry in entries)
    yield Text(f"{wanted}, {start:%Y-%m-%d}, times in UTC, ms since its beginning", style="bold")
    for entry in entries:
        since = (entry.began_at - start).total_seconds() * 1000
        head = f"{entry.began_at:%H:%M:%S.%f}"[:-3] + f"  {since:+9.1f}  {entry.replica:{width}}  "
        yield Text(head) + Text(_printable(entry.text), style=entry.style)
        for line in entry.detail.splitlines():
            yield Text(" " * len(head) + _printable(line), style="dim")


def _printable(text: str) -> str:
    """No character of a log may steer the terminal that shows it."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _nothing(directory: Path, wanted: str) -> str:
    files = log_files(directory)
    if not files:
        return f"There are no logs in {directory} yet; start the platform with `localfaas up`."
    return (
        f"Nothing about {wanted} in {len(files)} log files.\n"
        "A request's id is in its answer's header X-Request-Id, and in `request_id` of every error; a trace id works too.\n"
        "A function writes when it has answered, so what is still running is not there yet, and what the edge or the "
        "gateway refused has reached no function.\n"
        "The last 10 to 30 MB of each replica's lines are kept; older ones are gone."
    )
