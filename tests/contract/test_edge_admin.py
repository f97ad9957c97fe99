"""The Admin API of the embedded edge against what a DB-less Kong answers (kong-observed, sections 12, 13 and 15)."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from tests.support.edge import RunningEdge, Upstream, running_edge, wait_for

KONG = """
_format_version: "3.0"
services:
- name: a
  url: http://127.0.0.1:{port}/base
  tags: [red, blue]
  routes:
  - {{name: a, paths: [/a], plugins: [{{name: cors}}]}}
- {{name: b, host: pool, retries: 0, routes: [{{name: b, paths: [/b]}}]}}
- {{name: c, url: "http://127.0.0.1:1/", retries: 0, routes: [{{name: c, paths: [/c]}}]}}
upstreams:
- name: pool
  targets: [{{target: "127.0.0.1:{port}"}}, {{target: cart.openfaas-fn, weight: 10}}]
  healthchecks: {{passive: {{unhealthy: {{tcp_failures: 3}}}}}}
plugins:
- name: prometheus
  config: {{status_code_metrics: true, latency_metrics: true, bandwidth_metrics: true, upstream_health_metrics: true}}
- {{name: request-size-limiting, config: {{allowed_payload_size: 1}}}}
"""
ID_OF_A = "72734e2a-702d-5711-b9ef-697178108ad8"
"""What Kong gives to a service named `a`."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def running() -> Iterator[RunningEdge]:
    state = Path(tempfile.mkdtemp(prefix="edge-"))
    with running_edge(state) as edge:
        yield edge
    shutil.rmtree(state)


@pytest.fixture
def text(upstream: Upstream) -> str:
    return KONG.format(port=upstream.server_port)


@pytest.fixture
def edge(running: RunningEdge, text: str) -> RunningEdge:
    running.edge.update_membership({"cart": [("127.0.0.1", 9), ("127.0.0.1", 10)]})
    running.load(text)
    return running


@pytest.fixture
def admin(edge: RunningEdge) -> FlaskClient:
    return edge.edge.admin_app().test_client()


def test_node_tells_what_it_is_and_does_not_claim_to_be_kong(admin: FlaskClient) -> None:
    answer = admin.get("/")
    told = answer.get_json()
    assert {
        "version",
        "edition",
        "tagline",
        "hostname",
        "node_id",
        "pids",
        "plugins",
        "configuration",
    } <= set(told)
    assert "embedded edge" in told["tagline"]
    assert told["plugins"]["available_on_server"]["cors"]["priority"] == 2000
    assert told["plugins"]["enabled_in_cluster"] == ["cors", "prometheus", "request-size-limiting"]
    assert answer.headers["Server"] == "localfaas/0.1.0"
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["X-Kong-Admin-Latency"].isdecimal()


def test_status_counts_requests_and_shows_the_configurations_hash(
    admin: FlaskClient, edge: RunningEdge
) -> None:
    before = admin.get("/status").get_json()
    edge.get("/a")
    after = admin.get("/status").get_json()
    assert after["server"]["total_requests"] == before["server"]["total_requests"] + 1
    assert len(after["configuration_hash"]) == 32
    assert "database" not in after


def test_lists_are_pages_in_order_of_id(admin: FlaskClient) -> None:
    whole = admin.get("/services").get_json()
    ids = [item["id"] for item in whole["data"]]
    assert (whole["next"], ids) == (None, sorted(ids))
    first = admin.get("/services?size=2").get_json()
    assert first["next"] == f"/services?offset={first['offset'].replace('=', '%3D')}&size=2"
    rest = admin.get(first["next"]).get_json()
    assert [item["id"] for item in first["data"] + rest["data"]] == ids
    assert admin.get("/services?offset=nonsense").get_json() == {"data": [], "next": None}


@pytest.mark.parametrize("size", ["0", "1001", "x"])
def test_page_size_is_checked(admin: FlaskClient, size: str) -> None:
    answer = admin.get(f"/services?size={size}")
    expected = {"message": "size must be an integer between 1 and 1000", "code": 9, "name": "invalid size"}
    assert (answer.status_code, answer.get_json()) == (400, expected)


