"""Files that others read at any time: they find the old content or the new one, and never a part of it."""

from __future__ import annotations

from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write beside `path` and rename into it. What must outlive a crash of the machine is synced by its owner instead."""
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)
