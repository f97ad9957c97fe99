"""The messages that docs/troubleshooting.md quotes, and those that the code can say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.support.literals import HOLE, literals

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "troubleshooting.md"
FOLDERS = ("localfaas", "functions", "db", "deploy", "benchmarks", "tests/load", "tests/experiments")
"""Where users' messages are written."""
GAP = "…"
"""In a quotation: what differs from case to case."""
_HEADS = ("you see", "status, message", "status, `code`, detail")


def quoted(page: str) -> Iterator[str]:
    """What stands in backticks in the first column of each table of messages."""
    in_table = False
    for line in page.splitlines():
        first = line.strip("|").split("|")[0].strip()
        if not line.startswith("|"):
            in_table = False
        elif first in _HEADS:
            in_table = True
        elif in_table:
            yield from re.findall(r"`([^`]+)`", first)


def sayable() -> list[str]:
    """Every text of the code, with a hole where a value is filled in: Python's literals, other files' lines."""
    texts = (PROJECT / "Makefile").read_text().splitlines()
    for folder in FOLDERS:
        for path in (PROJECT / folder).rglob("*"):
            if path.suffix == ".py":
                texts += literals(path.read_text())
            elif path.suffix in {".lua", ".js"}:
                texts += [re.sub(r"\$\{[^}]*\}", HOLE, line) for line in path.read_text().splitlines()]
    return texts


def is_said(message: str, texts: Iterable[str]) -> bool:
    """Whether one text has all parts of the message in order, something filled in or skipped between them."""
    parts = [re.escape(part.strip()) for part in message.split(GAP) if part.strip(" .:;,()")]
    wanted = re.compile(r"[\s\S]*?".join(parts))
    return any(wanted.search(text) for text in texts)