def test_entities_are_found_by_name_and_by_id_with_all_their_defaults(
    admin: FlaskClient, upstream: Upstream
) -> None:
    by_name, by_id = admin.get("/services/a").get_json(), admin.get(f"/services/{ID_OF_A}").get_json()
    assert by_name == by_id
    assert by_name["id"] == ID_OF_A
    expected = {
        "protocol": "http", "host": "127.0.0.1", "port": upstream.server_port, "path": "/base", "retries": 5,
        "connect_timeout": 60000, "read_timeout": 60000, "write_timeout": 60000, "enabled": True,
        "tags": ["red", "blue"], "client_certificate": None, "tls_verify": None,
    }  # fmt: skip
    assert expected.items() <= by_name.items()
    assert "url" not in by_name
    assert isinstance(by_name["created_at"], int)
    route = admin.get("/routes/a").get_json()
    assert route["service"] == {"id": ID_OF_A}
    assert (route["strip_path"], route["preserve_host"], route["path_handling"]) == (True, False, "v0")
    plugin = admin.get("/routes/a/plugins").get_json()["data"][0]
    assert (plugin["name"], plugin["route"], plugin["config"]["credentials"]) == (
        "cors",
        {"id": route["id"]},
        False,
    )
    upstream_entity = admin.get("/upstreams/pool").get_json()
    assert upstream_entity["slots"] == 10000
    assert upstream_entity["healthchecks"]["active"]["healthy"]["http_statuses"] == [200, 302]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/services/a/routes", ["a"]),
        ("/services/b/plugins", []),
        ("/upstreams/pool/targets", [None, None]),
        ("/plugins", ["cors", "prometheus", "request-size-limiting"]),
        ("/services?tags=red", ["a"]),
        ("/services?tags=red,green", []),
        ("/consumers", []),
    ],
)
def test_lists_hold_what_belongs_there(admin: FlaskClient, path: str, names: list[str | None]) -> None:
    data = admin.get(path).get_json()["data"]
    assert sorted((item.get("name") for item in data), key=str) == names


def test_a_target_is_found_by_its_text(admin: FlaskClient) -> None:
    target = admin.get("/upstreams/pool/targets/cart.openfaas-fn:8000").get_json()
    assert (target["target"], target["weight"]) == ("cart.openfaas-fn:8000", 10)
    assert isinstance(target["created_at"], float)


@pytest.mark.parametrize("path", ["/services/x", "/nowhere", "/upstreams/x/health", "/services/x/routes"])
def test_unknown_is_404(admin: FlaskClient, path: str) -> None:
    answer = admin.get(path)
    assert (answer.status_code, answer.get_json()) == (404, {"message": "Not found"})


def test_health_is_told_for_each_address(admin: FlaskClient, upstream: Upstream) -> None:
    told = admin.get("/upstreams/pool/health").get_json()
    uuid.UUID(told["node_id"])
    by_target = {item["target"]: item for item in told["data"]}
    own = by_target[f"127.0.0.1:{upstream.server_port}"]
    assert own["health"] == "HEALTHY"
    assert own["data"]["addresses"] == [
        {"ip": "127.0.0.1", "port": upstream.server_port, "weight": 100, "health": "HEALTHY"}
    ]
    replicas = by_target["cart.openfaas-fn:8000"]["data"]
    assert [item["port"] for item in replicas["addresses"]] == [9, 10]
    assert replicas["weight"] == {"total": 20, "available": 20, "unavailable": 0}
    whole = admin.get("/upstreams/pool/health?balancer_health=1").get_json()["data"]
    assert (whole["balancer_health"], whole["details"]["weight"]["total"]) == ("HEALTHY", 120)


def test_target_without_addresses_is_a_dns_error(admin: FlaskClient, edge: RunningEdge) -> None:
    edge.edge.update_membership({})
    told = admin.get("/upstreams/pool/health").get_json()["data"]
    [gone] = [item for item in told if item["target"].startswith("cart")]
    assert (gone["health"], gone["data"]["addresses"]) == ("DNS_ERROR", {})


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("POST", "/services", "cannot create 'services' entities when not using a database"),
        ("PUT", "/routes/a", "cannot create or update 'routes' entities by 'name' when not using a database"),
        ("PATCH", "/plugins/a", "cannot update 'plugins' entities by 'name' when not using a database"),
        (
            "DELETE",
            "/upstreams/pool",
            "cannot remove 'upstreams' entities by 'name' when not using a database",
        ),
        ("POST", "/upstreams/pool/targets", "cannot create 'targets' entities when not using a database"),
    ],
)
def test_entities_cannot_be_written(admin: FlaskClient, method: str, path: str, message: str) -> None:
    answer = admin.open(path, method=method)
    expected = {"message": message, "code": 12, "name": "operation unsupported"}
    assert (answer.status_code, answer.get_json()) == (405, expected)


