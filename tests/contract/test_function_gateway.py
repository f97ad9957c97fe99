"""Invocation through a real gateway, held to what OpenFaaS' gateway does on the wire."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from localfaas import __version__
from localfaas import gateway as resources
from localfaas.envoy import admin_request
from localfaas.gateway_metrics import invocation_counts, read_stats
from tests.support.api import make_api
from tests.support.gateway import Replica, RunningGateway, replica, running_gateway
from tests.support.ports import free_offset, free_port
from tests.support.waiting import wait_for

ONE, TWO, NOWHERE = free_port(), free_port(), free_port()
TIMEOUT_SECONDS = 4


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resources, "FUNCTION_TIMEOUT_SECONDS", TIMEOUT_SECONDS)
        # A Unix socket's path must be short; pytest's directories need not be.
        directory = Path(tempfile.mkdtemp(prefix="lf-"))
        with running_gateway(make_api(directory, free_offset())) as running:
            yield running
        shutil.rmtree(directory)


@pytest.fixture
def cart(gateway: RunningGateway) -> Iterator[Replica]:
    """The function `cart` with one replica, in rotation."""
    with replica(ONE) as one:
        gateway.deploy("cart", ONE)
        yield one
    for desired in gateway.api.registry.all():
        gateway.api.registry.delete(desired.name)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_every_method_of_openfaas_reaches_the_function(
    gateway: RunningGateway, cart: Replica, method: str
) -> None:
    assert gateway.call(method, "/function/cart/7?a=b").status == 200
    assert cart.served == [f"{method} /7?a=b"]


@pytest.mark.parametrize("method", ["TRACE", "BREW"])
def test_other_methods_are_405(gateway: RunningGateway, cart: Replica, method: str) -> None:
    answer = gateway.call(method, "/function/cart")
    assert (answer.status, answer.body) == (405, b"")


@pytest.mark.parametrize("name", ["cart", "cart.openfaas-fn"])
@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("", "/"),
        ("/", "/"),
        ("?q=1", "/?q=1"),
        ("/7", "/7"),
        ("/7/", "/7/"),
        ("/a%2Fb?q=%2F+x", "/a%2Fb?q=%2F+x"),
        ("/a%252Fb", "/a%252Fb"),
        ("/%2e%2e/secret", "/%2e%2e/secret"),
        ("/..%2f..%2fsecret", "/..%2f..%2fsecret"),
        ("/function/cart/7", "/function/cart/7"),
    ],
)
def test_the_rest_of_the_path_arrives_as_it_was_sent(
    gateway: RunningGateway, cart: Replica, name: str, path: str, seen: str
) -> None:
    assert gateway.call("GET", f"/function/{name}{path}").seen["path"] == seen


@pytest.mark.parametrize("name", ["cartoon", "car", "cart-1", "Cart"])
def test_a_name_is_matched_whole(gateway: RunningGateway, cart: Replica, name: str) -> None:
    assert gateway.call("GET", f"/function/{name}/7").status == 404
    assert cart.served == []


@pytest.mark.parametrize(
    ("name", "spelled", "short"),
    [
        ("nosuch", "nosuch.openfaas-fn", "nosuch"),
        ("nosuch.openfaas-fn", "nosuch.openfaas-fn", "nosuch"),
        ("a.b.c", "a.b.c", "a.b"),
        ("cart.other", "cart.other", "cart"),
    ],
)
@pytest.mark.parametrize("rest", ["", "/", "/x.y/z?a=b.c"])
def test_an_unknown_function_is_openfaas_s_404(
    gateway: RunningGateway, name: str, spelled: str, short: str, rest: str
) -> None:
    gateway.deploy("cart")
    answer = gateway.call("POST", f"/function/{name}{rest}", b"body")
    assert answer.status == 404
    assert answer.text == (
        f"error finding function {spelled}: server returned non-200 status code (404) for function, {short}, body: "
    )
    assert [header for header in answer.headers if header.startswith("x-")] == []


def test_the_function_learns_what_openfaas_tells_it(gateway: RunningGateway, cart: Replica) -> None:
    headers = gateway.call("GET", "/function/cart").seen["headers"]
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", headers["x-call-id"]
    )
    assert abs(int(headers["x-start-time"]) / 1e9 - time.time()) < 5
    assert headers["x-forwarded-host"] == f"127.0.0.1:{gateway.port}"
    assert re.fullmatch(r"127\.0\.0\.1:\d+", headers["x-forwarded-for"])
    assert headers["host"] == "cart.openfaas-fn:8080"
    assert not [name for name in headers if name.startswith("x-envoy")]


def test_what_an_edge_said_is_kept(gateway: RunningGateway, cart: Replica) -> None:
    sent = {
        "X_Forwarded_For": "9.9.9.9",
        "X_Forwarded_Host": "shop.example",
        "X_Forwarded_Proto": "https",
        "X_Request_Id": "r1",
        "X_Call_Id": "c1",
        "Authorization": "Bearer t",
    }
    headers = gateway.call("GET", "/function/cart", **sent).seen["headers"]
    assert {name: headers[name.lower().replace("_", "-")] for name in sent} == sent


def test_hop_by_hop_and_steering_headers_are_not_passed_on(gateway: RunningGateway, cart: Replica) -> None:
    sent = ("Proxy_Authorization", "Proxy_Authenticate", "Keep_Alive", "TE", "Trailer", "X_Envoy_Retry_On")
    headers = gateway.call("GET", "/function/cart", **dict.fromkeys(sent, "x")).seen["headers"]
    assert {name.lower().replace("_", "-") for name in sent} & set(headers) == set()


def test_a_client_cannot_change_the_timeout(gateway: RunningGateway, cart: Replica) -> None:
    timer = threading.Timer(0.3, cart.released.set)
    timer.start()
    assert gateway.call("GET", "/function/cart/slow", X_Envoy_Upstream_Rq_Timeout_Ms="1").status == 200
    timer.join()


def test_an_upgrade_is_an_ordinary_request(gateway: RunningGateway, cart: Replica) -> None:
    answer = gateway.call("GET", "/function/cart", Connection="Upgrade", Upgrade="websocket")
    assert answer.status == 200
    assert "upgrade" not in answer.seen["headers"]


def test_http_1_0_is_served(gateway: RunningGateway, cart: Replica) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        client.sendall(b"GET /function/cart HTTP/1.0\r\n\r\n")
        assert client.makefile("rb").readline().startswith(b"HTTP/1.0 200")


def test_the_answer_s_headers_are_openfaas_s(gateway: RunningGateway, cart: Replica) -> None:
    answer = gateway.call("GET", "/function/cart")
    assert answer.headers["x-call-id"] == answer.seen["headers"]["x-call-id"]
    assert answer.headers["x-start-time"] == answer.seen["headers"]["x-start-time"]
    assert answer.headers["x-served-by"] == f"localfaas/{__version__}"
    assert answer.headers["server"].startswith("BaseHTTP")
    assert not [name for name in answer.headers if "envoy" in name]
    assert "x-call-id" not in gateway.call("GET", "/function/cart", X_Call_Id="mine").headers


def test_what_the_function_says_of_itself_is_kept(gateway: RunningGateway, cart: Replica) -> None:
    answer = gateway.call("GET", "/function/cart/named")
    assert (answer.headers["x-served-by"], answer.headers["content-type"]) == ("cart-1", "application/json")


def test_an_answer_without_a_type_gets_the_request_s_or_text(gateway: RunningGateway, cart: Replica) -> None:
    assert gateway.call("GET", "/function/cart").headers["content-type"] == "text/plain"
    assert gateway.call("POST", "/function/cart", b"{}", Content_Type="a/b").headers["content-type"] == "a/b"


def test_redirects_are_returned(gateway: RunningGateway, cart: Replica) -> None:
    assert gateway.call("GET", "/function/cart/redirect").status == 307


def test_large_bodies_pass_with_and_without_a_length(gateway: RunningGateway, cart: Replica) -> None:
    size = 20_000_000
    assert gateway.call("POST", "/function/cart", b"x" * size).seen["length"] == size
    chunks = (b"x" * 1_000_000 for _ in range(20))
    assert gateway.call("POST", "/function/cart", chunks).seen["length"] == size


def test_an_answer_is_streamed(gateway: RunningGateway, cart: Replica) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    connection.request("GET", "/function/cart/drip")
    response = connection.getresponse()
    assert response.read(5) == b"first"
    cart.released.set()
    assert response.read() == b"last"
    connection.close()


def test_without_a_ready_replica_a_request_waits_and_then_says_so(
    gateway: RunningGateway, cart: Replica
) -> None:
    gateway.endpoints("cart")
    began = time.monotonic()
    answer = gateway.call("POST", "/function/cart.openfaas-fn/x", b"x")
    waited = time.monotonic() - began
    assert (answer.status, answer.text) == (503, "No endpoints available for: cart.openfaas-fn.\n")
    assert answer.headers["x-openfaas-internal"] == "proxy"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-call-id"]
    assert 1.2 < waited < 5


def test_a_request_waits_for_the_first_replica(gateway: RunningGateway, cart: Replica) -> None:
    gateway.endpoints("cart")
    timer = threading.Timer(0.8, gateway.endpoints, ("cart", ONE))
    timer.start()
    assert gateway.call("POST", "/function/cart/x", b"x").status == 200
    timer.join()
    assert cart.served == ["POST /x"]


def test_a_restart_of_the_only_replica_loses_no_request(gateway: RunningGateway) -> None:
    gateway.deploy("cart", NOWHERE)
    answers: list[int] = []
    clients = [
        threading.Thread(target=lambda m=method: answers.append(gateway.call(m, "/function/cart/x").status))
        for method in ["GET", "POST"] * 10
    ]
    for client in clients:
        client.start()
    threading.Event().wait(0.6)
    with replica(NOWHERE) as restarted:
        for client in clients:
            client.join()
        assert answers == [200] * 20
        assert Counter(restarted.served) == {"GET /x": 10, "POST /x": 10}
    gateway.api.registry.delete("cart")


def test_one_dead_replica_of_two_fails_nothing(gateway: RunningGateway, cart: Replica) -> None:
    gateway.endpoints("cart", ONE, NOWHERE)
    assert {gateway.call("POST", "/function/cart", b"x").status for _ in range(40)} == {200}
    assert len(cart.served) == 40


def test_a_replica_that_hangs_up_is_500_and_is_not_asked_again(
    gateway: RunningGateway, cart: Replica
) -> None:
    for method in ("POST", "GET"):
        cart.served.clear()
        answer = gateway.call(method, "/function/cart/break")
        assert (answer.status, answer.text) == (500, "Can't reach service for: cart.\n")
        assert answer.headers["x-openfaas-internal"] == "proxy"
        assert cart.served == [f"{method} /break"]


def test_a_replica_that_stays_away_is_500(gateway: RunningGateway, cart: Replica) -> None:
    gateway.endpoints("cart", NOWHERE)
    answer = gateway.call("GET", "/function/cart.openfaas-fn")
    assert (answer.status, answer.text) == (500, "Can't reach service for: cart.openfaas-fn.\n")


def test_a_timeout_is_an_empty_502(gateway: RunningGateway, cart: Replica) -> None:
    answer = gateway.call("POST", "/function/cart/slow", b"x")
    assert (answer.status, answer.body) == (502, b"")
    assert answer.headers["x-call-id"]
    assert cart.served == ["POST /slow"]


def test_beyond_max_inflight_the_answer_is_the_watchdog_s_429(gateway: RunningGateway, cart: Replica) -> None:
    gateway.deploy("small", ONE, envVars={"max_inflight": "2"})
    clients = [threading.Thread(target=gateway.call, args=("GET", "/function/small/slow")) for _ in range(2)]
    for client in clients:
        client.start()
    wait_for(lambda: len(cart.served) == 2, what="two requests under way")
    answer = gateway.call("POST", "/function/small.openfaas-fn", b"x")
    assert (answer.status, answer.text) == (
        429,
        "Concurrent request limit exceeded. Max concurrent requests: 2\n",
    )
    assert answer.headers["retry-after"] == "1"
    assert gateway.call("GET", "/function/cart").status == 200
    cart.released.set()
    for client in clients:
        client.join()
    assert gateway.call("GET", "/function/small").status == 200


def test_so_many_wait_for_a_replica_and_the_rest_is_told_to_come_again(
    gateway: RunningGateway, cart: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "MOST_WAITING", 1)
    gateway.deploy("few")
    answers: list[int] = []
    first = threading.Thread(
        target=lambda: answers.append(gateway.call("POST", "/function/few", b"x").status)
    )
    first.start()
    wait_for(lambda: _retries(gateway, "few"), what="one that waits")
    answer = gateway.call("POST", "/function/few", b"x")
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    gateway.endpoints("few", ONE)
    first.join()
    assert answers == [200]


def _retries(gateway: RunningGateway, name: str) -> int:
    path = f"/stats?filter=^cluster.{name}.upstream_rq_retry$"
    text = admin_request(gateway.settings.envoy_admin_socket("gateway"), "GET", path)
    return int(text.partition(": ")[2] or 0)


def test_an_idle_replica_is_preferred(gateway: RunningGateway, cart: Replica) -> None:
    with replica(TWO) as other:
        gateway.endpoints("cart", ONE, TWO)
        slow = threading.Thread(target=gateway.call, args=("GET", "/function/cart/slow"))
        slow.start()
        wait_for(lambda: cart.served or other.served, what="a request that is under way")
        idle = TWO if cart.served else ONE
        assert {gateway.call("GET", "/function/cart").seen["port"] for _ in range(20)} == {idle}
        cart.released.set()
        other.released.set()
        slow.join()


def hammer(gateway: RunningGateway, path: str, act: object) -> Counter[int]:
    """Statuses of requests sent one after the other on two connections while `act()` runs."""
    statuses: Counter[int] = Counter()
    done = threading.Event()

    def client(method: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
        while not done.is_set():
            connection.request(method, path, b"x" if method == "POST" else None)
            response = connection.getresponse()
            response.read()
            statuses[response.status] += 1
        connection.close()

    clients = [threading.Thread(target=client, args=(method,)) for method in ("GET", "POST")]
    for one in clients:
        one.start()
    try:
        act()  # type: ignore[operator]
    finally:
        done.set()
        for one in clients:
            one.join()
    return statuses


def test_deploying_scaling_and_removing_others_loses_no_request(
    gateway: RunningGateway, cart: Replica
) -> None:
    def change() -> None:
        for number in range(5):
            gateway.deploy(f"other{number}", ONE)
            gateway.system("POST", "/system/scale-function/cart", {"replicas": 1 + number % 5})
            gateway.system(
                "PUT",
                "/system/functions",
                {"service": "cart", "image": "cart:2", "envVars": {"N": f"{number}"}},
            )
        for number in range(5):
            gateway.system("DELETE", "/system/functions", {"functionName": f"other{number}"})

    statuses = hammer(gateway, "/function/cart/x", change)
    assert set(statuses) == {200}
    assert statuses[200] > 50


def test_changing_the_limit_under_load_loses_no_request(gateway: RunningGateway, cart: Replica) -> None:
    def change() -> None:
        for replicas in (2, 3, 4, 5, 1, 2):
            gateway.system("POST", "/system/scale-function/small", {"replicas": replicas})

    gateway.deploy("small", ONE, envVars={"max_inflight": "16"})
    assert set(hammer(gateway, "/function/small/x", change)) == {200}


def test_changing_replicas_under_load_loses_no_request(gateway: RunningGateway, cart: Replica) -> None:
    def change() -> None:
        for ports in ((ONE, TWO), (TWO,), (ONE, TWO), (ONE,)) * 3:
            gateway.endpoints("cart", *ports)

    with replica(TWO) as two:
        assert set(hammer(gateway, "/function/cart/x", change)) == {200}
        assert two.served


def test_a_new_function_answers_as_soon_as_it_is_deployed(gateway: RunningGateway, cart: Replica) -> None:
    gateway.deploy("fresh", ONE)
    assert gateway.call("GET", "/function/fresh").status == 200
    gateway.system("DELETE", "/system/functions", {"functionName": "fresh"})
    assert gateway.call("GET", "/function/fresh").status == 404


def test_functions_go_on_without_the_api(gateway: RunningGateway, cart: Replica) -> None:
    gateway.stop_api()
    try:
        assert gateway.call("POST", "/function/cart/x", b"x").status == 200
        assert gateway.call("GET", "/function/nosuch").status == 404
        for path in ("/healthz", "/system/functions", "/nothing", "//x"):
            answer = gateway.call("GET", path)
            assert (answer.status, answer.text.count("\n")) == (502, 1)
    finally:
        gateway.start_api()
    assert gateway.call("GET", "/healthz").status == 200


def test_invocations_are_counted_exactly_and_others_are_not(gateway: RunningGateway, cart: Replica) -> None:
    before = invocation_counts(read_stats(gateway.settings)).get("cart", 0)
    for name in ("cart", "cart.openfaas-fn"):
        for _ in range(5):
            gateway.call("POST", f"/function/{name}/x?secret=1", b"x")
    gateway.call("GET", "/function/nosuch/x")
    stats = read_stats(gateway.settings)
    assert invocation_counts(stats)["cart"] - before == 10
    assert "nosuch" not in stats
    wait_for(
        lambda: (
            'gateway_functions_seconds_count{code="200",function_name="cart.openfaas-fn"}'
            in gateway.api.metrics_client.get("/metrics").text
        ),
        what="the flushed histogram",
    )
    text = gateway.api.metrics_client.get("/metrics").text
    assert 'gateway_service_count{function_name="cart.openfaas-fn"} 1\n' in text
    assert 'le="0.005"' in text
