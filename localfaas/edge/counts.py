"""The file in which the edge's scripts count (lua/counts.lua); made here, because a script can only open it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

SIZE_BYTES = (16384 + 1) * 8 * 16
"""Rows, and one before them for the random number; eight places in a row; bytes of a place."""
SEED_BYTES = 8


def ensure_counts(path: Path) -> None:
    """Make the file if it is missing or has another size. It takes memory and disk only where something was counted."""
    if path.exists() and path.stat().st_size == SIZE_BYTES:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(SEED_BYTES))
        file.truncate(SIZE_BYTES)
    temporary.replace(path)
