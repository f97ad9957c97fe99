"""supervisord: its files, and the one place that talks to it.

A program is two files below `supervisor/conf.d/`: `<name>.conf` for supervisord and `<name>.sh`, which sets the
environment and becomes the process (`exec`), so that anybody can start it by hand in the same way.
A third, `<name>.json`, says what the program is (`about`), for status and for the reconciler after a restart.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shlex
import time
import xmlrpc.client  # nosec B411 # its answers are our own supervisord's, over a socket of mode 0600
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from localfaas.envoy import UnixConnection
from localfaas.settings import Settings

ANSWER_SECONDS = 30.0
"""For one answer of supervisord: far more than it takes on a busy machine, and an end if it is frozen."""
START_RETRIES = 100
START_SECONDS = 1
PLATFORM_MARK = "LOCALFAAS_STATE"
"""Environment variable of every process of a platform; its value is the state directory."""


@dataclass(frozen=True)
class Program:
    """One process under supervisord; `environment` is all it gets beside PATH, HOME and LANG."""

    name: str
    command: Sequence[str]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    reads: Sequence[Path] = ()
    """Files that it reads at its start only: it is another program when one of them has changed."""
    priority: int = 500
    """Lower starts first and stops last."""
    stop_signal: str = "TERM"
    stop_seconds: int = 12


@dataclass(frozen=True)
class Process:
    """What supervisord says of a program: its state word (RUNNING, STARTING, BACKOFF, FATAL …), pid, uptime."""

    name: str
    state: str
    pid: int
    uptime_seconds: int
    error: str


class SupervisorError(RuntimeError):
    """supervisord is away or refused; the message says what was asked."""


def render_program(settings: Settings, program: Program) -> str:
    """The text of one program's section."""
    script = settings.supervisor / "conf.d" / f"{program.name}.sh"
    return f"""[program:{program.name}]
command=/bin/sh {ini_value(shlex.quote(str(script)))}
priority={program.priority}
autostart=true
autorestart=true
startsecs={START_SECONDS}
startretries={START_RETRIES}
stopsignal={program.stop_signal}
stopwaitsecs={program.stop_seconds}
killasgroup=true
redirect_stderr=true
stdout_logfile=NONE
"""


