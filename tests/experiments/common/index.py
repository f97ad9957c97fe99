"""A page of all experiments: what each run found, and its figures over time."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape

from tests.experiments.common.report import Figure

TEMPLATES = Path(__file__).parent
MOST_FIGURES = 12
"""Of one run on the page; all are in its result.json."""
_WIDTH, _HEIGHT, _EDGE = 320, 60, 6
Run = tuple[str, Mapping[str, Any]]
"""A folder's name and its result."""


def write(directory: Path) -> Path:
    """Write `index.html` over all finished experiments in `directory`, newest first."""
    found = [
        (path.parent.name, json.loads(path.read_text())) for path in sorted(directory.glob("*/result.json"))
    ]
    # Results of an earlier form say nothing that could be followed.
    results = [(folder, result) for folder, result in found if "figures" in result]
    names = list(dict.fromkeys(result["experiment"] for _, result in results))
    sections = [
        _section([pair for pair in results if pair[1]["experiment"] == name]) for name in sorted(names)
    ]
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(default=True))
    path = directory / "index.html"
    path.write_text(environment.get_template("index.html.j2").render(sections=sections))
    return path


def _section(runs: Sequence[Run]) -> dict[str, Any]:
    """Figures are followed over all runs that count, those of the latest first; drafts are only listed."""
    latest, counted = runs[-1][1], [pair for pair in runs if not pair[1]["settings"].get("draft")]
    names = dict.fromkeys(
        figure["name"] for _, result in reversed(counted) for figure in result["figures"][:MOST_FIGURES]
    )
    return {
        "title": latest["title"],
        "name": latest["experiment"],
        "runs": [
            {
                "folder": folder,
                "at": result["at"],
                "commit": result["commit"],
                "form": _form(result),
                "verdicts": result["verdicts"],
            }
            for folder, result in reversed(runs)
        ],
        "figures": [_over_time(name, [result for _, result in counted]) for name in names],
    }


def _form(result: Mapping[str, Any]) -> str:
    settings = result["settings"]
    return "draft" if settings.get("draft") else "full" if settings.get("full") else "short"


def _over_time(name: str, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    points = [
        (Figure.read(entry), result)
        for result in results
        for entry in result["figures"]
        if entry["name"] == name
    ]
    last = points[-1][0]
    most = _most([figure for figure, _ in points])
    first_day, last_day = (points[place][1]["at"][:10] for place in (0, -1))
    return {
        "name": name,
        "unit": last.unit,
        "last": last.said(),
        "count": len(points),
        "scale": f"0 to {most:.4g}; {first_day} to {last_day}",
        "width": _WIDTH,
        "height": _HEIGHT,
        "marks": _marks(points, most),
    }


def _most(figures: Sequence[Figure]) -> float:
    ends = [value for one in figures for value in (one.value, one.high) if math.isfinite(value)]
    return max(ends, default=1.0) or 1.0


def _marks(points: Sequence[tuple[Figure, Mapping[str, Any]]], most: float) -> list[dict[str, Any]]:
    """Each point with its interval, if it has one, in the picture's coordinates; the scale begins at zero."""
    step = (_WIDTH - 2 * _EDGE) / max(1, len(points) - 1)

    def y(value: float) -> float:
        within = min(max(value, 0.0), most)
        return round(_HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * within / most, 1)

    def mark(place: int, figure: Figure, result: Mapping[str, Any]) -> dict[str, Any]:
        known = math.isfinite(figure.low) or math.isfinite(figure.high)
        settings = (
            f"{key} {value}" for key, value in result["settings"].items() if key not in ("full", "draft")
        )
        return {
            "x": round(_EDGE + step * place, 1),
            "y": y(figure.value),
            "low": y(figure.low if known else figure.value),
            "high": y(figure.high if known else figure.value),
            "form": _form(result),
            "title": ", ".join(
                [f"{figure.said()}: {result['at']}", result["commit"], _form(result), *settings]
            ),
        }

    return [mark(place, *point) for place, point in enumerate(points)]
