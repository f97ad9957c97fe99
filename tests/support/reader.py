"""The project as a reader has it: a copy of its files, with a platform of its own, and whether both are as they were."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from localfaas.client import ClientError
from localfaas.deployment import scale_min
from localfaas.edge_reload import changes, entities_of, in_force, reload_edge
from localfaas.scaffold import KONG_FILE
from localfaas.stack import load_stack
from localfaas.up import gateway_client
from tests.support.platform import PROJECT, Platform
from tests.support.ports import free_offset

MADE = frozenset(
    {".venv", ".local", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", "__pycache__"}
)
"""What programs make for themselves is neither copied nor missed."""
SETTLED_SECONDS = 30
SETTINGS = (
    "STATE_DIR",
    "PORT_OFFSET",
    "BIND",
    "PG_BIN",
    "DATABASE_URL",
    "RATE_LIMITS",
    "DEMO_SIZE",
    "WARM_UP",
)
OF_THIS_RUN = ("MAKE", "MFLAGS", "PYTEST", "PYTHON", "TRACES", "E2E_", "EDGE_URL", "CURL_HOME", "BASH_ENV")
"""Variables that begin so are those of whoever runs the tests: a reader has none of them."""


@dataclass
class Reader(Platform):
    """A copy of the project's files in a folder of its own, in which `make up` starts a platform of its own."""

    at_first: Mapping[str, str] = field(default_factory=dict)
    """The digest of each file as it was copied."""

    def environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in SETTINGS and not name.startswith(OF_THIS_RUN)
        }
        # A pipe tells no width, and what is shown would be broken after 80 characters.
        own = {"PORT_OFFSET": str(self.offset), "COLUMNS": "160", "NO_PROXY": "localhost,127.0.0.1"}
        return inherited | own | {"no_proxy": own["NO_PROXY"]}

    @classmethod
    def arrive(cls) -> Reader:
        """Copy the project, with the environment and the unpacked tools that are there already."""
        project = Path(tempfile.mkdtemp(prefix="mg-", dir="/tmp"))
        for name in project_files():
            target = project / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, target)
        (project / ".venv").symlink_to(Path(sys.prefix).resolve())
        # As old as can be: what it says is installed already.
        os.utime(project / "requirements.lock", (0, 0))
        tools = PROJECT / ".local" / "tools"
        tools.mkdir(parents=True, exist_ok=True)
        (project / ".local").mkdir()
        (project / ".local" / "tools").symlink_to(tools.resolve())
        digests = {name: _digest(path) for name, path in _files_below(project)}
        return cls(project, project / ".local", free_offset(), at_first=digests)

    def leave(self) -> None:
        self.run("down", check=False)
        shutil.rmtree(self.project, ignore_errors=True)

    def up(self) -> None:
        """As the README's first command; a platform that is up is left as it is."""
        if not self.processes():
            self.run("up")

    def differences(self, within_seconds: float = SETTLED_SECONDS) -> list[str]:
        """What is not as the project's files say: files, and once replicas had time to come and go, functions and edge."""
        deadline = time.monotonic() + within_seconds
        while (found := list(self._platform_differences())) and time.monotonic() < deadline:
            time.sleep(0.1)
        return [*self._file_differences(), *found]

    def put_back(self) -> None:
        """Make everything as the project's files say."""
        self._put_files_back()
        self.up()
        wanted, deployed, client = self._wanted(), self._deployed(), gateway_client(self.settings)
        if missing := wanted.keys() - deployed.keys():
            self.run("deploy", *missing)
        for name, (replicas, _) in deployed.items():
            if name not in wanted:
                client.remove(name)
            elif replicas != wanted[name]:
                client.scale(name, wanted[name])
        reload_edge(self.settings, self.project / KONG_FILE)

    def _file_differences(self) -> Iterator[str]:
        present = dict(_files_below(self.project))
        yield from (f"{name} is gone" for name in sorted(self.at_first.keys() - present.keys()))
        yield from (f"{name} is new" for name in sorted(present.keys() - self.at_first.keys()))
        for name in sorted(present.keys() & self.at_first.keys()):
            if _digest(present[name]) != self.at_first[name]:
                yield f"{name} has changed"

    def _platform_differences(self) -> Iterator[str]:
        wanted = self._wanted()
        try:
            deployed = self._deployed()
        except ClientError as error:
            yield str(error)
            return
        for name in sorted(deployed.keys() | wanted.keys()):
            due = wanted.get(name, 0)
            if deployed.get(name, (0, 0)) != (due, due):
                yield f"{name} has {deployed.get(name, (0, 0))} replicas (wanted, serving), not {due}"
        running = {program.rpartition("-")[0] for program, row in self.processes().items() if row["traffic"]}
        yield from (f"{name} has replicas still" for name in sorted(running - wanted.keys()))
        text = (PROJECT / KONG_FILE).read_text()
        yield from (
            f"edge: {one}" for one in changes(entities_of(text), in_force(self.settings.url("edge-admin")))
        )

    def _wanted(self) -> dict[str, int]:
        """Replicas of each function, as stack.yml has them."""
        stack = load_stack(PROJECT / "stack.yml", self.settings.stack_variables(self.environment()))
        return {name: scale_min(function.labels) for name, function in stack.functions.items()}

    def _deployed(self) -> dict[str, tuple[int, int]]:
        """Replicas of each function, wanted and serving."""
        return {
            one["name"]: (one.get("replicas", 0), one.get("availableReplicas", 0))
            for one in gateway_client(self.settings).list()
        }

    def _put_files_back(self) -> None:
        present = dict(_files_below(self.project))
        for name in present.keys() - self.at_first.keys():
            present[name].unlink()
        for name, digest in self.at_first.items():
            if name not in present or _digest(present[name]) != digest:
                (self.project / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, self.project / name)
        folders = {str(parent) for name in self.at_first for parent in Path(name).parents}
        for here, below, _ in os.walk(self.project):
            for name in below:
                folder = Path(here) / name
                if name not in MADE and str(folder.relative_to(self.project)) not in folders:
                    shutil.rmtree(folder)
            below[:] = [name for name in below if name not in MADE and (Path(here) / name).exists()]


def project_files() -> list[Path]:
    """What the project consists of, relative to it: what is tracked, and what is new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, check=True, timeout=30,
    )  # fmt: skip
    names = [Path(os.fsdecode(name)) for name in listed.stdout.split(b"\0") if name]
    return [name for name in names if (PROJECT / name).is_file()]


def _files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Each file with its name relative to `folder`."""
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in MADE]
        for name in files:
            path = Path(here) / name
            yield str(path.relative_to(folder)), path


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
