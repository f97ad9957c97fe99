"""Desired state: which functions are deployed, from which layout, with how many replicas.

One file per function, `<name>.json`, replaced by rename after an fsync, so a reader or a crash finds the old
record or the new one and never half of one. One process writes (the API); everything reads.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localfaas.deployment import (
    MAX_FUNCTIONS,
    MAX_REPLICAS,
    DeploymentRefused,
    FunctionDeployment,
    asked_replicas,
    is_dns_label,
    validate,
)
from localfaas.whole_files import sync_directory


class RegistryError(RuntimeError):
    """A record on disk cannot be read; the message names the file."""


class NotDeployed(LookupError):
    """No function of that name is deployed."""


class AlreadyDeployed(ValueError):
    """A function of that name is deployed already."""


class TooManyFunctions(ValueError):
    """The Community Edition's limit of functions is reached."""


@dataclass(frozen=True)
class Desired:
    """What one function should be.

    `generation` is new with every POST or PUT, even an identical one: replicas of another generation are old.
    `created_at` is the first deploy's time, in UTC.
    """

    deployment: FunctionDeployment
    layout: Path
    replicas: int
    generation: str
    created_at: datetime

    @property
    def name(self) -> str:
        return self.deployment.service


class Registry:
    """All deployed functions, in memory and on disk. Safe to use from several threads."""

    def __init__(self, directory: Path) -> None:
        """Read what is in `directory`, making it if need be; raises RegistryError on an unreadable record.

        A record that is deleted meanwhile is left out.
        """
        self._directory = directory
        self._lock = threading.Lock()
        self._subscribers: list[Callable[[str], None]] = []
        directory.mkdir(parents=True, exist_ok=True)
        self._functions: dict[str, Desired] = {}
        for path in sorted(directory.glob("*.json")):
            with suppress(FileNotFoundError):
                found = _load(path)
                self._functions[found.name] = found

    def all(self) -> list[Desired]:
        """Every function, by name."""
        with self._lock:
            return [self._functions[name] for name in sorted(self._functions)]

    def get(self, name: str) -> Desired | None:
        with self._lock:
            return self._functions.get(name)

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call `callback(function name)` after each change, in the thread that made it, without the lock."""
        self._subscribers.append(callback)

    def put(self, deployment: FunctionDeployment, layout: Path, replicas: int) -> Desired:
        """Deploy or update a function with exactly this number of replicas."""
        with self._lock:
            desired = self._store(deployment, layout, replicas)
        self._announce(desired.name)
        return desired

    def create(self, deployment: FunctionDeployment, layout: Path) -> Desired:
        """Deploy a new function; replicas are its minimum label's, else 1.

        Raises TooManyFunctions or AlreadyDeployed; of several simultaneous calls for one name, one succeeds.
        """
        with self._lock:
            if len(self._functions) >= MAX_FUNCTIONS:
                raise TooManyFunctions(deployment.service)
            if deployment.service in self._functions:
                raise AlreadyDeployed(deployment.service)
            desired = self._store(deployment, layout, asked_replicas(deployment.labels) or 1)
        self._announce(desired.name)
        return desired

    def update(self, deployment: FunctionDeployment, layout: Path) -> Desired:
        """Replace a function's deployment whole; replicas stay unless its minimum label names a number.

        Raises NotDeployed.
        """
        with self._lock:
            old = self._known(deployment.service)
            replicas = asked_replicas(deployment.labels) or old.replicas
            desired = self._store(deployment, layout, replicas)
        self._announce(desired.name)
        return desired

    def scale(self, name: str, replicas: int) -> Desired:
        """Set the number of replicas, from 1 to the Community Edition's 5; raises NotDeployed."""
        with self._lock:
            old = self._known(name)
            if replicas == old.replicas:
                return old
            desired = replace(old, replicas=_in_range(replicas))
            self._save(desired)
        self._announce(name)
        return desired

    def delete(self, name: str) -> None:
        """Forget a function; raises NotDeployed."""
        with self._lock:
            self._known(name)
            self._path(name).unlink(missing_ok=True)
            sync_directory(self._directory)
            del self._functions[name]
        self._announce(name)

    def _known(self, name: str) -> Desired:
        if name not in self._functions:
            raise NotDeployed(name)
        return self._functions[name]

    def _store(self, deployment: FunctionDeployment, layout: Path, replicas: int) -> Desired:
        old = self._functions.get(deployment.service)
        desired = Desired(
            deployment=deployment,
            layout=layout,
            replicas=_in_range(replicas),
            generation=str(uuid.uuid4()),
            created_at=old.created_at if old else datetime.now(UTC).replace(microsecond=0),
        )
        self._save(desired)
        return desired

    def _save(self, desired: Desired) -> None:
        """Write to disk first: a change that could not be stored must not be seen."""
        _write_whole(self._path(desired.name), json.dumps(_record(desired), indent=1))
        self._functions[desired.name] = desired

    def _path(self, name: str) -> Path:
        if not is_dns_label(name):
            raise ValueError(f"{name!r} cannot name a function")
        return self._directory / f"{name}.json"

    def _announce(self, name: str) -> None:
        for callback in self._subscribers:
            callback(name)


def _in_range(replicas: int) -> int:
    if not 1 <= replicas <= MAX_REPLICAS:
        raise ValueError(f"replicas must be from 1 to {MAX_REPLICAS}, not {replicas}")
    return replicas


def _record(desired: Desired) -> dict[str, Any]:
    return {
        "deployment": desired.deployment.to_json(),
        "layout": str(desired.layout),
        "replicas": desired.replicas,
        "generation": desired.generation,
        "created_at": desired.created_at.isoformat(),
    }


def _load(path: Path) -> Desired:
    try:
        record = json.loads(path.read_text())
        return Desired(
            deployment=validate(record["deployment"]),
            layout=Path(record["layout"]),
            replicas=_in_range(record["replicas"]),
            generation=record["generation"],
            created_at=datetime.fromisoformat(record["created_at"]),
        )
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError, OSError, DeploymentRefused) as exc:
        raise RegistryError(f"{path} is not a deployment record ({exc}); remove it and deploy again") from exc


def _write_whole(path: Path, text: str) -> None:
    """Write by rename; 0600 because the environment of a function may hold what is nobody's business."""
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)
