"""Processes of a platform that run without its supervisord, as after a kill: found by their environment, and ended."""

from __future__ import annotations

import os
import signal

import psutil

from localfaas.settings import Settings
from localfaas.supervisor import PLATFORM_MARK


def platform_processes(settings: Settings) -> list[psutil.Process]:
    """Every process that carries this platform's mark in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(PLATFORM_MARK) == str(settings.state):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end_strays(settings: Settings, timeout: float = 15.0) -> int:
    """End what a killed supervisord left behind; return how many processes there were.

    PostgreSQL gets SIGINT (fast shutdown), the rest SIGTERM; what is left after `timeout` seconds gets SIGKILL.
    """
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    strays = [process for process in platform_processes(settings) if process.pid not in own]
    for process in strays:
        try:
            if process.name() != "postgres":
                process.terminate()
            elif process.parent() not in strays:
                process.send_signal(signal.SIGINT)
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(strays, timeout=timeout)
    for process in alive:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(alive, timeout=5)
    return len(strays)
