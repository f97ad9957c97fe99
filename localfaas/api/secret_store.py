"""Secrets as files of mode 0600, written by rename. The platform's own passwords lie beside them and are not shown."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

PLATFORM_PREFIXES = ("basic-auth-", "postgres-")
"""Names of the platform's own passwords: no function may ask for them, and no client may read or change them."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253


class SecretStore:
    """The secrets in one directory."""

    _lock = threading.Lock()

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def names(self) -> list[str]:
        if not self._directory.is_dir():
            return []
        return sorted(path.name for path in self._directory.iterdir() if self.has(path.name))

    def has(self, name: str) -> bool:
        return is_valid_name(name) and not is_reserved(name) and (self._directory / name).is_file()

    def create(self, name: str, value: bytes) -> None:
        """Raises FileExistsError when there is one, or when the platform keeps the name for itself."""
        with self._lock:
            if is_reserved(name) or self.has(name):
                raise FileExistsError(name)
            self._write(name, value)

    def replace(self, name: str, value: bytes) -> None:
        """Raises FileNotFoundError when there is none."""
        with self._lock:
            if not self.has(name):
                raise FileNotFoundError(name)
            self._write(name, value)

    def delete(self, name: str) -> None:
        """Raises FileNotFoundError when there is none."""
        with self._lock:
            if not self.has(name):
                raise FileNotFoundError(name)
            (self._directory / name).unlink()

    def _write(self, name: str, value: bytes) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self._directory / f".{name}"
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._directory / name)


def is_valid_name(name: str) -> bool:
    """Whether `name` is a DNS subdomain, as Kubernetes demands of a secret's name."""
    return len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None


def is_reserved(name: str) -> bool:
    return name.startswith(PLATFORM_PREFIXES)
