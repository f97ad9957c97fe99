"""A real gateway: Envoy before the API on its Unix socket, with replicas that the test starts and kills."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from localfaas import gateway
from localfaas.envoy import admin_request
from localfaas.serve import api_server
from localfaas.settings import Settings
from tests.support.api import BASIC, Api
from tests.support.serving import Served
from tests.support.waiting import wait_for


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def seen(self) -> Any:
        """What the replica saw of the request."""
        return json.loads(self.body)


class RunningGateway:
    """What a client sees; `api` is the hand of whoever deploys."""

    def __init__(self, api: Api, server: Served) -> None:
        self.api = api
        self._server = server
        self.port = api.settings.port("gateway")
        api.registry.subscribe(lambda name: gateway.write_gateway(api.settings, api.registry.all()))

    @property
    def settings(self) -> Settings:
        return self.api.settings

    def stop_api(self) -> None:
        self._server.stop()

    def start_api(self) -> None:
        self._server = serve_api(self.api)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own; `_` in the names of headers stands for `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def system(self, method: str, path: str, body: Any = None) -> Answer:
        """A request to the API with the right password."""
        return self.call(method, path, json.dumps(body) if body is not None else None, Authorization=BASIC)

    def deploy(self, name: str, *ports: int, **more: Any) -> None:
        """A function with replicas on these ports, deployed and in rotation."""
        self.system("POST", "/system/functions", {"service": name, "image": "cart:1", **more})
        self.endpoints(name, *ports)

    def endpoints(self, name: str, *ports: int) -> None:
        """Put replicas in rotation and wait until Envoy has them."""
        gateway.write_endpoints(self.settings, name, [("127.0.0.1", port) for port in ports])
        wanted = {f"{name}::127.0.0.1:{port}" for port in ports or (0,)}
        wait_for(lambda: self._members(name) == wanted, what=f"{name} on {ports}")

    def _members(self, name: str) -> set[str]:
        text = admin_request(self.settings.envoy_admin_socket("gateway"), "GET", "/clusters")
        lines = [line.split("::") for line in text.splitlines() if line.startswith(f"{name}::127.0.0.1")]
        return {"::".join(parts[:2]) for parts in lines}


@contextmanager
def running_gateway(api: Api) -> Iterator[RunningGateway]:
    """Envoy and the API, until the block ends."""
    settings = api.settings
    gateway.write_bootstrap(settings)
    gateway.write_gateway(settings, [])
    server = serve_api(api)
    with (settings.logs / "gateway.log").open("wb") as log:
        envoy = subprocess.Popen(
            [
                settings.programs / "envoy",
                *("-c", gateway_bootstrap(settings), "--disable-hot-restart", "--concurrency", "1"),
                *("--drain-time-s", "5", "--drain-strategy", "immediate", "-l", "warning"),
            ],
            stdout=log,
            stderr=log,
        )
        running = RunningGateway(api, server)
        try:
            wait_for(lambda: _answers(running), what=f"an answer of the gateway, see {log.name},")
            yield running
        finally:
            envoy.terminate()
            envoy.wait(10)
            running.stop_api()


def serve_api(api: Api) -> Served:
    """The API on its Unix socket, as `localfaas serve` runs it, until it is stopped."""
    return Served(api_server(api.app, api.settings.api_socket))


def gateway_bootstrap(settings: Settings) -> Path:
    return settings.envoy("gateway") / "bootstrap.json"


def _answers(running: RunningGateway) -> bool:
    try:
        return running.call("GET", "/healthz").status == 200
    except OSError:
        return False


class Replica(ThreadingHTTPServer):
    """An HTTP server that answers what it saw. Paths: `/slow` waits for `released`, `/break` hangs up, `/drip` streams."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.port = port
        self.served: list[str] = []
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""

    def stop(self) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()


@contextmanager
def replica(port: int) -> Iterator[Replica]:
    server = Replica(port)
    try:
        yield server
    finally:
        server.stop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Replica

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        body = self._body()
        self.server.served.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        if path == "/break":
            self.close_connection = True
            return
        if path == "/drip":
            self._drip()
            return
        if path == "/slow":
            self.server.released.wait(20)
        self._send(path, body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: pytest's output is for failures."""

    def _send(self, path: str, body: bytes) -> None:
        seen = {
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "length": len(body),
            "port": self.server.port,
        }
        text = json.dumps(seen).encode()
        self.send_response(307 if path == "/redirect" else 200)
        if path == "/named":
            self.send_header("X-Served-By", "cart-1")
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nfirst\r\n")
        self.wfile.flush()
        self.server.released.wait(20)
        self.wfile.write(b"4\r\nlast\r\n0\r\n\r\n")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
