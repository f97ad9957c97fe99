"""A function as its image has it: the layout that `faas-cli build --shrinkwrap` makes, a clean environment, its process."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests
import uv

from localfaas.build import build
from localfaas.interpreter import requirement_files
from localfaas.stack import load_stack
from tests.support.functions import Secrets
from tests.support.ports import free_port

PROJECT = Path(__file__).resolve().parents[2]
STACK = load_stack(PROJECT / "stack.yml", {})
START_SECONDS = 60
NOWHERE = "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"
"""An address at which no database is: a function starts without, and says that it is not ready."""


class NoIndexError(RuntimeError):
    """Packages can be had neither from uv's cache nor from an index."""


@dataclass
class Environments:
    """Virtual environments with what layouts require and nothing else, one for each set of requirements."""

    directory: Path
    made: dict[str, Path] = field(default_factory=dict)

    def of(self, layout: Path) -> Path:
        """The `bin` of the one for a layout. Raises NoIndexError; AssertionError when its requirements are wrong."""
        files = requirement_files(layout)
        wanted = "".join(
            sorted(line for file in files for line in file.read_text().splitlines(keepends=True))
        )
        if wanted not in self.made:
            self.made[wanted] = self._make(self.directory / str(len(self.made)), files)
        return self.made[wanted]

    def bare(self) -> Path:
        """The `bin` of one with nothing in it."""
        return self._make(self.directory / "bare", [])

    def _make(self, place: Path, files: list[Path]) -> Path:
        _uv("venv", "--python", sys.executable, str(place))
        install = ["pip", "install", "--python", str(place / "bin" / "python"), "--only-binary", ":all:"]
        install += [option for file in files for option in ("-r", str(file))]
        if files and _uv(*install, "--offline", check=False):
            said = _uv(*install, check=False)
            if "error sending request" in said or "Failed to fetch" in said:
                raise NoIndexError(said)
            assert not said, said
        return place / "bin"


def _uv(*arguments: str, check: bool = True) -> str:
    """What uv says of its failure; nothing when it succeeds."""
    told = subprocess.run(
        [uv.find_uv_bin(), "--quiet", *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    said = "" if told.returncode == 0 else told.stderr.strip() or f"exit {told.returncode}"
    assert not (check and said), said
    return said


def lay_out(name: str, builds: Path) -> Path:
    """The build context of a function of stack.yml."""
    return build(STACK.functions[name], STACK, PROJECT, builds).path


def secrets_of(name: str, directory: Path) -> Path:
    """The function's secrets as files: keys of nobody, and a database that is not there."""
    wanted = STACK.functions[name].secrets
    services = (name,) if f"{name}-key" in wanted else ()
    return Secrets.make(
        directory, services, **{secret: NOWHERE for secret in wanted if secret.endswith("-db")}
    ).directory


@dataclass(frozen=True)
class Running:
    """One process of a function, and where it listens."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=15)

    def answers(self) -> Running:
        """Itself, once it answers for its health; AssertionError with its log when it ends or stays silent."""
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                if self.get("/_/health").status_code == 200:
                    return self
            except requests.ConnectionError:
                time.sleep(0.05)
        raise AssertionError(f"no answer (exit {self.process.poll()}):\n{self.log.read_text()[-4000:]}")


@contextmanager
def running(
    command: list[str], port: int, log: Path, environ: Mapping[str, str], folder: Path
) -> Iterator[Running]:
    """A process that is killed at the end, with all that it started."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, cwd=folder, env=dict(environ), stdout=output, stderr=output, start_new_session=True
        ) as process,
    ):
        try:
            yield Running(process, f"http://127.0.0.1:{port}", log)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, 9)


@contextmanager
def from_layout(name: str, layout: Path, programs: Path, secrets: Path) -> Iterator[Running]:
    """The function's `fprocess` in its layout, with nothing of ours in reach: as the watchdog starts it."""
    port = free_port()
    environ = {
        **STACK.functions[name].environment,
        "PATH": f"{programs}{os.pathsep}{os.defpath}",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "upstream_url": f"http://127.0.0.1:{port}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "secret_mount_path": str(secrets),
        "warm_up": "false",
    }
    command = shlex.split(STACK.functions[name].fprocess)
    with running(command, port, layout.parent / "output.log", environ, layout) as started:
        yield started
