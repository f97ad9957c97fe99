import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from localfaas.client import ClientError, GatewayClient


@dataclass
class Gateway:
    """A gateway that answers what it is told and remembers what it was asked."""

    answers: list[tuple[int, bytes]] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def will(self, *answers: tuple[int, object]) -> None:
        self.answers += [
            (code, body if isinstance(body, bytes) else json.dumps(body).encode()) for code, body in answers
        ]

    @property
    def calls(self) -> list[str]:
        return [f"{method} {path}" for method, path, _, _ in self.asked]

    def body(self, number: int = 0) -> Any:
        return json.loads(self.asked[number][3])


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    state = Gateway()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.asked.append((self.command, self.path, dict(self.headers), body))
            code, content = state.answers.pop(0)
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - http.server calls these names

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(gateway: Gateway) -> Iterator[GatewayClient]:
    client = GatewayClient(gateway.url + "/", "admin", "pass:word")
    yield client
    client.close()


def test_a_function_that_exists_is_updated(gateway: Gateway, client: GatewayClient) -> None:
    gateway.will((202, b""))
    assert client.deploy({"service": "f", "image": "i"}) == 202
    assert gateway.calls == ["PUT /system/functions"]
    assert gateway.body() == {"service": "f", "image": "i"}
    credentials = base64.b64encode(b"admin:pass:word").decode()
    assert gateway.asked[0][2]["Authorization"] == f"Basic {credentials}"


def test_a_function_that_does_not_exist_is_created_with_the_same_body(
    gateway: Gateway, client: GatewayClient
) -> None:
    gateway.will((404, b""), (202, b""))
    client.deploy({"service": "f", "image": "i"})
    assert gateway.calls == ["PUT /system/functions", "POST /system/functions"]
    assert gateway.body(0) == gateway.body(1)


@pytest.mark.parametrize("code", [201, 204, 400, 500])
def test_only_200_and_202_are_a_deployment(gateway: Gateway, client: GatewayClient, code: int) -> None:
    gateway.will((code, b"" if code == 204 else b"image: is\n required\n"))
    with pytest.raises(ClientError) as refused:
        client.deploy({})
    assert refused.value.status == code
    assert str(refused.value) == ("204 No Content" if code == 204 else f"{code} image: is required")


def test_a_wrong_password_is_said_plainly(gateway: Gateway, client: GatewayClient) -> None:
    gateway.will((401, b"invalid credentials"))
    with pytest.raises(ClientError, match="refuses the user or the password"):
        client.list()


def test_remove_scale_and_describe_name_a_function_that_is_not_there(
    gateway: Gateway, client: GatewayClient
) -> None:
    gateway.will((404, b""), (404, b""), (404, b""))
    for call in (lambda: client.remove("f"), lambda: client.scale("f", 2), lambda: client.describe("f")):
        with pytest.raises(ClientError, match="no such function: f"):
            call()
    assert gateway.calls == [
        "DELETE /system/functions",
        "POST /system/scale-function/f",
        "GET /system/function/f?usage=1",
    ]
    assert gateway.body(0) == {"functionName": "f"}
    assert gateway.body(1) == {"serviceName": "f", "replicas": 2}


def test_a_name_cannot_reach_another_path(gateway: Gateway, client: GatewayClient) -> None:
    gateway.will((404, b""))
    with pytest.raises(ClientError):
        client.describe("../info?x")
    assert gateway.calls == ["GET /system/function/..%2Finfo%3Fx?usage=1"]


def test_secrets_are_made_changed_listed_and_removed(gateway: Gateway, client: GatewayClient) -> None:
    gateway.will((202, b""), (202, b""), (200, [{"name": "s", "namespace": "openfaas-fn"}]), (202, b""))
    client.create_secret("s", "é")
    client.update_secret("s", "v")
    assert client.secrets() == ["s"]
    client.remove_secret("s")
    assert gateway.calls == [f"{method} /system/secrets" for method in ("POST", "PUT", "GET", "DELETE")]
    assert gateway.body(0) == {"name": "s", "value": "é"}


def test_a_secret_that_exists_is_said_plainly(gateway: Gateway, client: GatewayClient) -> None:
    gateway.will((409, b""))
    with pytest.raises(ClientError, match="the secret s already exists"):
        client.create_secret("s", "v")


def test_log_messages_come_one_by_one(gateway: Gateway, client: GatewayClient) -> None:
    gateway.will((200, b'{"text":"one"}\n\n{"text":"two"}\n'))
    since = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert [message["text"] for message in client.logs("f", tail=2, since=since)] == ["one", "two"]
    assert gateway.calls == [
        "GET /system/logs?name=f&follow=false&tail=2&since=2026-01-02T03%3A04%3A05%2B00%3A00"
    ]


def test_an_invocation_carries_no_credentials(gateway: Gateway, client: GatewayClient) -> None:
    gateway.will((201, b"\x00answer"))
    assert client.invoke("f", b"body") == b"\x00answer"
    method, path, headers, body = gateway.asked[0]
    assert (method, path, body) == ("POST", "/function/f.openfaas-fn", b"body")
    assert headers["Content-Type"] == "text/plain"
    assert "Authorization" not in headers


def test_a_proxy_of_the_outside_world_is_not_asked_for_loopback(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    gateway.will((200, []))
    assert GatewayClient(gateway.url, "a", "b").list() == []


def test_nobody_there_is_one_clear_line() -> None:
    with pytest.raises(ClientError) as refused:
        GatewayClient("http://127.0.0.1:1", "admin", "x").list()
    assert str(refused.value) == (
        "http://127.0.0.1:1 cannot be reached; is the platform up? ([Errno 111] Connection refused)"
    )


def test_an_answer_that_is_not_json_is_said_plainly(gateway: Gateway, client: GatewayClient) -> None:
    gateway.will((200, b"<html>"))
    with pytest.raises(ClientError, match="is not JSON"):
        client.info()
