"""What a platform holds of the machine it runs on, so that one can be asked whether it has let go of it.

All is found from outside: processes by their environment, arguments and working directory, ports in the kernel's tables,
shared memory and open files in /proc. Nothing that the platform says of itself is believed.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from localfaas.settings import Settings
from localfaas.supervisor import PLATFORM_MARK

FIRST_PORT, PORTS = 8000, 500
"""Every port of a platform lies in these, plus its offset; offsets are as far apart (ports.py)."""
LONG_LIVED = ("supervisord", "api", "edge", "gateway", "postgres")
"""They live as long as the platform, whatever becomes of functions; so do those that watch it, where they are installed."""
SPARE = {"socket": 18, "data": 4}
"""Connections that are kept for the next request come and go, those of maintenance's seven calls at once on both sides of the
gateway among them, and so does Prometheus' data; nothing else may be more than before. What grows slowly within these,
`Growth` finds."""
FEWEST_CYCLES = 8
"""In which one more in each is more than comes by chance, in either half."""
GROWING = ("alertmanager", "grafana", "logs", "postgres", "prometheus", "traces")
"""Folders below the state directory whose owners add files as time passes."""
COMPILED = "__pycache__"
"""In layouts, from the first time that a module is imported there."""
SHARED_MEMORY = Path("/dev/shm")
_HALF_WRITTEN = re.compile(
    r"(^|/)(\.tmp-[^/]+|[^/]+\.tmp|conf\.d/\.[^/]+|envoy/edge/tmp[^/]+\.json)(/|$)",
)
"""What is renamed into its place a moment later (build.py, envoy.py, registry.py, supervisor.py), and what Envoy is to judge."""

Descriptors = Mapping[str, Counter[str]]
"""Open files of each process, by their kind: `socket`, `pipe`, `anon_inode:[eventpoll]`, `data` of Prometheus, a path."""


@dataclass
class Held:
    """What a platform has at one moment; no process when it is down."""

    processes: list[str] = field(default_factory=list)
    zombies: list[str] = field(default_factory=list)
    ports: set[int] = field(default_factory=set)
    shared_memory: set[str] = field(default_factory=set)
    """Names in /dev/shm, and System V segments."""
    files: set[str] = field(default_factory=set)
    """In the state directory, but for the folders that grow by themselves, and for what Python compiled."""


def held(settings: Settings, seen: Held | None = None) -> Held:
    """What there is of a platform now, and what is left of that which was `seen` before."""
    processes = list(_processes(settings))
    pids = {process.pid for process in processes}
    shared = {name for process in processes for name in _mapped(process)}
    shared |= {
        name for name in (seen.shared_memory if seen else ()) if name.startswith("/") and Path(name).exists()
    }
    return Held(
        processes=sorted(_described(process) for process in processes),
        zombies=sorted(
            _described(child)
            for child in psutil.process_iter()
            if _parent(child) in pids and _is_zombie(child)
        ),
        ports=set(_listening(settings)),
        shared_memory=shared | _segments(pids, seen),
        files=_files(settings.state),
    )


def beside_replicas(found: Held, programs: Mapping[str, Mapping[str, Any]]) -> Held:
    """What is held that is no replica's: the same at any two moments of a platform at rest, but for pids.

    `programs` are those of `localfaas status`. Left out, as it may differ, is
    - whatever belongs to a replica that is there: its program's files, its port, its processes. The scaler starts and stops
      replicas of any function when load comes and goes, that of earlier tests too. What a replica that is gone has left stays in.
    - processes of PostgreSQL's below its first: there is one for each open connection, and some come to vacuum.
    - shared memory: PostgreSQL takes and frees some while it works.
    """
    replicas = {name: row for name, row in programs.items() if row["traffic"]}
    pids = {pid for row in replicas.values() for pid in _family(row["pid"])}
    described = (line.partition(" ") for line in found.processes)
    return Held(
        processes=sorted(
            words
            for pid, _, words in described
            if int(pid) not in pids and not words.startswith("postgres: ")
        ),
        zombies=found.zombies,
        ports=found.ports - {row["port"] for row in replicas.values()},
        files=found.files - {file for name in replicas for file in _files_of(name)},
    )


def is_at_rest(found: Held) -> bool:
    """Whether no file is half written and nobody is about to be buried."""
    return not found.zombies and not any(_HALF_WRITTEN.search(file) for file in found.files)


def _files_of(replica: str) -> Iterator[str]:
    yield from (f"supervisor/conf.d/{replica}.{suffix}" for suffix in ("conf", "sh", "json"))
    yield f"run/starts/{replica}"


def _family(pid: int) -> Iterator[int]:
    with suppress(psutil.Error):
        if pid:
            yield pid
            yield from (child.pid for child in psutil.Process(pid).children(recursive=True))


def check_gone(settings: Settings, before: Held) -> Held:
    """Nothing of a platform that is down is left but its files; those."""
    after = held(settings, seen=before)
    assert (after.processes, after.zombies, after.ports, after.shared_memory) == ([], [], set(), set())
    return after


def descriptors(programs: Mapping[str, int]) -> Descriptors:
    """Open files of these processes."""
    return {name: _kinds(pid) for name, pid in programs.items()}


def by_process(found: Descriptors) -> Counter[str]:
    """The same in one count, by process and kind."""
    return Counter(
        {f"{name}: {kind}": count for name, kinds in found.items() for kind, count in kinds.items()}
    )


def grown(before: Descriptors, after: Descriptors) -> dict[str, dict[str, int]]:
    """By how much each process has more open files than before, by their kind."""
    found = {}
    for name, kinds in after.items():
        more = {
            kind: count - before[name][kind]
            for kind, count in kinds.items()
            if count - before[name][kind] > SPARE.get(kind, 0)
        }
        if more:
            found[name] = more
    return found


@dataclass
class Growth:
    """What there is more of with every cycle: more at the middle than at the second, and again more at the end.

    At the second cycle whatever is made once is there; what comes once later, however much it is, comes in one half alone.
    Fewer than FEWEST_CYCLES tell nothing, and are not looked at.
    """

    cycles: int
    spare: int = 2
    """So much more in a half is no growth."""
    looks: list[Counter[str]] = field(default_factory=list)

    def after(self, cycle: int, look: Callable[[], Counter[str]]) -> None:
        """Look, if this cycle is one of the three."""
        if self.cycles >= FEWEST_CYCLES and cycle in {2, (self.cycles + 2) // 2, self.cycles}:
            self.looks.append(look())

    @property
    def found(self) -> dict[str, list[int]]:
        """How much there was at each look of what has grown."""
        kinds = list(self.looks[-1]) if len(self.looks) == 3 else []
        amounts = {kind: [look[kind] for look in self.looks] for kind in kinds}
        return {
            kind: its
            for kind, its in amounts.items()
            if all(later - earlier > self.spare for earlier, later in pairwise(its))
        }


def _processes(settings: Settings) -> Iterator[psutil.Process]:
    state = str(settings.state)
    family = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid in family:
                continue
            words = [process.environ().get(PLATFORM_MARK, ""), process.cwd(), *process.cmdline()]
            if any(state in word for word in words):
                yield process


def _described(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return f"{process.pid} {' '.join(process.cmdline())[:200] or process.name()}"
    return f"{process.pid}"


def _parent(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return process.ppid()
    return 0


def _is_zombie(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return False


def _listening(settings: Settings) -> Iterator[int]:
    first = FIRST_PORT + settings.port_offset
    for connection in psutil.net_connections("inet"):
        if connection.status == psutil.CONN_LISTEN and first <= connection.laddr.port < first + PORTS:
            yield connection.laddr.port


def _mapped(process: psutil.Process) -> set[str]:
    """Names in /dev/shm that a process has mapped."""
    with suppress(OSError):
        text = Path(f"/proc/{process.pid}/maps").read_text()
        return set(re.findall(rf"{SHARED_MEMORY}/\S+", text))
    return set()


def _segments(pids: set[int], seen: Held | None) -> set[str]:
    """System V segments that these made, and those seen before that are still there."""
    try:
        lines = Path("/proc/sysvipc/shm").read_text().splitlines()
    except OSError:
        return set()
    names = lines[0].split()
    rows = [dict(zip(names, line.split(), strict=False)) for line in lines[1:]]
    known = seen.shared_memory if seen else set()
    found = {f"segment {row['shmid']}": int(row["cpid"]) for row in rows}
    return {name for name, maker in found.items() if maker in pids or name in known}


def _files(state: Path) -> set[str]:
    """Paths from there; a deployment's secrets lie in a folder that has its random name, of which the place among them stays."""
    names = {
        generation: str(place)
        for function in (state / "secrets-of").glob("*")
        for place, generation in enumerate(sorted(one.name for one in function.iterdir()))
    }
    paths = (path.relative_to(state) for path in state.rglob("*"))
    return {
        "/".join(names.get(part, part) for part in path.parts)
        for path in paths
        if path.parts[0] not in GROWING and COMPILED not in path.parts
    }


def _kinds(pid: int) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            kinds[_kind(str(link.readlink()))] += 1
    return kinds


def _kind(target: str) -> str:
    if "/prometheus/" in target:
        return "data"
    return target if target.startswith(("/", "anon_inode")) else target.partition(":")[0]
