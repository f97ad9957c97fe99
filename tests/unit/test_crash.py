"""Crashing on purpose: only where a plan says so, as often as it says, and never outside of a test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.shared import SettingsError, crash
from functions.shared.settings import load


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    crash.arm(settings())


def settings(**environ: str) -> crash.CrashSettings:
    return load(crash.CrashSettings, "any", environ)


def killed_at(plan: Path, *names: str) -> str | None:
    """The point at which a process that passes these is killed; None when it lives."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        crash.arm(settings(crash_plan=str(plan), testing="true"))
        for name in names:
            os.write(writer, f"{name}\n".encode())
            crash.point(name)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as passed:
        last = passed.read().split()[-1]
    status = os.waitpid(pid, 0)[1]
    return last if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL else None


def test_a_plan_is_counted_down_over_the_processes_that_die_of_it(tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    crash.write(plan, {"b": 2, "c": 1})
    assert [killed_at(plan, "a", "b", "c", "d") for _ in range(4)] == ["b", "b", "c", None]
    assert crash.left(plan) == {"b": 0, "c": 0}


def test_without_a_plan_every_point_is_passed() -> None:
    crash.arm(settings())
    crash.point("a")


def test_a_plan_is_refused_outside_of_a_test(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="testing"):
        settings(crash_plan=str(tmp_path / "plan"))
