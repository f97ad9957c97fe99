"""A report that a sceptic can read alone: one HTML file with its pictures in it."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape

from benchmarks.quantiles import Ratio

TEMPLATES = Path(__file__).parent
ONE_RUN = 0.1
"""Of one run there is no interval: what lies within so much of its bound cannot be told."""


@dataclass(frozen=True)
class Verdict:
    """A goal, what was found, and whether that is the goal met; None says that it cannot be told."""

    goal: str
    found: str
    met: bool | None

    @property
    def word(self) -> str:
        return {True: "met", False: "missed", None: "cannot tell"}[self.met]


def at_most(found: Ratio, most: float) -> bool | None:
    """Whether a goal is met, by the whole interval; None where the interval has values on both sides of `most`."""
    return None if found.low <= most < found.high else found.high <= most


def at_least(found: Ratio, least: float) -> bool | None:
    """As `at_most`, of a goal that is to be reached."""
    return None if found.low < least <= found.high else found.low >= least


def of_one_run(value: float) -> Ratio:
    """A figure of one run: it has no interval, so it stands for all that is within ONE_RUN of it."""
    return wider(Ratio(value, value, value), ONE_RUN)


def wider(found: Ratio, share: float) -> Ratio:
    """As `found`, with so much more open on both sides."""
    return Ratio(found.value, found.low * (1 - share), found.high * (1 + share))


def each_at_most(values: Sequence[float], most: float) -> bool | None:
    """Whether a figure is at most `most` in each run; of one run alone what lies near it cannot be told.

    For what is measured: a count of what must not happen at all is exact.
    """
    if len(values) == 1:
        return at_most(of_one_run(values[0]), most)
    return max(values) <= most


def every(*told: bool | None) -> bool | None:
    """Whether all of it is so; None where nothing is missed and something cannot be told."""
    return False if False in told else None if None in told else True


@dataclass(frozen=True)
class Figure:
    """A number by which two runs of an experiment are compared, with its 95 % interval; an end that is not known is infinite.

    `better` is "lower", "higher" or, where neither is, "".
    """

    name: str
    unit: str
    value: float
    low: float
    high: float
    better: str = "lower"

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Figure:
        """As result.json has it, where an end that is not known is null."""
        low, high = entry["low"], entry["high"]
        return cls(
            **{
                **entry,
                "low": -math.inf if low is None else low,
                "high": math.inf if high is None else high,
            }
        )

    def said(self) -> str:
        """`value (low–high)`, without an end that is not known."""
        value, low, high = (f"{end:.4g}" for end in (self.value, self.low, self.high))
        if math.isinf(self.low) and math.isinf(self.high):
            return value
        if math.isinf(self.high):
            return f"{value} ({low} or more)"
        return f"{value} ({high} or less)" if math.isinf(self.low) else f"{value} ({low}–{high})"


@dataclass(frozen=True)
class Table:
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Report:
    """What an experiment has to say: question, method, results with their goals, pictures, and what may be wrong with it."""

    title: str
    question: str
    method: Sequence[str]
    verdicts: Sequence[Verdict]
    tables: Sequence[Table]
    pictures: Sequence[tuple[str, Path]]
    """Caption and file."""
    threats: Sequence[str]
    about: Sequence[tuple[str, str]]
    """Machine, versions, commit, settings."""


def write(report: Report, path: Path) -> None:
    """Write the report to `path`; pictures are put into the file."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(default=True))
    pictures = [(caption, base64.b64encode(file.read_bytes()).decode()) for caption, file in report.pictures]
    template = environment.get_template("report.html.j2")
    path.write_text(template.render(report=report, pictures=pictures))