def test_wrong_methods_and_options_are_answered_as_kong_does(admin: FlaskClient) -> None:
    assert admin.put("/config").get_json() == {"message": "Method not allowed"}
    assert admin.post("/services", data="{", content_type="application/json").status_code == 400
    options = admin.options("/services")
    assert (options.status_code, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS, POST")


# /config


BODIES = [
    ("text/yaml", lambda text: text),
    ("application/yaml", lambda text: text),
    ("application/json", lambda text: json.dumps(yaml.safe_load(text))),
    ("application/json", lambda text: json.dumps({"config": text})),
    ("application/x-www-form-urlencoded", lambda text: text),
    ("application/x-www-form-urlencoded", lambda text: text + "# a=1&config=2?x\n"),
]


@pytest.mark.parametrize(
    ("kind", "body"), BODIES, ids=[f"{row[0]} {index}" for index, row in enumerate(BODIES)]
)
def test_configuration_is_taken_in_every_body_that_kong_takes(
    admin: FlaskClient, text: str, kind: str, body: object
) -> None:
    answer = admin.post("/config", data=body(text), content_type=kind)  # type: ignore[operator]
    assert answer.status_code == 201
    told = answer.get_json()
    assert set(told) == {"services", "routes", "upstreams", "targets", "plugins"}
    assert told["services"][ID_OF_A]["name"] == "a"


@pytest.mark.parametrize("as_file", [False, True])
def test_configuration_is_taken_from_a_form(admin: FlaskClient, text: str, as_file: bool) -> None:
    path = Path(tempfile.mkdtemp(prefix="edge-")) / "kong.yml"
    path.write_text(text)
    with path.open("rb") as file:
        field = (file, "kong.yml") if as_file else text
        answer = admin.post("/config", data={"config": field}, content_type="multipart/form-data")
    shutil.rmtree(path.parent)
    assert answer.status_code == 201
    assert admin.post("/config", data={"config": text}).status_code == 201


@pytest.mark.parametrize("kind", [None, "text/plain", "application/octet-stream", "application/x-yaml"])
def test_other_bodies_are_415(admin: FlaskClient, text: str, kind: str | None) -> None:
    answer = admin.post("/config", data=text, content_type=kind)
    assert (answer.status_code, answer.mimetype) == (415, "text/html")


def test_empty_and_broken_bodies_are_named(admin: FlaskClient) -> None:
    empty = admin.post("/config", data="", content_type="text/yaml")
    assert (empty.status_code, empty.get_json()) == (400, {"message": "expected a declarative configuration"})
    broken = admin.post("/config", data="{", content_type="application/json")
    assert (broken.status_code, broken.get_json()) == (400, {"message": "Cannot parse JSON body"})


def test_same_text_is_304_when_asked(admin: FlaskClient, text: str) -> None:
    assert admin.post("/config?check_hash=1", data=text, content_type="text/yaml").status_code == 304
    assert admin.post("/config?check_hash=1", data=text + "# x", content_type="text/yaml").status_code == 201


def test_faults_are_told_where_they_are_and_the_old_file_goes_on(
    admin: FlaskClient, edge: RunningEdge, text: str
) -> None:
    wrong = text.replace("retries: 0", "retires: 0", 1)
    answer = admin.post("/config", data=wrong, content_type="text/yaml")
    assert answer.status_code == 400
    assert answer.get_json() == {
        "code": 14,
        "name": "invalid declarative configuration",
        "message": 'declarative config is invalid: {services={[2]={retires="unknown field"}}}',
        "fields": {"services": [None, {"retires": "unknown field"}]},
    }
    assert edge.get("/a").status == 200
    flat = admin.post("/config?flatten_errors=1", data=wrong, content_type="text/yaml").get_json()
    assert (flat["message"], flat["fields"]) == ("declarative config is invalid: {}", {})
    [error] = flat["flattened_errors"]
    assert (error["entity_type"], error["entity_name"]) == ("service", "b")
    assert error["errors"] == [{"type": "field", "field": "retires", "message": "unknown field"}]


def test_what_only_envoy_can_judge_is_refused_too(admin: FlaskClient, edge: RunningEdge, text: str) -> None:
    wrong = text.replace("[/a]", "['~/a{1001}']")
    answer = admin.post("/config", data=wrong, content_type="text/yaml")
    assert answer.status_code == 400
    assert "the embedded edge cannot run this" in answer.get_json()["fields"]["error"]
    assert edge.get("/a").status == 200


def test_configuration_can_be_read_back_and_posted_again(admin: FlaskClient) -> None:
    read = admin.get("/config").get_json()["config"]
    assert "_format_version: '3.0'" in read
    assert "client_certificate: ~" in read
    again = admin.post("/config", data=read, content_type="text/yaml")
    assert again.status_code == 201
    assert again.get_json()["services"][ID_OF_A]["path"] == "/base"


def test_a_page_of_another_origin_cannot_change_the_edge(admin: FlaskClient, text: str) -> None:
    evil = {"Origin": "http://evil.example:8001"}
    answer = admin.post("/config", data=text, content_type="application/x-www-form-urlencoded", headers=evil)
    assert answer.status_code == 403
    own = {"Origin": "http://localhost:8001"}
    assert admin.post("/config", data=text, content_type="text/yaml", headers=own).status_code == 201
    assert "Access-Control-Allow-Origin" not in admin.get("/services", headers=evil).headers


# /metrics


def families(admin: FlaskClient) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    answer = admin.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; charset=UTF-8"
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.get_data(as_text=True)):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def labels(**given: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(given.items()))


