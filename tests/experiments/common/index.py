"""A page of all experiments: what each run found, and its figures over time."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape

TEMPLATES = Path(__file__).parent
MOST_FIGURES = 12
"""Of one experiment on the page; all are in its result.json."""
_WIDTH, _HEIGHT, _EDGE = 320, 60, 6


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


def _section(runs: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    latest = runs[-1][1]
    names = [figure["name"] for figure in latest["figures"]][:MOST_FIGURES]
    return {
        "title": latest["title"],
        "name": latest["experiment"],
        "runs": [
            {
                "folder": folder,
                "at": result["at"],
                "commit": result["commit"],
                "full": result["settings"].get("full"),
                "draft": result["settings"].get("draft"),
                "verdicts": result["verdicts"],
            }
            for folder, result in reversed(runs)
        ],
        "figures": [_over_time(name, runs) for name in names],
    }


def _over_time(name: str, runs: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    points = [figure for _, result in runs for figure in result["figures"] if figure["name"] == name]
    last = points[-1]
    return {
        "name": name,
        "unit": last["unit"],
        "last": f"{last['value']:.4g} ({last['low']:.4g}–{last['high']:.4g})",
        "count": len(points),
        "width": _WIDTH,
        "height": _HEIGHT,
        "marks": _marks(points),
    }


def _marks(points: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Each point with its interval, in the picture's coordinates; the scale begins at zero."""
    ends = [value for point in points for value in (point["value"], point["high"]) if math.isfinite(value)]
    most = max(ends, default=1.0) or 1.0
    step = (_WIDTH - 2 * _EDGE) / max(1, len(points) - 1)

    def y(value: float) -> float:
        within = min(max(value, 0.0), most) if math.isfinite(value) else (most if value > 0 else 0.0)
        return round(_HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * within / most, 1)

    return [
        {
            "x": round(_EDGE + step * place, 1),
            "y": y(point["value"]),
            "low": y(point["low"]),
            "high": y(point["high"]),
        }
        for place, point in enumerate(points)
    ]
