"""k6 with one of the scripts of this folder, told where the shop is and who acts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.experiments.common.k6 import GARBAGE, binary

FOLDER = Path(__file__).parent
RULES_BROKEN = 99
"""k6's exit code when a threshold does not hold."""


def run_k6(script: str, environment: Mapping[str, str]) -> int:
    """Run it in this terminal; k6's exit code. Raises BenchmarkError when there is no k6."""
    command = [str(binary()), "run", "--quiet", "--no-usage-report", "--address=", str(FOLDER / script)]
    try:
        return subprocess.run(
            command, env={"GOGC": GARBAGE, **os.environ, **environment}, check=False
        ).returncode
    except KeyboardInterrupt:
        return 130


def folder_for_summaries(summary: Path | None, name: str, state: Path) -> Path:
    """Where a run's JSON goes: as told, else in the state directory."""
    chosen = summary or state / "load" / f"{name}.json"
    chosen.parent.mkdir(parents=True, exist_ok=True)
    return chosen.resolve()
