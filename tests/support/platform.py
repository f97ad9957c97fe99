"""A platform of the tests' own, driven by its command line as a person would, and a steady load on it.

Or the shop of somebody else, of which no more is known than E2E_EDGE_URL and what else is given: tests that look behind
the edge of one machine are skipped there, and say so.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from localfaas.settings import LOOPBACK, Settings
from localfaas.status import rows
from localfaas.supervisor import SupervisorError
from tests.support.ports import free_offset

PROJECT = Path(__file__).parents[2]
PATIENCE_SECONDS = 90
"""The longest limit on rates is by the minute."""
LOAD_SECONDS = 150
"""Longer than a test waits under a load, and less than it has in all."""


@dataclass
class Platform:
    """One project run by localfaas in its own state directory and ports."""

    project: Path
    state: Path
    offset: int
    known: dict[str, str] = field(default_factory=dict)
    """What people of this platform know and nobody else is to read, by what it is (shoppers.py)."""
    bind: str = LOOPBACK

    @property
    def settings(self) -> Settings:
        return Settings(project=self.project, state=self.state, port_offset=self.offset, bind=self.bind)

    def environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if key not in ("PG_BIN", "DATABASE_URL")}
        return {
            **inherited,
            "STATE_DIR": str(self.state),
            "PORT_OFFSET": str(self.offset),
            "BIND": self.bind,
            "RATE_LIMITS": "off",
            "PYTHONPATH": str(PROJECT),
        }

    def run(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """`localfaas …` in this platform; on failure the whole output is in the error."""
        result = subprocess.run(
            [sys.executable, "-m", "localfaas", "--project", str(self.project), *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
            cwd=self.project,
            **options,
        )
        if check and result.returncode != 0:
            raise AssertionError(
                f"localfaas {arguments} exited {result.returncode}\n{result.stdout}\n{result.stderr}"
            )
        return result

    def processes(self) -> dict[str, dict[str, Any]]:
        """What `localfaas status` shows, by program; nothing when the platform is down."""
        try:
            return {row.program: asdict(row) for row in rows(self.settings)}
        except SupervisorError:
            return {}

    def edge(self, path: str) -> str:
        return self.settings.url("edge") + path

    def gateway(self, path: str) -> str:
        return self.settings.url("gateway") + path

    def password(self) -> str:
        return (self.state / "secrets" / "basic-auth-password").read_text()

    @property
    def secrets(self) -> Path:
        """The secrets of functions, one file each."""
        return self.settings.secrets

    @property
    def browsers_edge(self) -> str:
        """The edge's address as a browser has it."""
        return f"http://localhost:{self.settings.port('edge')}"

    def patiently(self, ask: Callable[[], requests.Response]) -> requests.Response:
        """The answer; this platform has no limits on rates."""
        return ask()


class Deployed(Platform):
    """A shop that runs elsewhere, or is not known to run here.

    | variable | meaning |
    |---|---|
    | `E2E_EDGE_URL` | its edge |
    | `E2E_GATEWAY_URL` | its function gateway, forwarded to this machine |
    | `E2E_SECRETS` | a folder with its functions' secrets, one file each |
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.project, self.known = PROJECT, {}
        self._environ = environ

    @staticmethod
    def named_in(environ: Mapping[str, str]) -> Deployed | None:
        return Deployed(environ) if environ.get("E2E_EDGE_URL") else None

    def edge(self, path: str) -> str:
        return self._given("E2E_EDGE_URL").rstrip("/") + path

    def gateway(self, path: str) -> str:
        return self._given("E2E_GATEWAY_URL").rstrip("/") + path

    @property
    def secrets(self) -> Path:
        return Path(self._given("E2E_SECRETS"))

    @property
    def browsers_edge(self) -> str:
        return self.edge("")

    def environment(self) -> dict[str, str]:
        """For the project's commands: where the edge is, and the keys."""
        return {
            **os.environ,
            "EDGE_URL": self.edge(""),
            "SECRETS_DIR": str(self.secrets),
            "PYTHONPATH": str(PROJECT),
        }

    def patiently(self, ask: Callable[[], requests.Response]) -> requests.Response:
        """The answer once the edge's limits on rates let it through."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (answer := ask()).status_code == 429 and "RateLimit-Limit" in answer.headers:
            assert time.monotonic() < deadline, answer.text
            time.sleep(min(float(answer.headers.get("Retry-After", 1)), PATIENCE_SECONDS))
        return answer

    @property
    def settings(self) -> NoReturn:  # type: ignore[override]
        _only_on_one_machine()

    def __getattr__(self, name: str) -> NoReturn:
        if name in {"state", "offset"}:
            _only_on_one_machine()
        raise AttributeError(name)

    def processes(self) -> NoReturn:
        _only_on_one_machine()

    def run(self, *arguments: str, check: bool = True, **options: Any) -> NoReturn:
        _only_on_one_machine()

    def _given(self, name: str) -> str:
        return self._environ.get(name) or pytest.skip(f"{name} is not set")


def _only_on_one_machine() -> NoReturn:
    pytest.skip(
        "looks at the processes, ports or files of one machine; this shop is known by its address alone"
    )


def new_platform(project: Path) -> Platform:
    """A platform with a short state directory and an offset at which every port is free."""
    if Deployed.named_in(os.environ):
        pytest.skip("starts a platform of its own; a shop that runs already was named")
    state = Path(tempfile.mkdtemp(prefix="mg-", dir="/tmp"))
    return Platform(project, state, free_offset())


def listening(platform: Platform) -> set[tuple[str, int]]:
    """Address and port of everything at which a process of this platform listens."""
    pids = {row["pid"] for row in platform.processes().values() if row["pid"]}
    family = {child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True)} | pids
    return {
        (found.laddr.ip, found.laddr.port)
        for found in psutil.net_connections("inet")
        if found.status == psutil.CONN_LISTEN and found.pid in family
    }


def discard(platform: Platform) -> None:
    platform.run("down", check=False)
    shutil.rmtree(platform.state, ignore_errors=True)


@dataclass
class Load:
    """What a load saw: answers by status (0: no answer) and by the replica named in X-Served-By."""

    statuses: Counter[int] = field(default_factory=Counter)
    served_by: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return sum(count for status, count in self.statuses.items() if status != 200)


@contextmanager
def steady_load(url: str, workers: int = 2, pause: float = 0.01) -> Iterator[Load]:
    """GET `url` from `workers` keep-alive connections until the block ends; bounded to 150 s, and being over before is a failure."""
    load, lock, done = Load(), threading.Lock(), threading.Event()
    parts = urlsplit(url)
    target = parts._replace(scheme="", netloc="").geturl()

    def work() -> None:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=15)
        deadline = time.monotonic() + LOAD_SECONDS
        while not done.is_set() and time.monotonic() < deadline:
            status, replica, failure = _get(connection, target)
            with lock:
                load.statuses[status] += 1
                load.served_by[replica] += 1
                if failure:
                    load.failures.append(failure)
            done.wait(pause)
        connection.close()
        if not done.is_set():
            with lock:
                load.statuses[0] += 1
                load.failures.append("the load was over before the block")

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        done.set()
        for thread in threads:
            thread.join(20)


def _get(connection: http.client.HTTPConnection, target: str) -> tuple[int, str, str]:
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as exc:
        connection.close()
        return 0, "", repr(exc)
    failure = "" if response.status == 200 else f"{response.status} {body[:200]!r}"
    return response.status, response.headers.get("X-Served-By", ""), failure
