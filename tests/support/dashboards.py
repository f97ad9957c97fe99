"""The committed dashboards as tests see them: their panels and queries, and the metrics that a query names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
GRAFANA = PROJECT / "monitoring" / "grafana"
METRICS = PROJECT / "docs" / "metrics.md"

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
_WORDS = frozenset({"and", "or", "unless", "by", "on", "offset", "bool", "inf", "nan"})
_PARTS = ("_bucket", "_sum", "_count")


@dataclass(frozen=True)
class Asked:
    """One query of one panel."""

    board: str
    panel: str
    ref: str
    expr: str
    legend: str
    instant: bool
    kind: str = "timeseries"

    def __str__(self) -> str:
        return f"{self.board} | {self.panel} | {self.ref}"


def boards() -> dict[str, dict[str, Any]]:
    """Every committed dashboard, by its file's name without `.json`."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(GRAFANA.glob("dashboards/*.json"))}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """All but the rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(name: str, board: dict[str, Any]) -> Iterator[Asked]:
    for panel in panels(board):
        for target in panel.get("targets", []):
            yield Asked(
                name,
                panel["title"],
                target["refId"],
                target["expr"],
                target["legendFormat"],
                bool(target.get("instant")),
                panel["type"],
            )


def marks(board: dict[str, Any]) -> list[str]:
    """The expressions of its annotations."""
    return [mark["expr"] for mark in board["annotations"]["list"]]


def variables(board: dict[str, Any]) -> dict[str, str]:
    """Name and query of each variable."""
    return {one["name"]: one["query"]["query"] for one in board["templating"]["list"]}


def values_of(query: str) -> tuple[str, str]:
    """Selector and label of `label_values(selector, label)`."""
    found = re.fullmatch(rf"label_values\((.+), ({_NAME})\)", query)
    assert found, query
    return found[1], found[2]


def filled_in(text: str, seconds: int = 900) -> str:
    """A query as Grafana sends it with every value chosen and this much time shown."""
    fixed = {"$__rate_interval": "20s", "$__range": f"{seconds}s"}
    for variable, value in fixed.items():
        text = text.replace(variable, value)
    return re.sub(r"\$[a-z]\w*", ".*", text)


def labels_in(legend: str) -> set[str]:
    return set(re.findall(r"\{\{(\w+)\}\}", legend))


def metrics_in(expr: str) -> set[str]:
    """Names of the series that an expression reads."""
    found = {name for names in re.findall(r'__name__=~"([^"]*)"', expr) for name in names.split("|")}
    bare = re.sub(r'"[^"]*"', "", expr)
    bare = re.sub(r"\{[^{}]*\}|\[[^\[\]]*\]|\$\w+", "", bare)
    bare = _GROUPING.sub("", bare)
    names = re.findall(rf"(?<![\w:.]){_NAME}(?![\w:])(?!\s*\()", bare)
    return found | {name for name in names if name.lower() not in _WORDS}


def documented(text: str) -> set[str]:
    """Series named by the tables of docs/metrics.md; of a histogram, those that it consists of."""
    names = set()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if not cells:
            continue
        found = re.findall(rf"`({_NAME})", cells[0])
        names |= set(found)
        if cells[1:2] and cells[1].lower().startswith("histogram"):
            names |= {name + part for name in found for part in _PARTS}
    return names
