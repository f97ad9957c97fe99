"""What the machine must have, whatever the project."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from localfaas.doctor.finding import Finding, verdict, wrong
from localfaas.doctor.installation import Installation
from localfaas.open_files import MOST_FILES

OLDEST_PYTHON = (3, 11)
OLDEST_GLIBC = (2, 31)
"""Of the Envoy wheel (manylinux_2_31); the other wheels ask for less."""
MACHINES = {"x86_64", "aarch64"}
MEMORY_BYTES = 1200 * 2**20
"""The shop with all its replicas takes 1,037 MB (docs/benchmarks.md)."""
MEMORY_TO_SPARE_BYTES = 150 * 2**20
"""Beside a platform that runs: two replicas more."""
DISK_BYTES, DISK_SHARE = 5 * 10**9, 0.1
"""As of the alert DiskAlmostFull: less than both is too little."""
LEAST_FILES = 4096
"""supervisord refuses to start with less (minfds)."""
INOTIFY_INSTANCES = 24
"""Three of each Envoy and one for each function and upstream: the shop has 21. Envoy aborts when it is refused one."""
AHEAD_SECONDS = 60.0


def python(installation: Installation) -> list[Finding]:
    """The interpreter, and what the wheels are made for."""
    return verdict(
        _python_faults(sys.version_info[:2], platform.machine(), platform.libc_ver()),
        f"{platform.python_version()} on {platform.machine()}, {' '.join(platform.libc_ver())}",
    )


def _python_faults(version: tuple[int, ...], machine: str, libc: tuple[str, str]) -> Iterator[Finding]:
    if version < OLDEST_PYTHON:
        yield wrong(
            f"Python {'.'.join(map(str, version))}; 3.11 or newer is needed",
            "`rm -r .venv`, then `make PYTHON=python3.12 up`",
        )
    if machine not in MACHINES:
        yield wrong(
            f"a machine of the kind {machine}; Envoy and PostgreSQL come for {' and '.join(sorted(MACHINES))}",
            "use another machine, or a cluster: docs/kubernetes.md",
        )
    name, number = libc
    if name != "glibc" or tuple(int(part) for part in number.split(".")) < OLDEST_GLIBC:
        yield wrong(
            f"the C library is {' '.join(libc).strip() or 'not glibc'}; Envoy needs glibc 2.31 or newer",
            "use Debian 11, Ubuntu 20.04 or newer",
        )


def memory(installation: Installation) -> list[Finding]:
    free, cores = psutil.virtual_memory().available, os.cpu_count()
    return verdict(
        _memory_faults(free, installation.supervisord is not None),
        f"{free / 2**20:,.0f} MiB available, {cores} cores",
    )


def _memory_faults(available: int, running: bool) -> Iterator[Finding]:
    needed = MEMORY_TO_SPARE_BYTES if running else MEMORY_BYTES
    if available < needed:
        yield wrong(
            f"{available / 2**20:,.0f} MiB of memory are available, {needed / 2**20:,.0f} MiB are needed",
            "stop other programs; `localfaas status` shows what the platform itself uses",
        )


def disk(installation: Installation) -> list[Finding]:
    place = _existing(installation.settings.state)
    usage, inodes = shutil.disk_usage(place), os.statvfs(place)
    return verdict(
        _disk_faults(place, usage.free, usage.total, inodes.f_favail, inodes.f_files),
        f"{usage.free / 10**9:,.1f} GB free",
    )


def _disk_faults(place: Path, free: int, total: int, inodes_free: int, inodes: int) -> Iterator[Finding]:
    if free < DISK_BYTES and free < DISK_SHARE * total:
        yield wrong(
            f"{free / 10**9:,.1f} of {total / 10**9:,.1f} GB are free where {place} is",
            f"make room; `du -xsh {place}/*` shows what takes it, docs/runbooks/DiskAlmostFull.md what may go",
        )
    if inodes and inodes_free < 0.01 * inodes:
        yield wrong(
            f"{inodes_free} of {inodes} files more can be made where {place} is",
            f"delete what is not needed; `du -x --inodes -d1 {place}` shows where most files are",
        )


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def open_files(installation: Installation) -> list[Finding]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    shown = "no limit" if hard == resource.RLIM_INFINITY else f"{hard:,} files may be open"
    return verdict(_open_files_faults(hard), shown)


def _open_files_faults(hard: int) -> Iterator[Finding]:
    if hard != resource.RLIM_INFINITY and hard < LEAST_FILES:
        yield wrong(
            f"a process may open {hard} files; supervisord needs {LEAST_FILES}, Envoy two for each connection",
            f"in a shell of root's: `ulimit -Hn {MOST_FILES}`, then `localfaas up`;"
            " for good: `nofile` in /etc/security/limits.conf",
        )


def inotify(installation: Installation) -> list[Finding]:
    """Whether the two Envoys could watch their files; beside a platform that runs, those of a function more."""
    wanted = 1 if installation.supervisord is not None else INOTIFY_INSTANCES
    return verdict(_inotify_faults(_inotify_instances(wanted), wanted), "files can be watched")


def _inotify_instances(wanted: int) -> int:
    """How many of so many this user is given now; they are given back."""
    libc, given = ctypes.CDLL(None), list[int]()
    try:
        while len(given) < wanted and (one := libc.inotify_init1(os.O_CLOEXEC)) >= 0:
            given.append(one)
        return len(given)
    finally:
        for one in given:
            os.close(one)


def _inotify_faults(had: int, wanted: int) -> Iterator[Finding]:
    if had < wanted:
        yield wrong(
            f"{had} more programs can watch files (inotify); {wanted} are needed, and Envoy ends without",
            "end other platforms and editors of this user, or as root: `sysctl fs.inotify.max_user_instances=512`",
        )


def clock(installation: Installation) -> list[Finding]:
    """Tokens, carts and reservations end by the clock: one that was set back, or stands years ago, breaks them."""
    settings = installation.settings
    written = [
        *(settings.project / name for name in ("stack.yml", "localfaas.yml")),
        *(settings.state.glob("logs/*.log")),
        *(settings.state.glob("functions/*.json")),
    ]
    latest = max((path.stat().st_mtime for path in written if path.exists()), default=0.0)
    return verdict(_clock_faults(time.time(), latest), time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()))


def _clock_faults(now: float, latest_written: float) -> Iterator[Finding]:
    if latest_written - now > AHEAD_SECONDS:
        yield wrong(
            f"the clock says {_utc(now)}, and files were written at {_utc(latest_written)}",
            "set the clock, and let it be kept: `sudo timedatectl set-ntp true`",
        )


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
