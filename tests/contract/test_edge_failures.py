"""Failing, slow and dying upstreams, balance, reloads under load (kong-observed, sections 5, 11 and 13)."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from localfaas.edge import KongConfigError, clusters, observe
from localfaas.edge.apply import EdgeEnvoy
from localfaas.envoy import drain
from tests.support.edge import PROJECT, RunningEdge, Upstream, accepts, running_edge
from tests.support.ports import free_port
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def running() -> Iterator[RunningEdge]:
    state = Path(tempfile.mkdtemp(prefix="edge-"))
    with running_edge(state) as edge:
        yield edge
        assert edge.stat("http.edge.lua.errors") == 0
    shutil.rmtree(state)


@pytest.fixture
def three() -> Iterator[list[Upstream]]:
    servers = [Upstream() for _ in range(3)]
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def edge(running: RunningEdge) -> RunningEdge:
    running.edge.update_membership({})
    return running


def service(url: str, more: str = "retries: 2, read_timeout: 300, connect_timeout: 300") -> str:
    return f"""
_format_version: "3.0"
services:
- {{name: a, url: "{url}", {more}, routes: [{{name: a, paths: [/a]}}]}}
"""


def balanced(upstream: str, targets: list[str], more: str = "retries: 2, read_timeout: 1000") -> str:
    lines = "".join(f"  - {target}\n" for target in targets)
    return f"""
_format_version: "3.0"
services:
- {{name: a, host: pool, {more}, routes: [{{name: a, paths: [/a]}}]}}
upstreams:
- name: pool
  {upstream}
  targets:
{lines}"""


def targets(servers: list[Upstream], weights: list[int] | None = None) -> list[str]:
    return [
        f"{{target: '127.0.0.1:{server.server_port}', weight: {weight}}}"
        for server, weight in zip(servers, weights or [100] * len(servers), strict=True)
    ]


# Errors


def test_silent_connect_is_504(edge: RunningEdge) -> None:
    """A listener whose queue is full drops connection requests, as a machine that is gone does."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        held = [socket.socket() for _ in range(4)]
        for client in held:
            client.setblocking(False)
            client.connect_ex(address)
        edge.load(service(f"http://127.0.0.1:{address[1]}", "retries: 0, connect_timeout: 200"))
        answer = edge.get("/a")
        for client in held:
            client.close()
    assert (answer.status, answer.text.splitlines()[0]) == (504, "The upstream server is timing out")


# Retries


def test_slow_answer_within_the_timeout_is_served(edge: RunningEdge, three: list[Upstream]) -> None:
    edge.load(service(f"http://127.0.0.1:{three[0].server_port}", "retries: 0, read_timeout: 2000"))
    three[0].behaviour = "slow:0.5"
    assert edge.get("/a").status == 200


def test_refused_post_goes_to_another_target(edge: RunningEdge, three: list[Upstream]) -> None:
    dead = f"{{target: '127.0.0.1:{free_port()}'}}"
    edge.load(balanced("algorithm: round-robin", [dead, *targets(three[:1])]))
    assert [edge.send("POST", "/a").status for _ in range(4)] == [200] * 4


# Balance


def ports(edge: RunningEdge, count: int, headers: dict[str, str] | None = None) -> Counter[int]:
    return Counter(edge.get("/a", headers).json["port"] for _ in range(count))


def test_round_robin_is_exact(edge: RunningEdge, three: list[Upstream]) -> None:
    edge.load(balanced("algorithm: round-robin", targets(three)))
    assert set(ports(edge, 30).values()) == {10}


def test_weights_share_and_zero_takes_none(edge: RunningEdge, three: list[Upstream]) -> None:
    edge.load(balanced("algorithm: round-robin", targets(three, [100, 50, 0])))
    shares = []

    def exact() -> bool:
        """Sixty in a row; Envoy begins a new round when it has just read its endpoints."""
        found = ports(edge, 60)
        shares.append([found[server.server_port] for server in three])
        return shares[-1] == [40, 20, 0]

    wait_for(exact, what="shares of 40, 20 and none")
    assert all(share[2] == 0 for share in shares)
    assert [exact() for _ in range(3)] == [True] * 3


@pytest.mark.parametrize(
    "hash_on", ["hash_on: header, hash_on_header: X-User", "hash_on: query_arg, hash_on_query_arg: user"]
)
def test_same_key_goes_to_the_same_target(edge: RunningEdge, three: list[Upstream], hash_on: str) -> None:
    body = "\n  ".join(["algorithm: consistent-hashing", *hash_on.split(", ")])
    edge.load(balanced(body, targets(three)))
    by_user = [
        {edge.get(f"/a?user={user}", {"X-User": str(user)}).json["port"] for _ in range(3)}
        for user in range(20)
    ]
    assert all(len(found) == 1 for found in by_user)
    assert len(set.union(*by_user)) > 1


