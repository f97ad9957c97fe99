"""Crashing on purpose: a process kills itself (SIGKILL) when it passes a named point. For tests alone.

    crash.point("checkout.reserve.before")

The setting `crash_plan` names a file with lines `<point> <how often>`. A point that is passed is counted down in the
file before the process dies, so that the one started in its place dies there too, or goes on. Without the setting
passing a point is one comparison. With it a function starts only if `testing` says that this is a test.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from .settings import FunctionSettings, SettingsError, setting

_plan: Path | None = None


@dataclass(frozen=True, kw_only=True)
class CrashSettings(FunctionSettings):
    """For a function that has points to crash at."""

    crash_plan: str = setting("File that says at which points to crash; for tests alone.", default="")
    testing: bool = setting("Whether this is a test, in which crashing is allowed.", default=False)

    def __post_init__(self) -> None:
        if self.crash_plan and not self.testing:
            raise SettingsError("crash_plan is for tests: it is refused unless testing is true")


def arm(settings: CrashSettings) -> None:
    """Crash from now on as the settings say; not at all when they name no plan."""
    global _plan  # noqa: PLW0603 - one process crashes as a whole
    _plan = Path(settings.crash_plan) if settings.crash_plan else None


def point(name: str) -> None:
    """Die here if the plan says so."""
    if _plan is not None:
        _fire(_plan, name)


def left(plan: Path) -> dict[str, int]:
    """How often each point of a plan is still to be crashed at."""
    return {name: int(times) for name, times in (line.split() for line in plan.read_text().splitlines())}


def write(plan: Path, times: dict[str, int]) -> None:
    """Write a plan; whoever reads it finds the old or the new one, never a part."""
    beside = plan.with_name(f"{plan.name}.{os.getpid()}")
    beside.write_text("".join(f"{name} {count}\n" for name, count in times.items()))
    beside.replace(plan)


def _fire(plan: Path, name: str) -> None:
    planned = left(plan)
    if planned.get(name, 0) > 0:
        write(plan, {**planned, name: planned[name] - 1})
        os.kill(os.getpid(), signal.SIGKILL)
