"""Logs that stay bounded: a file that has grown is copied aside and emptied, as logrotate's `copytruncate` does.

Programs append to their files themselves, so an emptied file goes on where it is.
Lines written between the copy and the cut are lost; that is a moment of a few milliseconds at every ten megabytes.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

LOG_BYTES = 10 * 1024 * 1024
KEPT = 2
"""Older files kept beside each log: `.1` is the younger."""

log = logging.getLogger("localfaas")


def rotate_logs(directory: Path, largest: int = LOG_BYTES) -> list[Path]:
    """Rotate every log in `directory` of more than `largest` bytes; return those that were.

    One that cannot be copied, as on a full disk, stays as it is, and so do its older files.
    """
    grown = [path for path in directory.glob("*.log") if path.stat().st_size > largest]
    return [path for path in grown if _rotate(path)]


def _rotate(path: Path) -> bool:
    copy = path.with_name(f"{path.name}.new")
    try:
        shutil.copyfile(path, copy)
    except OSError as exc:
        copy.unlink(missing_ok=True)
        log.error("%s goes on growing: %s", path, exc)  # noqa: TRY400 - the message says all there is to know
        return False
    for number in range(KEPT, 1, -1):
        younger = path.with_name(f"{path.name}.{number - 1}")
        if younger.exists():
            younger.replace(path.with_name(f"{path.name}.{number}"))
    copy.replace(path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)
    return True
