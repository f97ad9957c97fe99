"""A platform for one benchmark, beside whatever runs, and a client of its replicas."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.report import PROJECT, BenchmarkError
from db.seed.token import TokenRequest, mint
from localfaas.settings import Settings

OWN_OFFSET = 11_000
"""Below the ports that the system gives to clients (from 32768), also for a platform with an offset of its own."""
UP_SECONDS = 180
TIMEOUT_SECONDS = 20
NOT_INHERITED = frozenset({"DATABASE_URL", "BIND", "TRACES", "TRACES_URL", "TRACES_RATIO"})


@contextmanager
def own_platform(
    like: Settings,
    state: Path | None = None,
    /,
    *,
    project: Path = PROJECT,
    offset: int = OWN_OFFSET,
    **variables: str,
) -> Iterator[Settings]:
    """A platform beside whatever runs, on ports `offset` above, started with `variables`, of `project` as it stands.

    Its files are in a directory that is made for it, or in `state`, and are deleted at the end.
    """
    state = state or Path(tempfile.mkdtemp(prefix="magasin-bench-"))
    settings = Settings(project, state, like.port_offset + offset, pg_bin=like.pg_bin)
    try:
        _localfaas(settings, "up", variables)
        yield settings
    finally:
        _localfaas(settings, "down", must_succeed=False)
        shutil.rmtree(state, ignore_errors=True)


def inherited() -> dict[str, str]:
    """The environment of `localfaas` for a platform of one's own, without what is meant for the one that runs."""
    return {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}


def _localfaas(
    settings: Settings, verb: str, variables: Mapping[str, str] | None = None, *, must_succeed: bool = True
) -> None:
    environment = {
        **inherited(),
        "STATE_DIR": str(settings.state),
        "PORT_OFFSET": str(settings.port_offset),
        "RATE_LIMITS": "off",
        **(variables or {}),
    }
    done = subprocess.run(
        [sys.executable, "-m", "localfaas", verb], cwd=settings.project, env=environment, capture_output=True, text=True,
        timeout=UP_SECONDS, check=False,
    )  # fmt: skip
    if must_succeed and done.returncode != 0:
        raise BenchmarkError(
            f"the platform of the benchmark did not come {verb}:\n{done.stdout}{done.stderr}"
        )


class Client:
    """One keep-alive connection to a replica, with a token."""

    def __init__(self, settings: Settings, port: int, request: TokenRequest) -> None:
        token = mint(request, settings.secrets, time.time())
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", port + settings.port_offset, timeout=TIMEOUT_SECONDS
        )

    def send(self, method: str, path: str, body: Any = None) -> tuple[float, bytes]:
        """Seconds until the last byte, and the body. Raises BenchmarkError unless it is a success."""
        content = None if body is None else json.dumps(body)
        headers = self._headers if body is None else {**self._headers, "Idempotency-Key": str(uuid.uuid4())}
        started = time.perf_counter()
        try:
            self._connection.request(method, path, content, headers)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as exc:
            raise BenchmarkError(f"{method} {path}: no answer ({exc!r})") from exc
        seconds = time.perf_counter() - started
        if response.status >= 300:
            raise BenchmarkError(f"{method} {path} answered {response.status}: {answer[:300]!r}")
        return seconds, answer
