"""Memory of the whole platform, by program: `python -m benchmarks.memory`, `make bench-memory`.

PSS (proportional set size, Documentation/filesystems/proc.rst): a page that n processes share counts 1/n in each,
so that the sum is what the platform takes. RSS would count shared pages again and again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.report import BenchmarkError, load_settings, table_console, write_result
from localfaas.settings import Settings, SettingsError
from localfaas.status import rows
from localfaas.supervisor import PLATFORM_MARK, SupervisorError

GOAL_BYTES = 1_000_000_000
SUPERVISOR = "supervisord"
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class ProcessMemory:
    """One process: its parent, the programme's short name in the kernel, and its proportional share."""

    pid: int
    parent: int
    command: str
    pss_bytes: int


@dataclass(frozen=True)
class ProgramMemory:
    """One program of the platform with all its processes."""

    program: str
    processes: int
    pss_bytes: int


def platform_pids(parents: Mapping[int, int], marked: Iterable[int]) -> set[int]:
    """The marked processes and all below them.

    Below them too, because PostgreSQL writes its title over the environment it was started with.
    """
    found = set(marked)
    children = defaultdict(list)
    for pid, parent in parents.items():
        children[parent].append(pid)
    waiting = list(found)
    while waiting:
        for child in children[waiting.pop()]:
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def by_program(processes: Iterable[ProcessMemory], programs: Mapping[int, str]) -> list[ProgramMemory]:
    """Sum up by the program whose process is the nearest one above; what belongs to none is supervisord's own."""
    processes = list(processes)
    parents = {process.pid: process.parent for process in processes}
    sums: dict[str, list[int]] = defaultdict(list)
    for process in processes:
        sums[_program_of(process.pid, parents, programs)].append(process.pss_bytes)
    made = [ProgramMemory(program, len(shares), sum(shares)) for program, shares in sums.items()]
    return sorted(made, key=lambda memory: -memory.pss_bytes)


def _program_of(pid: int, parents: Mapping[int, int], programs: Mapping[int, str]) -> str:
    while pid in parents:
        if pid in programs:
            return programs[pid]
        pid = parents[pid]
    return SUPERVISOR


def read_processes(state: Path) -> list[ProcessMemory]:
    """Every process of the platform with this state directory, as the kernel has it now."""
    mark = f"{PLATFORM_MARK}={state}".encode()
    directories = [Path(entry) for entry in os.scandir("/proc") if entry.name.isdigit()]
    parents, marked = {}, []
    for directory in directories:
        try:
            parents[int(directory.name)] = _parent(directory)
            if mark in (directory / "environ").read_bytes().split(b"\0"):
                marked.append(int(directory.name))
        except OSError:
            continue  # it ended meanwhile, or belongs to somebody else
    found = [_read(pid, parents[pid]) for pid in platform_pids(parents, marked) - {os.getpid()}]
    return [process for process in found if process is not None]


def _parent(directory: Path) -> int:
    # The name stands in parentheses and may hold blanks and parentheses itself (proc(5)).
    return int((directory / "stat").read_text().rpartition(")")[2].split()[1])


def _read(pid: int, parent: int) -> ProcessMemory | None:
    directory = Path("/proc") / str(pid)
    try:
        pss = parse_pss((directory / "smaps_rollup").read_text())
        return ProcessMemory(pid, parent, (directory / "comm").read_text().strip(), pss)
    except PermissionError as exc:
        raise BenchmarkError(
            f"process {pid} may not be read; run as the user who started the platform"
        ) from exc
    except (FileNotFoundError, ProcessLookupError):
        return None


def parse_pss(rollup: str) -> int:
    """Bytes of the line `Pss:` in smaps_rollup; 0 for a process that has ended and is not yet collected."""
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def measure(settings: Settings) -> list[ProgramMemory]:
    """Raises BenchmarkError when the platform is not running."""
    try:
        programs = {row.pid: row.program for row in rows(settings) if row.pid}
    except SupervisorError as exc:
        raise BenchmarkError("the platform is not running; `make up` starts it") from exc
    return by_program(read_processes(settings.state), programs)


def show(console: Console, programs: list[ProgramMemory], total: int) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("program")
    for title in ("processes", "PSS MB"):
        table.add_column(title, justify="right")
    for memory in programs:
        table.add_row(memory.program, str(memory.processes), f"{memory.pss_bytes / MEGABYTE:.1f}")
    count = sum(memory.processes for memory in programs)
    table.add_row("total", str(count), f"{total / MEGABYTE:.1f}", style="bold")
    console.print(table)


def main(arguments: list[str] | None = None) -> int:
    argparse.ArgumentParser(
        prog="python -m benchmarks.memory", description="Memory (PSS) of the whole platform, by program."
    ).parse_args(arguments)
    console = table_console()
    try:
        settings = load_settings()
        programs = measure(settings)
    except (BenchmarkError, SettingsError) as exc:
        print(f"bench-memory: {exc}", file=sys.stderr)
        return 1
    total = sum(memory.pss_bytes for memory in programs)
    verdict = "met" if total < GOAL_BYTES else "missed"
    show(console, programs, total)
    console.print(f"Goal: under {GOAL_BYTES / MEGABYTE:,.0f} MB: {verdict}")
    result = {
        "programs": [asdict(memory) for memory in programs],
        "total_bytes": total,
        "goal_bytes": GOAL_BYTES,
    }
    path = write_result(settings, "memory", result | {"verdict": verdict})
    console.print(f"Written to {path}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
