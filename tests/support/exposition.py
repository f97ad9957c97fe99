"""Prometheus' text format as the rows of docs/metrics.md that it should have."""

from __future__ import annotations

import re

from tests.support.metrics_table import Row

_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? \S+$")
_LABEL = re.compile(r'(\w+)="(?:[^"\\]|\\.)*"')
_PARTS = ("_bucket", "_sum", "_count")


def exposed_rows(text: str) -> set[Row]:
    """One for each metric of an exposition, with the labels of its first series."""
    helps: dict[str, str] = {}
    kinds: dict[str, str] = {}
    labels: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        if line.startswith("# "):
            _, word, name, *rest = line.split(" ", 3)
            {"HELP": helps, "TYPE": kinds}.get(word, {})[name] = " ".join(rest)
        elif sample := _SAMPLE.match(line):
            name = _family(sample["name"], kinds)
            labels.setdefault(
                name, tuple(label for label in _LABEL.findall(sample["labels"] or "") if label != "le")
            )
    return {Row(name, kind, labels[name], helps[name]) for name, kind in kinds.items() if name in labels}


def _family(name: str, kinds: dict[str, str]) -> str:
    stems = (name.removesuffix(part) for part in _PARTS if name.endswith(part))
    return next((stem for stem in stems if kinds.get(stem) == "histogram"), name)