def test_hashing_on_a_cookie_sets_it(edge: RunningEdge, three: list[Upstream]) -> None:
    edge.load(
        balanced(
            "algorithm: consistent-hashing\n  hash_on: cookie\n  hash_on_cookie: cart_id", targets(three)
        )
    )
    first = edge.get("/a")
    cookie = first.header("Set-Cookie") or ""
    assert cookie.startswith("cart_id=")
    assert "HttpOnly" in cookie
    assert "Path=/" in cookie
    held = {"Cookie": cookie.partition(";")[0]}
    assert set(ports(edge, 5, held)) == {first.json["port"]}


def test_hashing_on_the_address_keeps_one_client_on_one_target(
    edge: RunningEdge, three: list[Upstream]
) -> None:
    edge.load(balanced("algorithm: consistent-hashing\n  hash_on: ip", targets(three)))
    assert len(ports(edge, 6)) == 1


def test_least_connections_avoids_the_busy_target(edge: RunningEdge, three: list[Upstream]) -> None:
    edge.load(balanced("algorithm: least-connections", targets(three), "retries: 0, read_timeout: 5000"))
    busy = three[0]
    busy.behaviour = "hang"
    waiting = threading.Thread(target=lambda: [edge.get("/a") for _ in iter(lambda: len(busy.seen), 1)])
    waiting.start()
    wait_for(lambda: busy.seen, 5, "a request on the busy target")
    seen = len(busy.seen)
    assert busy.server_port not in ports(edge, 12)
    assert len(busy.seen) == seen
    busy.released.set()
    waiting.join(10)


def test_replicas_that_could_not_be_written_down_are_at_the_next_try(
    edge: RunningEdge, three: list[Upstream], monkeypatch: pytest.MonkeyPatch
) -> None:
    edge.load(balanced("", ["{target: 'cart-replicas.openfaas-fn:8080'}"]))
    replicas = {"cart": [("127.0.0.1", three[0].server_port)]}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(EdgeEnvoy, "apply", full)
        with pytest.raises(OSError, match="No space"):
            edge.edge.update_membership(replicas)
    edge.edge.update_membership(replicas)
    wait_for(lambda: edge.get("/a").status == 200, what="an answer of the replica")


