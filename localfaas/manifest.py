"""The folder that a backup is: what is in it, and whether it is whole.

| file | what |
|---|---|
| `database.dump` | the database, by pg_dump in its custom format |
| `manifest.json` | when and by what it was made, what every table held at that moment, and the checksums of both files |

Checksums find what was torn or altered by accident. They are no signature: whoever can write the folder can write them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FORMAT = 1
DUMP_FILE = "database.dump"
MANIFEST_FILE = "manifest.json"


class BackupError(RuntimeError):
    """A backup cannot be made or is not to be trusted; the message says why."""


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself."""

    made_at: str
    """The moment it shows, in UTC, as ISO 8601 writes it."""
    migration: str
    """The last that was applied, such as `0014`; empty where none was."""
    versions: Mapping[str, str]
    """Of localfaas and PostgreSQL."""
    privileges: list[list[str]]
    """Who may do what with the database itself, which pg_dump leaves out: role (empty: everybody) and privilege."""
    tables: Mapping[str, list[str]]
    """Of every table, by `schema.table`: how many rows it has, and a checksum of them in any order."""
    dump_bytes: int
    dump_sha256: str

    @property
    def rows(self) -> int:
        """Rows of all tables together."""
        return sum(int(count) for count, _ in self.tables.values())


def render(manifest: Manifest) -> str:
    """The text of manifest.json, which bears a checksum of its own."""
    content = {"format": FORMAT, **asdict(manifest)}
    return json.dumps({"sha256": _checksum(content), **content}, indent=1) + "\n"


def read_backup(folder: Path) -> Manifest:
    """The manifest of a backup both of whose files are as they were written. Raises BackupError naming the fault."""
    if not folder.exists():
        raise BackupError(f"there is no {folder}{_beside(folder)}")
    manifest = _read_manifest(folder)
    dump = folder / DUMP_FILE
    if not dump.is_file():
        raise BackupError(f"{folder} has no {DUMP_FILE}: it is only a part of a backup")
    size = dump.stat().st_size
    if size != manifest.dump_bytes:
        raise BackupError(
            f"{dump} is torn: {size:,} bytes, of which {manifest.dump_bytes:,} were written; use another backup"
        )
    if file_sha256(dump) != manifest.dump_sha256:
        raise BackupError(f"{dump} was altered since it was written; use another backup")
    return manifest


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise BackupError(f"{folder} is no backup: it has no {MANIFEST_FILE}{_beside(folder)}")
    altered = BackupError(f"{path} was torn or altered since it was written; use another backup")
    try:
        content: Any = json.loads(path.read_bytes())
    except ValueError as exc:
        raise altered from exc
    if not isinstance(content, dict) or content.pop("sha256", None) != _checksum(content):
        raise altered
    if content.pop("format", None) != FORMAT:
        raise BackupError(f"{folder} was made by another version of localfaas: {content.get('versions')}")
    return Manifest(**content)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_synced(path: Path, text: str) -> None:
    """Write a file of mode 0600, and have it on the disk when this returns."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _beside(folder: Path) -> str:
    """The backups that there are in the place where one was looked for."""
    place = folder if folder.is_dir() else folder.parent
    found = sorted(path.parent for path in place.glob(f"[!.]*/{MANIFEST_FILE}"))
    return "; there are:" + "".join(f"\n  {path}" for path in found) if found else ""
