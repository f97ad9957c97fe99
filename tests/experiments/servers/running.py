"""Arms as processes, beside each other for as long as one comparison is measured."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.report import PROJECT, BenchmarkError
from localfaas.settings import Settings
from localfaas.status import rows
from tests.experiments.servers.arms import Arm

REPLICA = "products-1"
PATIENCE_SECONDS = 30.0
_STOP_SECONDS = 15


@dataclass(frozen=True)
class Running:
    port: int
    pids: Sequence[int]


def environment_of_replica(settings: Settings) -> dict[str, str]:
    """What the replica of the platform was started with. Raises BenchmarkError when there is none."""
    found = [row.pid for row in rows(settings) if row.program == REPLICA and row.pid]
    if not found:
        raise BenchmarkError(f"there is no {REPLICA} on the platform of the experiment")
    variables = Path(f"/proc/{found[0]}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in variables if "=" in pair)


@contextmanager
def running(
    arms: Sequence[Arm], replica: Mapping[str, str], path: str, log: Path
) -> Iterator[dict[str, Running]]:
    """Each arm in its own process, answering `path` with 200; all end with the block."""
    processes: dict[str, tuple[int, subprocess.Popen[bytes]]] = {}
    try:
        with log.open("wb") as said:
            for arm, port in zip(arms, _free_ports(len(arms)), strict=True):
                processes[arm.name] = port, _start(arm, port, replica, said.fileno())
            for name, (port, process) in processes.items():
                _wait_until_answering(name, port, process, path, log)
        yield {name: Running(port, _all_pids(process.pid)) for name, (port, process) in processes.items()}
    finally:
        for _, process in processes.values():
            process.terminate()
        for _, process in processes.values():
            _end(process)


def _free_ports(count: int) -> list[int]:
    """All different: granian would share a port in silence."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _start(arm: Arm, port: int, replica: Mapping[str, str], log: int) -> subprocess.Popen[bytes]:
    environment = {
        **replica, "PORT": str(port), "HOSTNAME": f"{arm.server}-{arm.threads}-{arm.pool}", "PYTHONPATH": str(PROJECT),
    }  # fmt: skip
    command = [
        sys.executable, "-m", "tests.experiments.servers.serve",
        arm.server, arm.application, str(arm.threads), str(arm.pool),
    ]  # fmt: skip
    return subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=log)


def _wait_until_answering(
    name: str, port: int, process: subprocess.Popen[bytes], path: str, log: Path
) -> None:
    deadline, status = time.monotonic() + PATIENCE_SECONDS, 0
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
        else:
            if status == 200:
                return
            break
        finally:
            connection.close()
    raise BenchmarkError(f"the arm {name} did not answer (status {status}):\n{log.read_text()[-2000:]}")


def _all_pids(pid: int) -> list[int]:
    """With gunicorn's worker, which does the work."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
