"""The tables of docs/metrics.md, section by section, so that a test can hold each to what is exposed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


@dataclass(frozen=True, order=True)
class Row:
    """One metric under the name by which it is asked for: a counter with its `_total`, a histogram without suffix."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        labels = ", ".join(f"`{label}`" for label in self.labels)
        return f"| `{self.name}` | {self.kind} | {labels} | {self.text} |"


def documented(section: str, text: str | None = None) -> list[Row]:
    """The rows of one section's table, in their order. Raises ValueError when there is no such section."""
    document = DOCUMENT.read_text() if text is None else text
    found = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", document, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"docs/metrics.md has no section {section!r}")
    lines = [line for line in found[1].splitlines() if line.startswith("| `")]
    return [_row(line) for line in lines]


def _row(line: str) -> Row:
    name, kind, labels, text = (
        cell.strip().replace("\\|", "|")
        for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"), maxsplit=3)
    )
    return Row(name.strip("`"), kind, tuple(re.findall(r"`(\w+)`", labels)), text)


def differences(documented: Iterable[Row], exposed: Iterable[Row]) -> str:
    """What to add to the document and what to take out; empty when it says just what is exposed."""
    rows, real = set(documented), set(exposed)
    missing = [f"add:    {row}" for row in sorted(real - rows)]
    return "\n".join([*missing, *(f"remove: {row}" for row in sorted(rows - real))])
