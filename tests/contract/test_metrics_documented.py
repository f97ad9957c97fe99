"""docs/metrics.md says of functions just what they expose: every name, its kind, its labels and its help line."""

from __future__ import annotations

import importlib
from pathlib import Path

import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from functions.shared import metrics
from tests.support.metrics_table import Row, differences, documented

PROJECT = Path(__file__).resolve().parents[2]
STACK = yaml.safe_load((PROJECT / "stack.yml").read_text())["functions"]
OF_EVERY_FUNCTION = {id(found) for found in vars(metrics).values()}
LABELS_OF_PYTHON = {
    "python_gc_objects_collected": ("generation",),
    "python_gc_objects_uncollectable": ("generation",),
    "python_gc_collections": ("generation",),
    "python_info": ("version", "implementation", "major", "minor", "patchlevel"),
}
"""prometheus_client's own collectors tell their labels only with their samples."""


def exposed() -> dict[str, set[Row]]:
    """Rows by section, of all functions in stack.yml."""
    for spec in STACK.values():
        importlib.import_module(f"{spec['handler'].removeprefix('./').replace('/', '.')}.handler")
    found: dict[str, set[Row]] = {"Functions": set(), "The shop": set()}
    for collector in list(REGISTRY._collector_to_names):
        ours = isinstance(collector, MetricWrapperBase) and id(collector) not in OF_EVERY_FUNCTION
        for family in collector.collect():
            labels = getattr(collector, "_labelnames", LABELS_OF_PYTHON.get(family.name, ()))
            name = f"{family.name}_total" if family.type == "counter" else family.name
            row = Row(name, family.type, tuple(labels), family.documentation)
            found["The shop" if ours else "Functions"].add(row)
    return found


def test_every_metric_of_a_function_has_its_row_and_every_row_its_metric() -> None:
    found = exposed()
    wrong = {section: differences(documented(section), rows) for section, rows in found.items()}
    assert not any(wrong.values()), "\n".join(f"{section}:\n{text}" for section, text in wrong.items())


def test_help_lines_are_sentences() -> None:
    rows = documented("Functions") + documented("The shop")
    assert [row.name for row in rows if not row.text[:1].isupper()] == []
    assert [row.name for row in rows if row.kind not in {"counter", "gauge", "histogram"}] == []


def test_rows_are_told_apart() -> None:
    table = "## A\n\n| metric |\n|---|\n| `x_total` | counter | `a`, `b` | It counts. |\n\n## B\n| `y` | gauge | | Y. |\n"
    (row,) = documented("A", table)
    assert row == Row("x_total", "counter", ("a", "b"), "It counts.")
    assert documented("A", f"## A\n{row}") == [row]
    assert differences([row], [row]) == ""
    other = Row("x_total", "counter", ("a",), "It counts.")
    assert differences([row], [other]) == f"add:    {other}\nremove: {row}"
