"""Before anything starts: every port that the platform needs is free, or its holder is named."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress

import psutil

from localfaas.deployment import PORT_ANNOTATION, scale_min
from localfaas.settings import LOOPBACK, PORTS, REPLICA_PORT_STEP, Settings
from localfaas.stack import Stack


class PortTakenError(RuntimeError):
    """Somebody else has a port; the message names each such port and who holds it."""


def check_ports(settings: Settings, stack: Stack) -> None:
    """Raise PortTakenError naming every port that somebody else holds, and who."""
    _check(wanted_ports(settings, stack))


def check_port(settings: Settings, name: str) -> None:
    """The same of one fixed part, by its name in PORTS."""
    _check({settings.port(name): name})


def _check(wanted: Mapping[int, str]) -> None:
    taken = [
        f"port {port} ({name}) is taken{holder(port)}" for port, name in wanted.items() if is_taken(port)
    ]
    if taken:
        raise PortTakenError(
            "\n".join([*taken, "Stop the holder, or choose other ports with PORT_OFFSET=1000."])
        )


def wanted_ports(settings: Settings, stack: Stack) -> dict[int, str]:
    """Every port that the platform starts with, and what listens there."""
    wanted = {settings.port(name): name for name in PORTS}
    for name, function in stack.functions.items():
        base = function.annotations.get(PORT_ANNOTATION, "")
        for replica in range(scale_min(function.labels) if base.isdecimal() else 0):
            wanted[int(base) + replica * REPLICA_PORT_STEP + settings.port_offset] = f"{name}-{replica + 1}"
    return wanted


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
        return False


def listens(pid: int, port: int) -> bool:
    """Whether a process, or one below it, listens on a port; one that does not let itself be asked is believed."""
    try:
        program = psutil.Process(pid)
        family = [program, *program.children(recursive=True)]
        return any(_has(process, port) for process in family)
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return False


def _has(process: psutil.Process, port: int) -> bool:
    return any(
        connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        for connection in process.net_connections("tcp")
    )


def holder(port: int) -> str:
    """` by nginx (pid 42)`: who listens on a port, as the end of a sentence."""
    with suppress(psutil.Error):
        for pid in listeners().get(port, ()):
            return f" by {psutil.Process(pid).name()} (pid {pid})"
    return " by a process of another user"


def listeners() -> dict[int, set[int]]:
    """The pids that listen on each port; of processes of other users the kernel tells none."""
    found: dict[int, set[int]] = {}
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.pid:
            found.setdefault(connection.laddr.port, set()).add(connection.pid)
    return found