def test_metrics_have_kongs_names_labels_and_sources(admin: FlaskClient, edge: RunningEdge) -> None:
    common = {"workspace": "default", "consumer": ""}

    def count(service: str, code: str, source: str) -> float:
        wanted = labels(service=service, route=service, code=code, source=source, **common)
        return families(admin).get("kong_http_requests_total", {}).get(wanted, 0)

    before = {
        key: count(*key) for key in [("a", "200", "service"), ("a", "413", "kong"), ("c", "502", "kong")]
    }
    edge.get("/a")
    edge.send("POST", "/a", body=b"x" * 1048577)
    edge.get("/c")
    edge.get("/nowhere")
    for key, value in before.items():
        wait_for(lambda key=key, value=value: count(*key) == value + 1, 5, f"one more of {key}")
    told = families(admin)
    assert not [item for item in told["kong_http_requests_total"] if dict(item)["service"] not in "abc"]
    assert labels(service="a", route="a", direction="egress", **common) in told["kong_bandwidth_bytes_total"]


def test_latencies_are_in_kongs_buckets_and_agree(admin: FlaskClient, edge: RunningEdge) -> None:
    here = labels(service="a", route="a", workspace="default")

    def count(name: str) -> float:
        return families(admin).get(f"{name}_count", {}).get(here, 0)

    before = count("kong_request_latency_ms")
    for _ in range(3):
        edge.get("/a")
    wait_for(lambda: count("kong_request_latency_ms") >= before + 3, 5, "three more")
    told = families(admin)
    assert told["kong_kong_latency_ms_count"][here] == told["kong_request_latency_ms_count"][here]
    bounds = [
        dict(item)["le"] for item in told["kong_kong_latency_ms_bucket"] if dict(item)["service"] == "a"
    ]
    assert bounds[:4] == ["1", "2", "5", "7"]
    bounds = [
        dict(item)["le"] for item in told["kong_upstream_latency_ms_bucket"] if dict(item)["service"] == "a"
    ]
    assert bounds == ["25", "50", "80", "100", "250", "400", "700", "1000", "2000", "5000", "10000", "30000", "60000", "+Inf"]  # fmt: skip
    fine = [dict(item)["le"] for item in told["localfaas_edge_request_duration_seconds_bucket"]]
    assert fine[0] == "0.0005"


def test_target_health_has_four_states_for_each_address(admin: FlaskClient) -> None:
    told = families(admin)["kong_upstream_target_health"]
    here = {
        dict(item)["state"]: value for item, value in told.items() if dict(item)["address"] == "127.0.0.1:9"
    }
    assert here == {"dns_error": 0, "healthchecks_off": 0, "healthy": 1, "unhealthy": 0}


def test_node_series_are_there_and_scripts_did_not_fail(admin: FlaskClient) -> None:
    told = families(admin)
    assert set(told["kong_datastore_reachable"].values()) == {1}
    assert list(told["localfaas_edge_script_errors_total"].values()) == [0]
    states = {dict(item)["state"] for item in told["kong_nginx_connections_total"]}
    assert {"accepted", "active", "handled", "total"} == states
