"""The edge over TLS and HTTP/2: who may speak what, what the upstream is told, and that nothing is counted twice."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import struct
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from localfaas.edge import certificate
from tests.support.edge import PROJECT, Answer, RunningEdge, Upstream, running_edge
from tests.support.waiting import wait_for

ROUTES = """
_format_version: "3.0"
services:
- name: a
  url: http://127.0.0.1:{port}
  routes:
  - {{name: both, paths: [/both]}}
  - {{name: plain, paths: [/plain], protocols: [http]}}
  - {{name: secure, paths: [/secure], protocols: [https], plugins: [{{name: request-termination}}]}}
  - {{name: moved, paths: [/moved], protocols: [https], https_redirect_status_code: 308}}
  - name: counted
    paths: [/counted]
    plugins: [{{name: rate-limiting, config: {{year: 3, limit_by: header, header_name: X-Who}}}}]
plugins:
- {{name: cors, protocols: [https], config: {{origins: [https://shop.example]}}}}
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def edge(upstream: Upstream) -> Iterator[RunningEdge]:
    state = Path(tempfile.mkdtemp(prefix="edge-"))
    with running_edge(state, PROJECT) as running:
        running.load(ROUTES.format(port=upstream.server_port))
        yield running
        assert running.stat("http.edge.lua.errors") == 0
    shutil.rmtree(state)


@pytest.fixture(autouse=True)
def calm(upstream: Upstream) -> None:
    upstream.calm()


def trusting(edge: RunningEdge) -> ssl.SSLContext:
    """A client that knows the edge's own certificate and no other, and checks the name."""
    return ssl.create_default_context(cafile=str(edge.settings.secrets / certificate.FILE))


def get(
    edge: RunningEdge, path: str, headers: dict[str, str] | None = None, host: str = "localhost"
) -> Answer:
    connection = HTTPSConnection(host, edge.settings.port("edge-tls"), timeout=10, context=trusting(edge))
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        found = [(name.lower(), value) for name, value in response.getheaders()]
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


def chosen(edge: RunningEdge, offered: list[str]) -> str | None:
    """What the edge chooses of the protocols that a client offers (ALPN)."""
    context = trusting(edge)
    context.set_alpn_protocols(offered)
    with (
        socket.create_connection(("127.0.0.1", edge.settings.port("edge-tls")), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        return secure.selected_alpn_protocol()


STATUS_BYTES = {0x88: 200, 0x8D: 404}
"""The first byte of an answer's headers in HTTP/2 (RFC 7541, appendix A)."""


class Http2:
    """Just enough of HTTP/2 (RFC 9113) for one GET after another on one connection."""

    HEADERS, DATA, SETTINGS, END_STREAM, END_HEADERS = 1, 0, 4, 1, 4

    def __init__(self, edge: RunningEdge) -> None:
        context = trusting(edge)
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", edge.settings.port("edge-tls")), timeout=5)
        self._connection = context.wrap_socket(plain, server_hostname="localhost")
        self._incoming = self._connection.makefile("rb")
        self._stream = -1
        self._connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self._send(self.SETTINGS, 0, 0, b"")

    def get(self, path: str) -> tuple[int | None, bytes]:
        """Status, if it is one of STATUS_BYTES, and body."""
        self._stream += 2
        authority = b"localhost"
        fields = (
            b"\x82\x87"
            + b"\x04"
            + bytes([len(path)])
            + path.encode()
            + b"\x01"
            + bytes([len(authority)])
            + authority
        )
        self._send(self.HEADERS, self.END_STREAM | self.END_HEADERS, self._stream, fields)
        status, body, ended = None, b"", False
        while not ended:
            kind, flags, stream, content = self._receive()
            if stream != self._stream or kind not in (self.HEADERS, self.DATA):
                continue
            if kind == self.HEADERS:
                status = STATUS_BYTES.get(content.lstrip(bytes(range(0x20, 0x40)))[0])
            else:
                body += content
            ended = bool(flags & self.END_STREAM)
        return status, body

    def close(self) -> None:
        self._incoming.close()
        self._connection.close()

    def _send(self, kind: int, flags: int, stream: int, content: bytes) -> None:
        self._connection.sendall(
            struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content
        )

    def _receive(self) -> tuple[int, int, int, bytes]:
        head = self._incoming.read(9)
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        return kind, flags, stream, self._incoming.read(int.from_bytes(head[:3], "big"))


def test_http2_requests_share_one_connection_through_a_reload(edge: RunningEdge, upstream: Upstream) -> None:
    client, text = Http2(edge), ROUTES.format(port=upstream.server_port)
    status, body = client.get("/both")
    assert status == 200
    assert ["x-forwarded-proto", "https"] in json.loads(body)["headers"]
    edge.load(text.replace("[/both]", "[/new]"))
    assert client.get("/both")[0] == 404
    assert client.get("/new")[0] == 200
    edge.load(text)
    assert client.get("/both")[0] == 200
    client.close()


def seen(answer: Answer, name: str) -> list[str]:
    return [value for key, value in answer.json["headers"] if key == name]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_certificate_holds_for_the_names_of_this_machine(edge: RunningEdge, host: str) -> None:
    assert get(edge, "/both", host=host).status == 200


def test_http2_is_chosen_where_it_is_offered(edge: RunningEdge) -> None:
    assert chosen(edge, ["h2", "http/1.1"]) == "h2"
    assert chosen(edge, ["http/1.1"]) == "http/1.1"


def test_old_versions_of_tls_are_refused(edge: RunningEdge) -> None:
    context = trusting(edge)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    port = edge.settings.port("edge-tls")
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="localhost")


def test_plain_port_takes_no_http2(edge: RunningEdge) -> None:
    """Kong's `proxy_listen` names http2 for 8443 alone."""
    assert b" 400 " in edge.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").splitlines()[0]


def test_plain_words_on_the_tls_port_get_no_answer(edge: RunningEdge) -> None:
    with socket.create_connection(("127.0.0.1", edge.settings.port("edge-tls")), timeout=5) as client:
        client.sendall(b"GET /both HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            assert not client.recv(100).startswith(b"HTTP/")
        except ConnectionResetError:
            return


@pytest.mark.parametrize("claimed", [{}, {"X-Forwarded-Proto": "gopher", "X-Forwarded-Port": "1"}])
def test_upstream_is_told_the_scheme_and_port_whatever_the_client_claims(
    edge: RunningEdge, claimed: dict[str, str]
) -> None:
    for answer, proto, port in (
        (get(edge, "/both", claimed), "https", "edge-tls"),
        (edge.get("/both", claimed), "http", "edge"),
    ):
        assert seen(answer, "x-forwarded-proto") == [proto]
        assert seen(answer, "x-forwarded-port") == [str(edge.settings.port(port))]


def test_route_of_https_alone_asks_plain_clients_to_upgrade(edge: RunningEdge, upstream: Upstream) -> None:
    answer = edge.get("/secure", {"X-Forwarded-Proto": "https"})
    assert (answer.status, answer.json["message"]) == (426, "Please use HTTPS protocol")
    assert answer.json["request_id"] == answer.header("X-Kong-Request-Id")
    assert get(edge, "/secure").status == 503
    assert upstream.seen == []


def test_route_of_https_alone_can_redirect(edge: RunningEdge, upstream: Upstream) -> None:
    answer = edge.get("/moved/on?x=1", {"Host": "Shop.Example:8000"})
    assert (answer.status, answer.header("Location")) == (308, "https://shop.example/moved/on?x=1")
    assert upstream.seen == []
    assert get(edge, "/moved/on?x=1").json["path"] == "/on?x=1"


def test_route_of_http_alone_is_served_over_tls_too_as_kong_does(edge: RunningEdge) -> None:
    assert [get(edge, "/plain").status, edge.get("/plain").status] == [200, 200]


def test_a_plugins_protocols_do_not_tell_http_from_https_as_in_kong(edge: RunningEdge) -> None:
    for answer in (get(edge, "/both"), edge.get("/both")):
        assert answer.header("Access-Control-Allow-Origin") == "https://shop.example"


def test_strict_transport_security_is_sent_over_tls_alone(edge: RunningEdge, upstream: Upstream) -> None:
    for path in ("/both", "/secure", "/nowhere"):
        assert get(edge, path).all("Strict-Transport-Security") == ["max-age=31536000"]
        assert edge.get(path).header("Strict-Transport-Security") is None
    upstream.headers = {"Strict-Transport-Security": "max-age=7"}
    assert get(edge, "/both").all("Strict-Transport-Security") == ["max-age=7"]


def test_one_limit_holds_for_both_ports(edge: RunningEdge) -> None:
    me = {"X-Who": os.urandom(8).hex()}
    answers = [
        edge.get("/counted", me) if plain else get(edge, "/counted", me)
        for plain in (True, False, False, True, False)
    ]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert [answer.header("RateLimit-Remaining") for answer in answers] == ["2", "1", "0", "0", "0"]


def test_many_at_once_on_both_ports_get_no_more_than_the_limit(edge: RunningEdge) -> None:
    me = {"X-Who": os.urandom(8).hex()}

    def ask(number: int) -> int:
        return (get(edge, "/counted", me) if number % 2 else edge.get("/counted", me)).status

    with ThreadPoolExecutor(30) as pool:
        statuses = Counter(pool.map(ask, range(30)))
    assert statuses == {200: 3, 429: 27}


def test_counts_outlive_envoy(edge: RunningEdge) -> None:
    me = {"X-Who": os.urandom(8).hex()}
    assert edge.get("/counted", me).header("RateLimit-Remaining") == "2"
    edge.stop()
    edge.start()
    answer = wait_for(lambda: (found := edge.get("/counted", me)).status == 200 and found, what="routes")
    assert answer.header("RateLimit-Remaining") == "1"


def test_reloads_lose_no_request_and_no_tls_connection(edge: RunningEdge, upstream: Upstream) -> None:
    """One connection, kept alive through every reload: a lost one would be an error."""
    first = ROUTES.format(port=upstream.server_port)
    second = first + "- {name: response-transformer, config: {add: {headers: ['X-New:1']}}}\n"
    connection = HTTPSConnection(
        "localhost", edge.settings.port("edge-tls"), timeout=10, context=trusting(edge)
    )
    connection.connect()
    held, stopped, statuses, new = connection.sock, threading.Event(), [], 0
    started = edge.stat("http.edge.downstream_cx_total")

    def ask() -> None:
        nonlocal new
        while not stopped.is_set():
            connection.request("GET", "/both")
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
            new += response.getheader("X-New") == "1"

    client = threading.Thread(target=ask)
    client.start()
    for text in (second, first) * 2:
        goal = len(statuses) + 10
        wait_for(lambda goal=goal: len(statuses) >= goal, what="answers")
        edge.load(text)
    stopped.set()
    client.join(10)
    assert set(statuses) == {200}
    assert 0 < new < len(statuses)
    assert connection.sock is held
    assert edge.stat("http.edge.downstream_cx_total") == started
    connection.close()


def test_a_renewed_certificate_is_shown_to_new_clients_and_closes_no_connection(edge: RunningEdge) -> None:
    old = HTTPSConnection("localhost", edge.settings.port("edge-tls"), timeout=10, context=trusting(edge))
    old.connect()
    (edge.settings.secrets / certificate.FILE).unlink()
    edge.edge.renew_certificate()

    def new_one_is_shown() -> bool:
        try:
            return get(edge, "/both").status == 200
        except ssl.SSLCertVerificationError:
            return False

    wait_for(new_one_is_shown, what="the new certificate")
    old.request("GET", "/both")
    assert old.getresponse().status == 200
    old.close()
