"""Replicas in no time: a process that has everything imported forks one for each that is asked for.

Each is a real server on a port of its own, as the template serves it, and may be killed like any other.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.postgres import PROJECT

READY_SECONDS = 10.0
PR_SET_PDEATHSIG = 1
"""prctl(2): a replica goes with its zygote, which goes with the test, however that ends."""
INDEX = PROJECT / "template" / "python3-flask-granian" / "index.py"


@dataclass(frozen=True)
class Fork:
    """One process of a function, held by `pidfd`: its number may be somebody else's soon after it died."""

    url: str
    pid: int
    pidfd: int
    log: Path

    def alive(self) -> bool:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, 0)
            return True
        return False

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def close(self) -> None:
        os.close(self.pidfd)

    def kill(self) -> None:
        self.send(signal.SIGKILL)

    def wait_until_it_listens(self) -> Fork:
        port = int(self.url.rsplit(":", 1)[1])
        deadline = time.monotonic() + READY_SECONDS
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return self
            if not self.alive() or time.monotonic() > deadline:
                raise AssertionError(f"{self.url} does not listen:\n{self.log.read_text()}")
            time.sleep(0.003)


@dataclass
class Zygote:
    """Forks replicas of one function."""

    process: subprocess.Popen[bytes]
    directory: Path
    forks: list[Fork] = field(default_factory=list)

    def fork(self, environ: Mapping[str, str], **patches: float) -> Fork:
        """A new replica; `patches` are constants of functions.shared.claims that it is to have instead."""
        port = free_port()
        log = self.directory / f"fork-{len(self.forks) + 1}.log"
        settings = {
            **environ,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "HOSTNAME": f"fork-{len(self.forks) + 1}",
        }
        order = {"environ": settings, "log": str(log), "patches": patches}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        forked = Fork(f"http://127.0.0.1:{port}", pid, os.pidfd_open(pid), log)
        self.forks.append(forked)
        return forked


@contextmanager
def running_zygote(function: str, directory: Path) -> Iterator[Zygote]:
    """A zygote of `function`; its forks are gone at the end."""
    command = [sys.executable, "-m", "tests.support.zygote", function]
    process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    zygote = Zygote(process, directory)
    try:
        yield zygote
    finally:
        for fork in zygote.forks:
            fork.kill()
            fork.close()
        process.communicate()


def main(function: str) -> None:
    """Fork for each line of orders; the answer to each is the new process' id."""
    handler = importlib.import_module(f"functions.{function}.handler")
    importlib.import_module("functions.shared.client")  # what a function otherwise imports when it is created
    index = _template()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            _serve(handler, index, json.loads(line))
        print(pid, flush=True)


def _template() -> Any:
    specification = importlib.util.spec_from_file_location("template_index", INDEX)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _serve(handler: Any, index: Any, order: Mapping[str, Any]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor, replacement in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(replacement, descriptor)
    claims = importlib.import_module("functions.shared.claims")
    for name, value in order["patches"].items():
        setattr(claims, name, value)
    app = handler.create_app(order["environ"])
    index.load_handler = lambda _: (app, app.ready, lambda: None)
    index.main(order["environ"])
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
