"""Commands as values, and the two things that can be done with them: run them, or say what would be run."""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from rich.console import Console

from deploy.kubernetes import tools

SHOWN_LINES = 20
FORWARD_SECONDS = 30


class CommandError(RuntimeError):
    """A command failed; the message is the command and the end of what it said."""


@dataclass(frozen=True)
class SecretKey:
    """One value of a Secret of the cluster, for a command that reads it from its standard input."""

    namespace: str
    name: str
    key: str


@dataclass(frozen=True)
class Forward:
    """`kubectl port-forward` of a Service to a port of this machine, for as long as a command runs."""

    namespace: str
    service: str
    local: int
    remote: int


@dataclass(frozen=True)
class Command:
    """A program with its arguments, run in the project's root.

    `unless`: it is left out when this one succeeds. `behind`: what must be forwarded meanwhile.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: SecretKey | None = None
    unless: tuple[str, ...] = ()
    behind: Forward | None = None

    def __str__(self) -> str:
        """As a person would type it."""
        settings = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        line = " ".join([*settings, shlex.join(self.arguments)])
        if self.unless:
            line = f"{shlex.join(self.unless)} || {line}"
        return line


class Shell:
    """Runs commands on a cluster that `context` names (kubectl's present one if it is empty).

    With `dry_run` nothing is run: commands are printed, and whoever asks for output gets none.
    """

    def __init__(
        self, project: Path, context: str, console: Console, *, dry_run: bool = False, path: str | None = None
    ) -> None:
        self.project = project
        self._environment = {**os.environ, "PATH": path or tools.search_path()}
        self.context = context
        self.console = console
        self.dry_run = dry_run

    def run(self, command: Command) -> None:
        """Run to the end; raises CommandError when it fails."""
        if self.dry_run:
            self._print(command)
            return
        if command.unless and self._start(command.unless).returncode == 0:
            return
        with self._forwarded(command.behind):
            given = self.secret(command.stdin) if command.stdin else None
            self._finish(self._start(command.arguments, command.environment, given))

    def follow(self, command: Command) -> int:
        """Run to the end with this terminal as its own; the exit code, 0 in a dry run."""
        if self.dry_run:
            self._print(command)
            return 0
        with self._forwarded(command.behind):
            return subprocess.run(
                command.arguments,
                cwd=self.project,
                env={**self._environment, **command.environment},
                check=False,
            ).returncode

    def output(self, *arguments: str) -> str:
        """What a command says; nothing in a dry run. Raises CommandError."""
        if self.dry_run:
            self._print(Command(arguments))
            return ""
        return self._finish(self._start(arguments))

    def feed(self, arguments: Sequence[str], given: str, shown: str) -> None:
        """Run a command that reads `given`, which is never shown; `shown` is said of it instead."""
        if self.dry_run:
            self.console.print(f"  $ {shlex.join(arguments)}  # {shown}", markup=False, soft_wrap=True)
            return
        self._finish(self._start(arguments, given=given))

    def kubectl(self, *arguments: str) -> tuple[str, ...]:
        """The words of a kubectl command for this cluster."""
        return ("kubectl", *(("--context", self.context) if self.context else ()), *arguments)

    def secret(self, wanted: SecretKey) -> str:
        """A value of a Secret, decoded."""
        path = "{.data." + wanted.key.replace(".", r"\.") + "}"
        told = self.output(
            *self.kubectl("-n", wanted.namespace, "get", "secret", wanted.name, "-o", f"jsonpath={path}")
        )
        return base64.b64decode(told).decode()

    def _print(self, command: Command) -> None:
        notes = []
        if command.behind:
            to = command.behind
            notes.append(f"while svc/{to.service} of {to.namespace} is forwarded to :{to.local}")
        if command.stdin:
            notes.append(
                f"reads {command.stdin.key} of Secret {command.stdin.namespace}/{command.stdin.name}"
            )
        note = f"  # {'; '.join(notes)}" if notes else ""
        self.console.print(f"  $ {command}{note}", markup=False, soft_wrap=True)

    def _start(
        self, arguments: Sequence[str], environment: Mapping[str, str] | None = None, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments,
            cwd=self.project,
            executable=shutil.which(arguments[0], path=self._environment["PATH"]),
            env={**self._environment, **(environment or {})},
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            check=False,
        )

    def _finish(self, result: subprocess.CompletedProcess[str]) -> str:
        if result.returncode != 0:
            said = (result.stderr.strip() or result.stdout.strip()).splitlines()[-SHOWN_LINES:]
            raise CommandError("\n".join([shlex.join(result.args), *(f"  {line}" for line in said)]))
        return result.stdout

    @contextmanager
    def _forwarded(self, forward: Forward | None) -> Iterator[None]:
        if forward is None:
            yield
            return
        arguments = self.kubectl("-n", forward.namespace, "port-forward", f"svc/{forward.service}")
        with subprocess.Popen(
            [*arguments, f"{forward.local}:{forward.remote}"],
            cwd=self.project,
            executable=shutil.which(arguments[0], path=self._environment["PATH"]),
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                _wait_for_port(forward.local, process)
                yield
            finally:
                process.terminate()


def _wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + FORWARD_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    said: IO[str] | None = process.stderr if process.poll() is not None else None
    raise CommandError(f"port {port} cannot be forwarded: {said.read().strip() if said else 'no answer'}")
