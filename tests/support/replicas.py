"""Replicas of functions as real processes, in the layout that stack.yml and the template make of them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from localfaas.build import build
from localfaas.stack import load_stack
from tests.support.ports import free_port
from tests.support.postgres import PROJECT

READY_SECONDS = 20.0
STOP_SECONDS = 12.0


@dataclass(frozen=True)
class Replica:
    """One process of a function, reached directly on its port."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                if requests.get(f"{self.url}/_/ready", timeout=2).status_code == 200:
                    return
            except requests.ConnectionError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.url} is not ready:\n{self.log.read_text()}")
            time.sleep(0.02)


def built(function: str, builds: Path) -> tuple[Path, list[str], dict[str, str]]:
    """Lay a function of stack.yml out: its directory, command and environment."""
    stack = load_stack(PROJECT / "stack.yml", {})
    layout = build(stack.functions[function], stack, PROJECT, builds)
    deployment = stack.functions[function].deployment()
    return layout.path, shlex.split(deployment["envProcess"]), deployment["envVars"]


@contextmanager
def running_replicas(
    function: str, count: int, directory: Path, environ: Mapping[str, str], layout: Path | None = None
) -> Iterator[list[Replica]]:
    """`count` ready replicas with `environ` beside what stack.yml gives them; `layout` replaces the built one."""
    path, command, environment = built(function, directory / "build")
    replicas = [
        _start(f"{function}-{slot}", layout or path, command, {**environment, **environ}, directory)
        for slot in range(1, count + 1)
    ]
    try:
        for replica in replicas:
            replica.wait_until_ready()
        yield replicas
    finally:
        for replica in replicas:
            replica.process.terminate()
        for replica in replicas:
            replica.process.wait(timeout=STOP_SECONDS)


def _start(
    name: str, layout: Path, command: list[str], environ: Mapping[str, str], directory: Path
) -> Replica:
    port = str(free_port())
    environment = {
        **environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOST": "127.0.0.1",
        "PORT": port,
        "port": port,
        "HOSTNAME": name,
        "LOCALFAAS": "1",
    }
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=layout, env=environment, stdout=output, stderr=output)
    return Replica(f"http://127.0.0.1:{port}", process, log)