def test_replicas_are_given_so_much_at_once_and_the_rest_is_told_to_come_again(
    edge: RunningEdge, three: list[Upstream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Being full is not being sick: the replica stays in the rotation."""
    monkeypatch.setattr(clusters, "AT_ONCE", 1)
    monkeypatch.setattr(clusters, "WAITING", 1)
    [replica, *_] = three
    replica.behaviour = "hang"
    edge.edge.update_membership({"cart": [("127.0.0.1", replica.server_port)]})
    passive = "healthchecks: {passive: {unhealthy: {tcp_failures: 1}}}"
    edge.load(balanced(passive, ["{target: 'cart-replicas.openfaas-fn:8080'}"], "retries: 2"))
    taken: list[int] = []
    asking = [threading.Thread(target=lambda: taken.append(edge.get("/a").status)) for _ in range(2)]
    asking[0].start()
    wait_for(lambda: replica.seen, what="a request with the replica")
    asking[1].start()
    wait_for(lambda: edge.stat("cluster.pool@60000.upstream_rq_pending_active"), what="one that waits")
    refused = edge.get("/a")
    assert (refused.status, refused.header("Retry-After")) == (503, "1")
    assert health(edge) == ["HEALTHY"]
    replica.released.set()
    for thread in asking:
        thread.join(10)
    assert taken == [200, 200]


def test_a_gateway_that_does_not_come_to_it_is_not_given_ever_more(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections and requests are taken by its sockets, whatever becomes of it."""
    monkeypatch.setattr(clusters, "TO_GATEWAY", 2)
    gateway = Upstream(edge.settings.port("gateway"))
    gateway.behaviour = "hang"
    edge.load(service("http://gateway.openfaas:8080/function/a", "retries: 2, read_timeout: 10000"))
    taken: list[int] = []
    asking = [threading.Thread(target=lambda: taken.append(edge.get("/a").status)) for _ in range(2)]
    for thread in asking:
        thread.start()
    wait_for(lambda: len(gateway.seen) == 2, what="two requests with the gateway")
    refused = edge.get("/a")
    assert (refused.status, refused.header("Retry-After")) == (503, "1")
    gateway.released.set()
    for thread in asking:
        thread.join(10)
    assert taken == [200, 200]
    assert edge.get("/a").status == 200
    gateway.stop()


def test_host_header_names_the_target_or_what_is_set(edge: RunningEdge, three: list[Upstream]) -> None:
    def host() -> str:
        answer = edge.get("/a").json
        [value] = [value for name, value in answer["headers"] if name == "host"]
        return value.replace(str(answer["port"]), "PORT")

    edge.load(balanced("algorithm: round-robin", targets(three)))
    assert host() == "127.0.0.1:PORT"
    edge.load(balanced("host_header: shop.internal", targets(three)))
    assert host() == "shop.internal"


# Health checks

ACTIVE = """healthchecks:
    active:
      healthy: {{interval: 0.2, successes: 1}}
      unhealthy: {{interval: 0.2, tcp_failures: 1, timeouts: {timeouts}, http_failures: {http_failures}}}
      timeout: 0.3
      http_path: /_/health"""


def health(edge: RunningEdge) -> list[str]:
    [upstream] = edge.edge.loaded.configuration.upstreams
    return [item.health for item in observe.upstream_health(edge.edge, upstream)]


def test_dead_target_leaves_and_returns(edge: RunningEdge, three: list[Upstream]) -> None:
    edge.load(balanced(ACTIVE.format(timeouts=0, http_failures=0), targets(three)))
    wait_for(lambda: health(edge) == ["HEALTHY"] * 3, what="three healthy targets")
    port = three[0].server_port
    three[0].stop()
    wait_for(lambda: health(edge) == ["UNHEALTHY", "HEALTHY", "HEALTHY"], what="one target out")
    assert port not in ports(edge, 6)
    three[0] = Upstream(port)
    wait_for(lambda: health(edge) == ["HEALTHY"] * 3, what="the target back")


def test_busy_target_stays_where_timeouts_do_not_count(edge: RunningEdge, three: list[Upstream]) -> None:
    edge.load(balanced(ACTIVE.format(timeouts=0, http_failures=0), targets(three)))
    wait_for(lambda: health(edge) == ["HEALTHY"] * 3, what="three healthy targets")
    for server in three:
        server.behaviour, server.status = "hang", 503
    probes = edge.stat("cluster.pool@60000.health_check.attempt")
    wait_for(
        lambda: edge.stat("cluster.pool@60000.health_check.attempt") >= probes + 6,
        what="two more rounds of probes",
    )
    assert health(edge) == ["HEALTHY"] * 3


def test_failing_status_takes_a_target_out_where_it_counts(edge: RunningEdge, three: list[Upstream]) -> None:
    edge.load(balanced(ACTIVE.format(timeouts=0, http_failures=1), targets(three)))
    wait_for(lambda: health(edge) == ["HEALTHY"] * 3, what="three healthy targets")
    three[0].status = 500
    wait_for(lambda: health(edge)[0] == "UNHEALTHY", what="one target out")
    three[0].status = 401
    wait_for(lambda: health(edge)[0] == "HEALTHY", what="a status that is no failure")


def test_passive_check_counts_the_listed_statuses(edge: RunningEdge, three: list[Upstream]) -> None:
    passive = "healthchecks: {passive: {unhealthy: {http_failures: 3, http_statuses: [429]}}}"
    edge.load(balanced(passive, targets(three[:1])))
    three[0].status = 500
    assert [edge.get("/a").status for _ in range(5)] == [500] * 5
    three[0].status = 429
    assert [edge.get("/a").status for _ in range(3)] == [429] * 3
    wait_for(lambda: edge.get("/a").status == 503, what="the target out")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_deadlines_of_clients_take_no_target_out(
    edge: RunningEdge, three: list[Upstream], method: str
) -> None:
    """Whoever waits for too short a time says nothing of the targets; else anybody could have all of them out."""
    passive = "healthchecks: {passive: {unhealthy: {tcp_failures: 1, timeouts: 0}}}"
    edge.load(balanced(passive, targets(three)))
    for server in three:
        server.behaviour = "slow:0.2"
    hasty = [edge.send(method, "/a", {"X-Timeout": "20ms"}) for _ in range(6)]
    assert [answer.status for answer in hasty] == [504] * 6
    assert {answer.text.splitlines()[0] for answer in hasty} == {"The upstream server is timing out"}
    assert edge.stat("cluster.pool@60000.outlier_detection.ejections_active") == 0
    for server in three:
        server.behaviour = "echo"
    assert set(ports(edge, 3).values()) == {1}


def test_no_checks_are_told_as_off(edge: RunningEdge, three: list[Upstream]) -> None:
    edge.load(balanced("algorithm: round-robin", targets(three)))
    assert health(edge) == ["HEALTHCHECKS_OFF"] * 3


# Under load


class Load:
    """Clients that ask without pause, each on one connection, and count what they get."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.port, self.stopped = port, threading.Event()
        self.counts: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self._threads:
            thread.join(20)

    def _run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=15)
        counts: Counter[str] = Counter()
        while not self.stopped.is_set():
            try:
                connection.request("GET", "/a")
                response = connection.getresponse()
                response.read()
                counts[str(response.status)] += 1
            except (OSError, HTTPException) as error:
                counts[type(error).__name__] += 1
                connection.close()
            self.counts.update(counts)
            counts.clear()
        connection.close()

    def after(self, more: int) -> None:
        """Wait until `more` further requests are answered."""
        goal = self.counts.total() + more
        wait_for(lambda: self.counts.total() >= goal, 30, f"{more} more answers")


def test_reloads_under_load_lose_nothing(edge: RunningEdge, three: list[Upstream]) -> None:
    """Routes, plugins, clusters and targets change while requests run; the clusters change names too."""
    first = balanced("algorithm: round-robin", targets(three))
    second = balanced(
        "algorithm: least-connections", targets(three[:2]), "retries: 3, connect_timeout: 500"
    ) + ("plugins: [{name: cors}, {name: rate-limiting, config: {second: 100000}}]\n")
    edge.load(first)
    with Load(edge.port) as load:
        for text in (second, first) * 4:
            load.after(20)
            edge.load(text)
        load.after(20)
    assert set(load.counts) == {"200"}


def test_membership_changes_under_load_lose_nothing(edge: RunningEdge, three: list[Upstream]) -> None:
    addresses = [("127.0.0.1", server.server_port) for server in three]
    edge.edge.update_membership({"cart": addresses})
    edge.load(balanced("algorithm: round-robin", ["{target: 'cart-replicas.openfaas-fn:8080'}"]))
    with Load(edge.port) as load:
        for count in (1, 3, 2, 1, 2, 3) * 2:
            load.after(20)
            edge.edge.update_membership({"cart": addresses[:count]})
        load.after(20)
    assert set(load.counts) == {"200"}


def test_bad_file_never_replaces_a_good_one(edge: RunningEdge, three: list[Upstream]) -> None:
    good = balanced("algorithm: round-robin", targets(three))
    edge.load(good)
    faulty = [
        "{",
        good.replace("retries", "retires"),
        good.replace("[/a]", "['~/a{1001}']"),
        good + "plugins: [{name: jwt}]\n",
    ]
    with Load(edge.port, 2) as load:
        for text in faulty:
            load.after(5)
            with pytest.raises(KongConfigError):
                edge.load(text)
        load.after(5)
    assert set(load.counts) == {"200"}
    assert edge.edge.loaded.text == good


@contextmanager
def replica_process() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """An upstream in a process of its own, so that it can be killed."""
    port = free_port()
    code = f"from tests.support.edge import Upstream; import time; Upstream({port}); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT)
    try:
        wait_for(lambda: accepts(port), what="a replica")
        yield process, port
    finally:
        process.kill()
        process.wait(10)


def test_killing_one_of_three_targets_loses_no_get(edge: RunningEdge) -> None:
    shop = (PROJECT / "kong" / "kong.yml").read_text().replace("~/api/cart($|/)", "~/a($|/)")
    shop = shop.replace("second: 200", "second: 100000")
    with replica_process() as one, replica_process() as two, replica_process() as three:
        edge.edge.update_membership({"cart": [("127.0.0.1", port) for _, port in (one, two, three)]})
        edge.load(shop)
        with Load(edge.port) as load:
            load.after(60)
            os.kill(one[0].pid, signal.SIGKILL)
            load.after(150)
    assert set(load.counts) == {"200"}


def test_last_configuration_survives_a_restart_of_envoy_and_of_the_edge(
    running: RunningEdge, three: list[Upstream]
) -> None:
    running.edge.update_membership({"cart": [("127.0.0.1", three[0].server_port)]})
    running.load(balanced("algorithm: round-robin", ["{target: 'cart-replicas.openfaas-fn:8080'}"]))
    os.kill(running.processes[-1].pid, signal.SIGKILL)
    running.processes.pop().wait(10)
    again = type(running.edge)(running.settings)
    assert again.loaded.hash == running.edge.loaded.hash
    assert again.membership == running.edge.membership
    running.start()
    assert wait_for(lambda: running.get("/a").status == 200, what="the restarted edge")


def test_drain_waits_for_what_is_in_flight(running: RunningEdge, three: list[Upstream]) -> None:
    """Last: a drained Envoy takes no new connections."""
    running.load(service(f"http://127.0.0.1:{three[0].server_port}", "retries: 0, read_timeout: 5000"))
    three[0].behaviour = "slow:0.5"
    statuses: list[int] = []
    client = threading.Thread(target=lambda: statuses.append(running.get("/a").status))
    client.start()
    wait_for(lambda: three[0].seen, what="the request upstream")
    assert drain(running.settings.envoy_admin_socket("edge"), 5) is True
    client.join(5)
    assert statuses == [200]