def render_script(settings: Settings, program: Program) -> str:
    """The shell script that becomes the program, with exactly the environment it should have.

    Output goes straight to its log: through supervisord, each line would wake another process.
    A line is added to `run/starts/<name>`, from which status counts restarts.
    """
    environment = {
        "PATH": os.pathsep.join([str(settings.programs), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(settings.run),
        "LANG": "C.UTF-8",
        PLATFORM_MARK: str(settings.state),
        **program.environment,
    }
    words = ["env", "-i", *(f"{name}={value}" for name, value in environment.items()), *program.command]
    return "\n".join(
        [
            "#!/bin/sh",
            f"exec >> {shlex.quote(str(settings.logs / (program.name + '.log')))} 2>&1",
            f"cd {shlex.quote(str(program.directory))} || exit 1",
            f"echo >> {shlex.quote(str(starts_file(settings, program.name)))}",
            "exec " + " ".join(shlex.quote(str(word)) for word in words),
            "",
        ]
    )


def starts_file(settings: Settings, name: str) -> Path:
    """A file with one line for each time the program was started by this supervisord."""
    return settings.run / "starts" / name


def restarts(settings: Settings, name: str) -> int:
    """How often a program has come back since supervisord was started."""
    try:
        return max(0, starts_file(settings, name).read_text().count("\n") - 1)
    except FileNotFoundError:
        return 0


def write_program(settings: Settings, program: Program) -> bool:
    """Write the three files of a program; return whether anything changed."""
    folder = settings.supervisor / "conf.d"
    folder.mkdir(parents=True, exist_ok=True)
    starts_file(settings, program.name).parent.mkdir(parents=True, exist_ok=True)
    changed = False
    for suffix, text in (
        ("json", json.dumps({**program.about, **_digest(program.reads)}, indent=1)),
        ("sh", render_script(settings, program)),
        ("conf", render_program(settings, program)),
    ):
        path = folder / f"{program.name}.{suffix}"
        if not path.exists() or path.read_text() != text:
            temporary = folder / f".{program.name}.{suffix}"
            temporary.write_text(text)
            temporary.chmod(0o600)
            temporary.replace(path)
            changed = True
    return changed


def _digest(files: Sequence[Path]) -> dict[str, str]:
    if not files:
        return {}
    content = hashlib.sha256()
    for path in files:
        content.update(path.read_bytes() + b"\0")
    return {"reads": content.hexdigest()}


def delete_program(settings: Settings, name: str) -> None:
    """Delete a program's files, the configuration first, so that a crash leaves nothing that starts."""
    for suffix in ("conf", "sh", "json"):
        (settings.supervisor / "conf.d" / f"{name}.{suffix}").unlink(missing_ok=True)
    starts_file(settings, name).unlink(missing_ok=True)


def abouts(settings: Settings) -> dict[str, dict[str, Any]]:
    """Every written program's `about`, by name; one that is deleted meanwhile is left out.

    Nothing is known of one whose file cannot be read, as a loss of power may leave it.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((settings.supervisor / "conf.d").glob("[!.]*.json")):
        with suppress(FileNotFoundError):
            text = path.read_text()
            found[path.stem] = {}
            with suppress(ValueError):
                found[path.stem] = json.loads(text)
    return found


def ini_value(value: Path | str) -> str:
    """supervisord's configuration expands %(name)s, so a literal % is doubled."""
    return str(value).replace("%", "%%")


class Supervisor:
    """Asks the supervisord of one platform; safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def pid(self) -> int:
        """supervisord's own."""
        return int(self._call("getPID"))

    def is_running(self) -> bool:
        try:
            self.pid()
        except SupervisorError:
            return False
        return True

    def processes(self) -> dict[str, Process]:
        """Every program supervisord knows, by name."""
        rows = self._call("getAllProcessInfo")
        return {
            row["name"]: Process(
                name=row["name"],
                state=row["statename"],
                pid=row["pid"],
                uptime_seconds=max(0, row["now"] - row["start"]) if row["pid"] else 0,
                error=row["spawnerr"],
            )
            for row in rows
        }

    def add(self, name: str) -> None:
        """Start a program whose files were just written; harmless when it is there."""
        self._call("reloadConfig")
        self._call("addProcessGroup", name, tolerate=("ALREADY_ADDED",))

    def start(self, name: str) -> None:
        self._call("startProcess", name, False, tolerate=("ALREADY_STARTED",))

    def stop(self, name: str) -> None:
        """Send the stop signal and return at once; `processes` tells when it has stopped."""
        self._call("stopProcess", name, False, tolerate=("NOT_RUNNING", "BAD_NAME"))

    def forget(self, name: str) -> None:
        """Take a stopped program out of supervisord."""
        self._call("removeProcessGroup", name, tolerate=("BAD_NAME",))

    def signal(self, name: str, signal_name: str) -> None:
        self._call("signalProcess", name, signal_name, tolerate=("NOT_RUNNING",))

    def replace(self, program: Program, timeout: float = 30.0) -> bool:
        """Make supervisord run `program` as written: restart it if its files changed, start it if it is new.

        Returns whether it runs on from before, with what it read then.
        """
        known = self.processes()
        kept = program.name in known
        if write_program(self._settings, program) and program.name in known:
            self.stop(program.name)
            self.wait_stopped([program.name], timeout)
            self.forget(program.name)
            starts_file(self._settings, program.name).unlink(missing_ok=True)
            kept = False
        self.add(program.name)
        if self.processes()[program.name].state in {"STOPPED", "EXITED", "FATAL"}:
            self.start(program.name)
            kept = False
        return kept

    def remove(self, name: str, timeout: float = 30.0) -> None:
        """Stop a program for good and delete its files."""
        if name in self.processes():
            self.stop(name)
            self.wait_stopped([name], timeout)
            self.forget(name)
        delete_program(self._settings, name)

    def wait_stopped(self, names: Sequence[str], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            processes = self.processes()
            if all(name not in processes or processes[name].pid == 0 for name in names):
                return
            time.sleep(0.05)
        raise SupervisorError(f"still running after {timeout:.0f} s: {', '.join(names)}")

    def shutdown(self) -> None:
        self._call("shutdown")

    def _call(self, method: str, *arguments: Any, tolerate: Sequence[str] = ()) -> Any:
        """Ask on a connection of its own: one that failed is of no use to the next call."""
        path = self._settings.supervisor_socket
        transport = SupervisorTransport(None, None, f"unix://{path}")
        transport._get_connection = lambda: UnixConnection(path, ANSWER_SECONDS)  # its own waits for ever
        proxy: Any = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if any(fault.faultString.startswith(word) for word in tolerate):
                return None
            raise SupervisorError(f"supervisord refused {method}{arguments}: {fault.faultString}") from fault
        except (OSError, xmlrpc.client.ProtocolError, http.client.HTTPException) as exc:
            raise SupervisorError(f"supervisord does not answer {method}: {exc}") from exc
        finally:
            transport.close()
