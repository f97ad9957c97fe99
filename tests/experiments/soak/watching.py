"""What each program holds, every few seconds: memory, file descriptors, threads, connections."""

from __future__ import annotations

import contextlib
import csv
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import psutil

from benchmarks.memory import parse_pss
from localfaas.settings import Settings
from localfaas.status import rows
from localfaas.supervisor import SupervisorError

_ESTABLISHED = "01"


@dataclass(frozen=True)
class Held:
    """One program with all its processes at one moment (Unix time); `pid` is the first of them, and a new one a new life."""

    at: float
    program: str
    pid: int
    own_bytes: int
    """Proportional share of anonymous and shared memory. Pages of files are left out: whoever else maps them, here or
    elsewhere on the machine, changes this program's share."""
    pss_bytes: int
    rss_bytes: int
    descriptors: int
    threads: int
    connections: int
    """TCP, established."""


MEASURES = ("own_bytes", "descriptors", "threads", "connections")


class Watching(threading.Thread):
    """Looks every `period` seconds, and writes each look down at once, so that a run that is stopped has them."""

    def __init__(self, settings: Settings, path: Path, period: float) -> None:
        super().__init__(daemon=True)
        self._settings = settings
        self._path = path
        self._period = period
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()
        self.join(30)

    def run(self) -> None:
        with self._path.open("w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow([field.name for field in fields(Held)])
            while not self._stopped.wait(self._period):
                # supervisord may be busy with a fault.
                with contextlib.suppress(SupervisorError):
                    table.writerows(astuple(one) for one in look(self._settings))
                file.flush()


def look(settings: Settings) -> list[Held]:
    """Every program that runs."""
    established = _established()
    now = time.time()
    found = []
    for row in rows(settings):
        with contextlib.suppress(psutil.Error, OSError):
            family = [psutil.Process(row.pid), *psutil.Process(row.pid).children(recursive=True)]
            parts = list(_parts(family, established))
            sums = [sum(column) for column in zip(*parts, strict=True)]
            found.append(Held(now, row.program, row.pid, *sums))
    return found


def _parts(family: Sequence[psutil.Process], established: set[str]) -> Iterator[tuple[int, ...]]:
    for process in family:
        with contextlib.suppress(psutil.Error, OSError):
            directory = Path("/proc") / str(process.pid)
            links = [_link(entry) for entry in (directory / "fd").iterdir()]
            rollup = (directory / "smaps_rollup").read_text()
            yield (
                own_bytes(rollup),
                parse_pss(rollup),
                process.memory_info().rss,
                len(links),
                process.num_threads(),
                sum(link in established for link in links),
            )


def own_bytes(rollup: str) -> int:
    """Pss_Anon and Pss_Shmem of /proc/<pid>/smaps_rollup (proc.rst), in bytes."""
    lines = (line.split() for line in rollup.splitlines())
    return sum(int(words[1]) * 1024 for words in lines if words[0] in {"Pss_Anon:", "Pss_Shmem:"})


def _link(path: Path) -> str:
    """Empty for a descriptor that was closed meanwhile."""
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _established() -> set[str]:
    """The sockets of established TCP connections, as descriptors link to them (proc_pid_net(5))."""
    found = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError), Path("/proc/net", name).open() as file:
            next(file)
            for line in file:
                columns = line.split()
                if columns[3] == _ESTABLISHED:
                    found.add(f"socket:[{columns[9]}]")
    return found


def read(path: Path) -> list[Held]:
    with path.open(newline="") as file:
        table = csv.reader(file)
        next(table)
        return [Held(float(at), program, *map(int, rest)) for at, program, *rest in table]
