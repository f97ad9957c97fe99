"""Where an experiment's results go: one folder, self-explanatory, that an interrupted run can be taken up in again.

<STATE_DIR>/experiments/<name>-<UTC time>/
    settings.json   what was asked for, the machine, the versions, the commit, the code that measures
    runs/<run>/     raw data of each run, complete once it has a done.json: answers.csv.gz (every request),
                    samples.hlog (HdrHistograms), clocks.csv (processor time), and what the experiment adds
    rejected.json   runs that could not be believed and were made again, and why
    result.json  report.html  *.png
"""

from __future__ import annotations

import csv
import json
import math
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.report import PROJECT, machine
from tests.experiments.common import proof


@dataclass(frozen=True)
class Folder:
    path: Path

    @classmethod
    def new(cls, state: Path, name: str, settings: Mapping[str, Any]) -> Folder:
        """A fresh folder that says what is about to be done, where and with what."""
        now = datetime.now(UTC)
        folder = cls((state / "experiments" / f"{name}-{now:%Y%m%dT%H%M%SZ}").absolute())
        folder.path.mkdir(parents=True)
        about = {
            "experiment": name,
            "at": now.isoformat(timespec="seconds"),
            "commit": commit(),
            "machine": machine(),
            "proof": proof.of_harness(),
        }
        folder.write("settings.json", {**about, "settings": dict(settings)})
        return folder

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.read("settings.json"))

    def run(self, name: str) -> Folder:
        """The folder of one run."""
        run = Folder(self.path / "runs" / name)
        run.path.mkdir(parents=True, exist_ok=True)
        return run

    def done_runs(self) -> list[str]:
        """The runs that are complete, in the order in which they ended."""
        marks = sorted((self.path / "runs").glob("*/done.json"), key=lambda mark: mark.stat().st_mtime)
        return [mark.parent.name for mark in marks]

    def read(self, name: str) -> Any:
        return json.loads((self.path / name).read_text())

    def write(self, name: str, document: Any) -> Path:
        """As JSON, which has no endless numbers: they are null. Whoever reads meanwhile, or after a stop, finds it whole."""
        path = self.path / name
        fresh = path.with_name(f".{name}.new")
        fresh.write_text(json.dumps(_plain(document), indent=1, allow_nan=False) + "\n")
        fresh.replace(path)
        return path

    def append(self, name: str, entry: Any) -> None:
        """Add an entry to a list that is kept in a file."""
        entries = self.read(name) if (self.path / name).is_file() else []
        self.write(name, [*entries, entry])

    def write_csv(self, name: str, rows: Iterable[Sequence[Any]]) -> Path:
        path = self.path / name
        with path.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
        return path


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def commit() -> str:
    """The commit of the project, with `+` where files differ from it; empty outside of a repository."""
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip()
