"""kong/kong.yml and kong/kong.conf as they stand, on a real edge; one small server stands in for the function gateway."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localfaas.edge import create_admin_app
from localfaas.edge.metrics import metrics_text
from tests.support.edge import PROJECT, Answer, RunningEdge, Upstream, running_edge
from tests.support.waiting import wait_for

PRIVATE = ["cart", "checkout", "customers", "inventory", "orders", "reports", "sales"]
ALLOW = "Access-Control-Allow-"
PAGE, STRANGER = "http://localhost:3000", "https://evil.example"


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[RunningEdge, Upstream]]:
    state = Path(tempfile.mkdtemp(prefix="edge-"))
    with running_edge(state, PROJECT) as edge:
        gateway = Upstream(edge.settings.port("gateway"))
        edge.edge.update_membership({"cart": [("127.0.0.1", gateway.server_port)]})
        edge.load((PROJECT / "kong" / "kong.yml").read_text())
        yield edge, gateway
        gateway.stop()
        assert edge.stat("http.edge.lua.errors") == 0
    shutil.rmtree(state)


@pytest.fixture
def gateway(running: tuple[RunningEdge, Upstream]) -> Upstream:
    running[1].calm()
    return running[1]


@pytest.fixture
def edge(running: tuple[RunningEdge, Upstream], gateway: Upstream) -> RunningEdge:
    return running[0]


def posted_within_a_minute(edge: RunningEdge, paths: list[str]) -> list[Answer]:
    """The answers to posts to `paths`, one after another, all in one window of the limits."""
    for _ in range(3):
        wait_for(lambda: 0.5 < time.time() % 60 < 45, 20, "a new minute")  # Envoy reads a coarser clock
        minute = time.time() // 60
        answers = [edge.send("POST", path, body="{}") for path in paths]
        if time.time() // 60 == minute:
            return answers
    raise AssertionError("this machine is too busy for so many requests in a minute")


def up_to_the_limit(answers: list[Answer]) -> list[int]:
    """What the statuses must be, from what the first answer says is left."""
    left = int(answers[0].header("RateLimit-Remaining") or 0)
    return [200] * (left + 1) + [429] * (len(answers) - left - 1)


@pytest.mark.parametrize("function", ["products", *sorted(set(PRIVATE) - {"cart"})])
def test_each_function_is_asked_through_the_function_gateway(edge: RunningEdge, function: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        told = edge.send(method, f"/api/{function}/7?x=1").json
        assert (told["method"], told["path"]) == (method, f"/function/{function}/7?x=1")


@pytest.mark.parametrize(
    ("asked", "reaches"),
    [
        ("/api/cart/items", "/items"),
        ("/", "/function/site/"),
        ("/?x=1", "/function/site/?x=1"),
        ("/docs", "/function/site/docs"),
        ("/docs/files/1/page.js", "/function/site/docs/files/1/page.js"),
    ],
)
def test_cart_is_asked_itself_and_the_site_keeps_its_paths(
    edge: RunningEdge, asked: str, reaches: str
) -> None:
    assert edge.get(asked).json["path"] == reaches


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/maintenance", "/docsx", "/index.html", "/function/cart"]
)
def test_anything_else_has_no_route(edge: RunningEdge, gateway: Upstream, path: str) -> None:
    answer = edge.get(path)
    assert (answer.status, answer.json["message"]) == (404, "no Route matched with those values")
    assert answer.header("X-Content-Type-Options") == "nosniff"
    assert answer.header("X-Request-Id")
    assert gateway.seen == []


def test_answers_about_people_and_money_are_kept_by_no_cache(edge: RunningEdge, gateway: Upstream) -> None:
    for function in PRIVATE:
        assert edge.get(f"/api/{function}").all("Cache-Control") == ["no-store"]
    assert edge.get("/api/products").header("Cache-Control") is None
    gateway.headers = {"Cache-Control": "private, max-age=3"}
    assert edge.get("/api/orders").all("Cache-Control") == ["private, max-age=3"]


@pytest.mark.parametrize("path", ["/", "/docs", "/api/products", *(f"/api/{name}" for name in PRIVATE)])
def test_no_answer_is_to_be_taken_for_another_kind(edge: RunningEdge, gateway: Upstream, path: str) -> None:
    assert edge.get(path).all("X-Content-Type-Options") == ["nosniff"]
    gateway.headers = {"X-Content-Type-Options": "nosniff"}
    assert edge.get(path).all("X-Content-Type-Options") == ["nosniff"]


def test_registration_and_sign_in_share_twenty_a_minute(edge: RunningEdge) -> None:
    answers = posted_within_a_minute(edge, ["/api/customers", "/api/customers/sessions"] * 11)
    assert [answer.status for answer in answers] == up_to_the_limit(answers)
    refused = answers[-1]
    assert (refused.json["message"], refused.header("RateLimit-Limit")) == ("API rate limit exceeded", "20")
    assert refused.header("Retry-After") == refused.header("RateLimit-Reset")
    assert refused.header("Cache-Control") == "no-store"
    for method, path in (
        ("GET", "/api/customers"),
        ("DELETE", "/api/customers/sessions"),
        ("POST", "/api/orders"),
    ):
        assert edge.send(method, path).status == 200


def test_checkout_is_posted_sixty_times_a_minute(edge: RunningEdge) -> None:
    answers = posted_within_a_minute(edge, ["/api/checkout"] * 62)
    assert [answer.status for answer in answers] == up_to_the_limit(answers)
    assert (answers[-1].status, answers[-1].header("RateLimit-Limit")) == (429, "60")
    assert edge.get("/api/checkout").status == 200


def test_other_requests_have_one_generous_limit(edge: RunningEdge) -> None:
    for path in ("/api/products", "/api/cart", "/", "/api/checkout"):
        answer = edge.get(path)
        assert (answer.status, answer.header("X-RateLimit-Limit-Second")) == (200, "200")


def test_limits_can_be_left_out_for_experiments_while_the_admin_api_still_shows_them() -> None:
    state = Path(tempfile.mkdtemp(prefix="edge-"))
    with running_edge(state, PROJECT, RATE_LIMITS="off") as edge:
        gateway = Upstream(edge.settings.port("gateway"))
        edge.load((PROJECT / "kong" / "kong.yml").read_text())
        answers = [edge.send("POST", "/api/customers/sessions", body="{}") for _ in range(25)]
        shown = create_admin_app(edge.edge).test_client().get("/plugins?size=1000").get_json()["data"]
        gateway.stop()
    shutil.rmtree(state)
    assert {answer.status for answer in answers} == {200}
    assert not [name for name, _ in answers[0].headers if "ratelimit" in name]
    assert [plugin["enabled"] for plugin in shown if plugin["name"] == "rate-limiting"] == [True] * 3


def cors(answer: Answer) -> tuple[str | None, str | None, list[str]]:
    return answer.header(ALLOW + "Origin"), answer.header(ALLOW + "Credentials"), answer.all("Vary")


@pytest.mark.parametrize("origin", [PAGE, STRANGER])
def test_listed_pages_may_call_with_credentials_and_strangers_may_not(
    edge: RunningEdge, gateway: Upstream, origin: str
) -> None:
    allowed = PAGE if origin == PAGE else None
    simple = edge.get("/api/cart", {"Origin": origin})
    assert cors(simple) == (allowed, "true", ["Origin"])
    assert {"RateLimit-Remaining", "X-Cart-Token", "X-Request-Id"} <= set(
        (simple.header("Access-Control-Expose-Headers") or "").split(",")
    )
    gateway.seen.clear()
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,idempotency-key",
    }
    preflight = edge.send("OPTIONS", "/api/checkout", {"Origin": origin, **asked})
    assert (preflight.status, preflight.body, gateway.seen) == (200, b"", [])
    assert preflight.header(ALLOW + "Origin") == allowed
    assert preflight.header(ALLOW + "Headers") == "authorization,idempotency-key"


def test_no_answer_allows_every_origin(edge: RunningEdge) -> None:
    for headers in ({}, {"Origin": "null"}, {"Origin": "*"}, {"Origin": ""}, {"Origin": STRANGER}):
        for path in ("/api/products", "/nowhere"):
            assert edge.get(path, headers).header(ALLOW + "Origin") is None


def test_a_body_beyond_two_megabytes_is_refused_before_the_function(
    edge: RunningEdge, gateway: Upstream
) -> None:
    most = 2 * 1024 * 1024
    assert edge.send("POST", "/api/products/bulk", body=b"x" * most).json["length"] == most
    gateway.seen.clear()
    answer = edge.send("POST", "/api/products/bulk", body=b"x" * (most + 1))
    assert (answer.status, answer.json["message"]) == (413, "Request size limit exceeded")
    assert gateway.seen == []


def test_a_requests_id_reaches_the_function_and_comes_back(edge: RunningEdge) -> None:
    for headers in ({"X-Request-Id": "mine-1"}, {}):
        answer = edge.get("/api/products", headers)
        [seen] = [value for name, value in answer.json["headers"] if name == "x-request-id"]
        assert answer.all("X-Request-Id") == [seen]
        assert not headers or seen == "mine-1"


def test_all_four_groups_of_metrics_are_counted(edge: RunningEdge) -> None:
    edge.get("/api/products")

    def told() -> str | None:
        text = metrics_text(edge.edge)
        series = ("kong_http_requests_total", "kong_bandwidth_bytes", "kong_request_latency_ms_bucket")
        found = all(f'{name}{{service="products",route="products"' in text for name in series)
        return text if found else None

    text = wait_for(told, what="the counts of a request")
    assert 'kong_upstream_target_health{upstream="cart"' in text


def test_large_json_is_compressed(edge: RunningEdge) -> None:
    answer = edge.get("/api/products", {"X-Long": "x" * 3000, "Accept-Encoding": "gzip"})
    assert (answer.header("Content-Encoding"), answer.header("Vary")) == ("gzip", "Accept-Encoding,Origin")


def test_what_the_files_services_share_is_told_of_each_and_not_of_itself(edge: RunningEdge) -> None:
    """`_ignore` and its anchors are gone from what the Admin API shows."""
    shown = json.dumps(create_admin_app(edge.edge).test_client().get("/config").get_json())
    assert "_ignore" not in shown
    assert "waiting" not in shown


@pytest.mark.parametrize("path", ["/", "/config", "/metrics", "/nothing/here"])
def test_the_admin_port_answers_to_this_machines_names_alone(edge: RunningEdge, path: str) -> None:
    """Else a site could point its own name here and read the configuration (DNS rebinding)."""
    client = create_admin_app(edge.edge).test_client()
    for method in ("GET", "POST"):
        assert client.open(path, method=method, headers={"Host": "rebound.example:8001"}).status_code == 400
    for host in ("localhost:8001", "127.0.0.1:8001"):
        assert client.get(path, headers={"Host": host}).status_code in (200, 404)
