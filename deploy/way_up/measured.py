"""The figures that the model is fed with: one small file, which says of each where it is from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("measured.json")
SUBJECTS = ("products", "cart", "checkout", "reports", "journey")
"""Those of the experiment `capacity` that the model needs."""
GROUPS = ("replicas", "gateway", "edge", "postgres")


@dataclass(frozen=True)
class Measured:
    """Seconds, but for the shares, the variation and the bytes."""

    cpu: Mapping[str, Mapping[str, float]]
    """Processor time of one request, by subject and group of processes."""
    commit: float
    """What a transaction that writes waits for the disk."""
    one_row: float
    """How long a reservation keeps the row of its product to itself."""
    replica_bytes: float
    variation: float
    most_wanted: float
    reports_a_visit: float

    def __post_init__(self) -> None:
        if missing := [name for name in SUBJECTS if set(self.cpu.get(name, ())) < set(GROUPS)]:
            raise ValueError(f"no processor times of {', '.join(missing)}")


def load(file: Path = FILE) -> Measured:
    return of(json.loads(file.read_text()))


def of(content: Mapping[str, Any]) -> Measured:
    """The file's content without its remarks."""
    return Measured(**{name: content[name] for name in Measured.__dataclass_fields__})


def take(content: Mapping[str, Any], result: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The file's content with the processor times of a `result.json` of the experiment `capacity`, at one replica.

    What that run did not ask for stays as it is.
    """
    cells = result.get("cells") or result["more"]["cells"]
    cpu = {name: dict(times) for name, times in content["cpu"].items()}
    for cell in cells:
        if cell["replicas"] == 1 and cell["subject"] in SUBJECTS:
            cpu[cell["subject"]] = {
                group: float(f"{sum(blocks) / len(blocks):.3g}")
                for group, blocks in cell["cpu_seconds"].items()
            }
    return {**content, "cpu": cpu, "cpu_from": origin}
