"""A platform of an experiment's own, beside whatever runs, with a project made for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.own_platform import OWN_OFFSET, inherited
from benchmarks.report import PROJECT, BenchmarkError
from localfaas.settings import Settings
from localfaas.status import Row

UP_SECONDS = 180


@contextmanager
def platform_of(project: Path, like: Settings) -> Iterator[Settings]:
    """`project` under localfaas on ports OWN_OFFSET above those of `like`; gone, with its data, when the block ends."""
    state = Path(tempfile.mkdtemp(prefix="magasin-experiment-"))
    settings = Settings(project, state, like.port_offset + OWN_OFFSET, pg_bin=like.pg_bin)
    try:
        localfaas(settings, "up")
        yield settings
    finally:
        localfaas(settings, "down", must_succeed=False)
        shutil.rmtree(state, ignore_errors=True)


def localfaas(settings: Settings, verb: str, *, must_succeed: bool = True) -> None:
    """`localfaas <verb>` for this platform. Raises BenchmarkError with its whole output when it fails."""
    environment = {
        **inherited(),
        "STATE_DIR": str(settings.state),
        "PORT_OFFSET": str(settings.port_offset),
        "RATE_LIMITS": "off",
        "PYTHONPATH": str(PROJECT),
    }
    done = subprocess.run(
        [sys.executable, "-m", "localfaas", "--project", str(settings.project), verb],
        cwd=settings.project, env=environment, capture_output=True, text=True, timeout=UP_SECONDS, check=False,
    )  # fmt: skip
    if must_succeed and done.returncode != 0:
        raise BenchmarkError(
            f"the platform of the experiment did not come {verb}:\n{done.stdout}{done.stderr}"
        )


def is_back(found: Iterable[Row], lost: Row) -> bool:
    """Whether the program runs again as another process, and a replica takes traffic again."""
    return any(
        row.program == lost.program
        and row.state == "RUNNING"
        and row.pid not in (0, lost.pid)
        and row.traffic != "no"
        for row in found
    )
