"""What the long benchmarks do alike as commands: measure, show, say whether the machine was quiet, and write the result."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg2
from rich.console import Console

from benchmarks.report import BenchmarkError, is_quiet, load_settings, table_console, write_result
from localfaas.settings import Settings, SettingsError

M = TypeVar("M")


def measure_and_tell(
    name: str,
    options: argparse.Namespace,
    measure: Callable[[Settings, argparse.Namespace, Console], M],
    show: Callable[[Console, M], None],
    as_result: Callable[[M], dict[str, Any]],
) -> int:
    """The exit code of the benchmark `name`: 0, or 1 when it could not be made, which is said on stderr."""
    console = table_console()
    try:
        settings = load_settings()
        quiet = is_quiet()
        measured = measure(settings, options, console)
    except (BenchmarkError, SettingsError, psycopg2.Error, subprocess.TimeoutExpired) as exc:
        print(f"bench-{name}: {exc}", file=sys.stderr)
        return 1
    show(console, measured)
    if not quiet:
        console.print("The machine was busy before the run: the figures say more about its neighbours.")
    path = write_result(settings, name, as_result(measured) | {"quiet": quiet})
    console.print(f"Written to {path}", soft_wrap=True)
    return 0
