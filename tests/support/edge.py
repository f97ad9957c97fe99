"""An embedded edge of the test's own: a real Envoy, small upstream servers, a client that shows headers as sent."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from localfaas.edge import Edge
from localfaas.envoy import admin_request
from localfaas.platform import envoy_binary
from localfaas.settings import Settings
from tests.support.ports import free_offset
from tests.support.waiting import wait_for

PROJECT = Path(__file__).parents[2]
ENVOY_FLAGS = [
    "--disable-hot-restart",
    "--concurrency",
    "1",
    "--drain-time-s",
    "5",
    "--drain-strategy",
    "immediate",
]


def accepts(port: int) -> bool:
    """Whether someone listens on `port`."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Answer:
    """A response as it arrived; `headers` keeps order and repetitions, names in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name.lower()), None)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(
    port: int, method: str, path: str, headers: Mapping[str, str] | None = None, body: Any = None, **more: Any
) -> Answer:
    """One request on a connection of its own, the path sent byte for byte."""
    connection = HTTPConnection("127.0.0.1", port, timeout=more.pop("timeout", 15))
    try:
        connection.putrequest(method, path, skip_host="Host" in (headers or {}), skip_accept_encoding=True)
        chunked = more.pop("chunked", False)
        data = body.encode() if isinstance(body, str) else body
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        elif data is not None:
            connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(
            [data] if chunked else data,
            encode_chunked=chunked,
        )
        return _answer(connection.getresponse())
    finally:
        connection.close()


def _answer(response: HTTPResponse) -> Answer:
    headers = [(name.lower(), value) for name, value in response.getheaders()]
    return Answer(response.status, headers, response.read())


def raw(port: int, data: bytes) -> bytes:
    """Everything the edge sends for `data` until it closes or falls silent for a second."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(data)
        with suppress(TimeoutError, ConnectionResetError):
            while part := connection.recv(65536):
                received += part
    return received


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: Upstream

    def handle_one_request(self) -> None:
        with suppress(ConnectionResetError, BrokenPipeError, TimeoutError):
            super().handle_one_request()

    def do_any(self) -> None:
        body = self._body()
        self.server.seen.append((self.command, self.path))
        behaviour = self.server.behaviour
        if behaviour == "hang" and not self.server.released.wait(30):
            return
        if behaviour == "reset":
            self._reset()
            return
        if behaviour.startswith("slow:"):
            time.sleep(float(behaviour[5:]))
        self._echo(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = do_FOO = do_any  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()

    def _echo(self, body: bytes) -> None:
        told = {
            "method": self.command,
            "path": self.path,
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "length": len(body),
            "port": self.server.server_port,
        }
        data = json.dumps(told).encode()
        self.send_response_only(self.server.status)
        headers = {"Content-Type": "application/json", **self.server.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        bodiless = self.server.status in (204, 304)
        if not bodiless:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD" and not bodiless:
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        return


class Upstream(ThreadingHTTPServer):
    """Tells each request back as JSON; `behaviour` is echo, hang, reset or slow:<seconds>."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.behaviour, self.status = "echo", 200
        self.headers: dict[str, str] = {}
        self.seen: list[tuple[str, str]] = []
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, *_: Any) -> None:
        """A client that left is no event here."""

    def calm(self) -> None:
        self.behaviour, self.status, self.headers = "echo", 200, {}
        self.seen.clear()

    def stop(self) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()


@dataclass
class RunningEdge:
    """An edge with its Envoy."""

    settings: Settings
    edge: Edge
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.settings.port("edge")

    def load(self, text: str) -> None:
        self.edge.load(text)

    def get(self, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        return self.send("GET", path, headers, **more)

    def send(self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        return request(self.port, method, path, headers, **more)

    def raw(self, data: bytes) -> bytes:
        return raw(self.port, data)

    def start(self) -> None:
        """Start (again) and wait until Envoy serves."""
        log = (self.settings.state / "envoy.log").open("ab")
        command = [envoy_binary(), "-c", self.edge.envoy.files.bootstrap, *ENVOY_FLAGS, "-l", "warning"]
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        log.close()
        wait_for(self._is_live, what="Envoy")

    def stop(self) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
            process.wait(10)
        self.processes.clear()

    def stat(self, name: str) -> int:
        text = admin_request(self.settings.envoy_admin_socket("edge"), "GET", f"/stats?filter=^{name}$")
        return int(text.partition(": ")[2] or 0)

    def _is_live(self) -> bool:
        try:
            return self.stat("listener_manager.total_listeners_active") == 2
        except (OSError, RuntimeError):
            return False


@contextmanager
def running_edge(state: Path, project: Path | None = None, **environ: str) -> Iterator[RunningEdge]:
    """An edge on free ports with everything in `state`, which should be a short path (Unix sockets).

    It is as Kong is without a kong.conf, unless `project` has one.
    """
    settings = Settings.load(
        {"STATE_DIR": str(state), "PORT_OFFSET": str(free_offset()), **environ}, project or state
    )
    settings.run.mkdir(parents=True, exist_ok=True)
    running = RunningEdge(settings, Edge(settings))
    try:
        running.start()
        yield running
    finally:
        running.stop()
