"""One shape of load on several targets at once, sent by load.js; the harness holds it to a server of known delays, too."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import BenchmarkError
from tests.experiments.autoscale.shapes import Shape
from tests.experiments.common import answers, k6
from tests.experiments.common.folder import Folder
from tests.experiments.common.validity import IN_TENTHS, late

SCRIPT = Path(__file__).with_name("load.js")
OUTPUT = "k6.csv"
ANSWERS = "answers.csv.gz"
GRACE_SECONDS = 60.0


@dataclass(frozen=True)
class Sent:
    """When k6 began to send, by its own account (Unix time), and why what came of it may not be believed."""

    began: float
    rejected: list[str]


def send(folder: Folder, targets: Mapping[str, str], shape: Shape, most_open: int) -> None:
    """Load each target, an address by its name, with the shape; so many requests may be open at each at once."""
    environment = {
        "TARGETS": json.dumps(targets),
        "START": str(shape.start),
        "STAGES": json.dumps(
            [{"duration": f"{stage.seconds:g}s", "target": stage.rate} for stage in shape.stages]
        ),
        "VUS": str(int(most_open + 2 * shape.peak)),  # requests wait for up to a second until they are due
    }
    output = folder.path / OUTPUT
    k6.finish(k6.start(SCRIPT, output, environment), output, shape.duration + GRACE_SECONDS)


def written(folder: Folder, names: Iterable[str], shape: Shape) -> Sent:
    """Write down every answer, by the names of the targets, in place of what k6 wrote."""
    output = folder.path / OUTPUT
    began = _began(output)
    found, missed = answers.from_k6(output, dict.fromkeys(names, shape.due))
    output.unlink()
    answers.write(folder.path / ANSWERS, found)
    answers.write_histograms(folder.path / "samples.hlog", found, {name: name for name in found})
    rejected = [f"{missed} requests were not sent, as too many were open"] if missed else []
    return Sent(began, [*rejected, *late(found.values(), IN_TENTHS)])


def _began(output: Path) -> float:
    with output.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["metric_name"] == "load_began":
                return float(row["metric_value"]) / 1000
    raise BenchmarkError("k6 did not say when it began")
