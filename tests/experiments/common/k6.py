"""k6: runs a script as a process of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from benchmarks.report import BenchmarkError, k6_program

GARBAGE = "800"
"""GOGC: k6 collects its garbage when it has nine times what it uses, every ten seconds or so, and not every second and a
half: requests leave up to 30 ms late meanwhile (seen at 1,000 a second on two processors)."""


def binary() -> Path:
    """An installed k6, else the one of the lock file. Raises BenchmarkError where there is neither."""
    if not (found := k6_program()):
        raise BenchmarkError("k6 is not installed: `make up` installs it, or take it from https://k6.io")
    return found


def start(script: Path, output: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """k6 with `script`, writing every sample to `output` (CSV) and what it says beside it (.log)."""
    with output.with_suffix(".log").open("w") as log:
        return subprocess.Popen(
            [str(binary()), "run", "--quiet", "--no-usage-report", f"--out=csv={output}", str(script)],
            env={
                "GOGC": GARBAGE,
                **os.environ,
                **environment,
                "K6_CSV_TIME_FORMAT": "unix_micro",
                "NO_COLOR": "1",
            },
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )


def finish(process: subprocess.Popen[str], output: Path, seconds: float) -> None:
    """Wait for k6 to end well. Raises BenchmarkError with what it said when it does not."""
    try:
        code = process.wait(seconds)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        process.kill()
        process.wait()
        raise
    if code != 0:
        said = output.with_suffix(".log").read_text()
        raise BenchmarkError(f"k6 ended with {code}:\n{said[-2000:]}")
