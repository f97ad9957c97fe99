"""What a program uses is read for it with all its descendants, and what is gone is left out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from localfaas.usage import usage

SPIN = "t = __import__('time'); e = t.process_time() + 0.2\nwhile t.process_time() < e: pass\n"
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {SPIN!r}], check=True)
child = subprocess.Popen([sys.executable, "-c", {SPIN!r} + "print('ready', flush=True); input()"])
child.wait()
"""


@pytest.fixture
def family() -> Iterator[subprocess.Popen[str]]:
    """A process with a child that has worked and ended, and one that has worked and lives."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    yield process
    process.communicate("\n", timeout=10)


def test_time_of_children_counts_whether_they_live_or_not(family: subprocess.Popen[str]) -> None:
    used = usage({"family": family.pid})["family"]
    assert used.cpu_seconds >= 0.36  # the kernel counts in hundredths, and cuts off
    assert used.resident_bytes > 10_000_000


def test_program_that_is_gone_is_left_out(family: subprocess.Popen[str]) -> None:
    assert set(usage({"family": family.pid, "gone": 2**22 - 1, "never": -1})) == {"family"}
