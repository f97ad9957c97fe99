"""OpenFaaS' REST contract over the wire: a real Envoy before the API, every route, as clients see it."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from localfaas.api.app import ROUTES
from tests.support.api import BASIC, Api, make_api
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.ports import free_offset
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    # A Unix socket's path must be short; pytest's directories need not be.
    directory = Path(tempfile.mkdtemp(prefix="lf-"))
    with running_gateway(make_api(directory, free_offset())) as running:
        yield running
    shutil.rmtree(directory)


@pytest.fixture
def api(gateway: RunningGateway) -> Iterator[Api]:
    """The API with nothing deployed."""
    yield gateway.api
    for desired in gateway.api.registry.all():
        gateway.api.registry.delete(desired.name)
    gateway.api.ready.clear()
    gateway.api.counted.clear()


CONTRACT = {
    ("GET", "/system/functions"),
    ("POST", "/system/functions"),
    ("PUT", "/system/functions"),
    ("DELETE", "/system/functions"),
    ("GET", "/system/function/{name}"),
    ("POST", "/system/scale-function/{name}"),
    ("GET", "/system/secrets"),
    ("POST", "/system/secrets"),
    ("PUT", "/system/secrets"),
    ("DELETE", "/system/secrets"),
    ("GET", "/system/namespaces"),
    *((method, "/system/namespace/{ns}") for method in ("GET", "POST", "PUT", "DELETE")),
    *((method, "/system/namespace/") for method in ("GET", "POST", "PUT", "DELETE")),
    ("GET", "/system/info"),
    ("GET", "/system/logs"),
    ("POST", "/system/alert"),
    ("GET", "/system/telemetry"),
    ("GET", "/healthz"),
    ("GET", "/ui/"),
    ("GET", "/"),
}
OPEN = {"/healthz", "/"}


def test_the_routing_table_is_the_contract_s() -> None:
    table = {
        (one.method, one.path.replace("<name:name>", "{name}").replace("<name:namespace>", "{ns}"))
        for one in ROUTES
    }
    assert table == CONTRACT
    assert {one.path for one in ROUTES if one.open} == OPEN


@pytest.mark.parametrize(("method", "path"), sorted(CONTRACT))
def test_every_route_is_reached_through_the_gateway(
    gateway: RunningGateway, api: Api, method: str, path: str
) -> None:
    url = path.format(name="nothing", ns="other")
    assert gateway.call(method, url).status == (
        401 if path not in OPEN else {"/": 307, "/healthz": 200}[path]
    )
    assert gateway.system(method, url, {}).status not in (401, 502)


def test_the_life_of_a_function_as_faas_cli_lives_it(gateway: RunningGateway, api: Api) -> None:
    body = {"service": "cart", "image": "cart:1", "labels": {}, "annotations": {}, "envVars": {"A": "1"}}
    assert gateway.system("PUT", "/system/functions", body).status == 404
    deployed = gateway.system("POST", "/system/functions", body)
    assert (deployed.status, deployed.body) == (202, b"")
    status = json.loads(gateway.system("GET", "/system/function/cart?usage=1").body)
    assert status["replicas"] == 1
    assert "availableReplicas" not in status
    api.ready["cart"] = 1
    assert json.loads(gateway.system("GET", "/system/function/cart").body)["availableReplicas"] == 1
    assert gateway.system("PUT", "/system/functions", body | {"image": "cart:2"}).status == 202
    assert (
        gateway.system("POST", "/system/scale-function/cart", {"serviceName": "cart", "replicas": 3}).status
        == 202
    )
    (listed,) = json.loads(gateway.system("GET", "/system/functions").body)
    assert (listed["image"], listed["replicas"]) == ("cart:2", 3)
    assert gateway.system("DELETE", "/system/functions", {"functionName": "cart"}).status == 202
    assert gateway.system("POST", "/system/functions", body).status == 202


def test_bodies_without_a_length_are_accepted(gateway: RunningGateway, api: Api) -> None:
    chunks = iter([b'{"service": "cart", ', b'"image": "cart:1"}'])
    assert gateway.call("POST", "/system/functions", chunks, Authorization=BASIC).status == 202


def test_a_body_beyond_four_megabytes_never_reaches_the_api(gateway: RunningGateway, api: Api) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        head = f"POST /system/secrets HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC}\r\nContent-Length: 4194305\r\n\r\n"
        client.sendall(head.encode())
        assert client.makefile("rb").readline() == b"HTTP/1.1 413 Payload Too Large\r\n"


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("//system/functions", "/system/functions"),
        ("/system/../system/info?a=b", "/system/info?a=b"),
        ("/function/cart//7", "/function/cart/7"),
        ("/function/cart/./7/", "/function/cart/7/"),
        ("/function/../system/functions", "/system/functions"),
    ],
)
def test_unclean_paths_are_redirected_by_the_api(gateway: RunningGateway, path: str, clean: str) -> None:
    answer = gateway.call("GET", path)
    assert (answer.status, answer.headers["location"], answer.body) == (301, clean, b"")


@pytest.mark.parametrize(
    "path", ["/metrics", "/nothing", "/system/functions/", "/async-function/cart", "/function/a!b"]
)
def test_unknown_paths_are_go_s_404(gateway: RunningGateway, path: str) -> None:
    answer = gateway.call("GET", path)
    assert (answer.status, answer.text) == (404, "404 page not found\n")


def test_wrong_methods_are_405_before_authentication(gateway: RunningGateway) -> None:
    answer = gateway.call("PATCH", "/system/functions")
    assert (answer.status, answer.body) == (405, b"")


def test_the_refusal_is_openfaas_s(gateway: RunningGateway) -> None:
    answer = gateway.call("GET", "/system/functions", Authorization="Bearer ")
    assert (answer.status, answer.text) == (401, "invalid credentials")
    assert answer.headers["www-authenticate"] == 'Basic realm="Restricted"'


def test_logs_are_followed_until_the_client_leaves(gateway: RunningGateway, api: Api) -> None:
    from localfaas.api.logs import _followers

    api.deploy()
    log = api.settings.logs / "cart-1.log"
    log.write_text("present\n")
    places = _followers._value
    threads = threading.active_count()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        request = f"GET /system/logs?name=cart&follow=true&tail=-1 HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC}\r\n\r\n"
        client.sendall(request.encode())
        stream = client.makefile("rb")
        assert _next_text(stream) == "present"
        with log.open("a") as file:
            file.write("new\n")
        assert _next_text(stream) == "new"
        (api.settings.logs / "cart-2.log").write_text("another replica\n")
        assert _next_text(stream) == "another replica"
        stream.close()
    wait_for(lambda: _followers._value == places, what="the follower's free place")
    assert threading.active_count() == threads


def _next_text(stream: object) -> str:
    while True:
        line = stream.readline()  # type: ignore[attr-defined]
        if line.startswith(b"{"):
            return str(json.loads(line)["text"])


def test_an_alert_scales_without_a_password_in_the_address(gateway: RunningGateway, api: Api) -> None:
    api.deploy()
    alert = {"alerts": [{"status": "firing", "labels": {"function_name": "cart.openfaas-fn"}}]}
    assert gateway.system("POST", "/system/alert", alert).status == 200
    assert api.replicas_of() == 2


def test_simultaneous_deploys_leave_one_whole_record(gateway: RunningGateway, api: Api) -> None:
    answers: list[int] = []

    def deploy(image: str) -> None:
        answers.append(
            gateway.system("POST", "/system/functions", {"service": "cart", "image": image}).status
        )

    threads = [threading.Thread(target=deploy, args=(f"cart:{1 + number % 2}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [202] + [500] * 5
    assert json.loads((api.settings.deployments / "cart.json").read_text())["replicas"] == 1
