"""Section 15: /metrics, under Kong's names, labels and buckets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.exposition import exposed_rows
from tests.support.metrics_table import differences, documented
from tests.support.observed import Asked, Differs, HeldBy, Site, Table, cases
from tests.support.waiting import wait_for

SECTION = 15
HERE = "contract/kong_observed/test_15_metrics.py"
GROUPS = (
    "status_code_metrics: true, latency_metrics: true, bandwidth_metrics: true, upstream_health_metrics: true"
)
SERVICES = """
_format_version: "3.0"
services:
- {name: a, url: "http://127.0.0.1:$UPSTREAM", routes: [{name: a, paths: [/a]}]}
- {name: b, host: pool, retries: 0, routes: [{name: b, paths: [/b]}]}
- {name: c, url: "http://127.0.0.1:1", retries: 0, routes: [{name: c, paths: [/c]}]}
- {name: d, url: "http://127.0.0.1:$UPSTREAM", routes: [{name: d, paths: [/d], plugins: [{name: request-termination, config: {status_code: 401}}]}]}
upstreams:
- name: pool
  targets: [{target: "127.0.0.1:$UPSTREAM"}, {target: cart.openfaas-fn, weight: 10}, {target: "127.0.0.1:1", weight: 0}]
  healthchecks: {passive: {unhealthy: {tcp_failures: 3}}}
"""
CONFIG = (
    SERVICES
    + f"""
plugins:
- {{name: prometheus, config: {{{GROUPS}}}}}
- {{name: cors}}
- {{name: request-size-limiting, config: {{allowed_payload_size: 1, size_unit: kilobytes}}}}
- {{name: rate-limiting, config: {{minute: 1, limit_by: header, header_name: X-Who}}}}
"""
)
BARE = SERVICES + "plugins: [{name: prometheus}]\n"
KONG_MS = ["1", "2", "5", "7", "10", "15", "20", "30", "50", "75", "100", "200", "500", "750", "1000", "3000", "6000", "+Inf"]  # fmt: skip
OTHER_MS = ["25", "50", "80", "100", "250", "400", "700", "1000", "2000", "5000", "10000", "30000", "60000", "+Inf"]  # fmt: skip
TABLES = [
    Table(
        CONFIG,
        {
            "15.1 requests are counted by service, route, code and source": [
                HeldBy(HERE, "test_requests_are_counted_by_who_answered"),
                Asked("/metrics", has={"Content-Type": "text/plain; charset=UTF-8"}),
            ],
            "15.2 bytes by direction": [HeldBy(HERE, "test_bytes_are_counted_in_both_directions")],
            "15.3 the edge's own time in Kong's buckets": [HeldBy(HERE, "test_times_are_in_kongs_buckets"), Differs("whole milliseconds")],
            "15.4 the upstream's and the whole time in theirs": [HeldBy(HERE, "test_times_are_in_kongs_buckets")],
            "15.5 a target's health in four states for each address": [HeldBy(HERE, "test_target_health_has_four_states_for_each_address")],
            "15.6 the node's own series": [HeldBy(HERE, "test_node_series_are_there_without_any_group")],
            "15.7 connections by state": [HeldBy(HERE, "test_node_series_are_there_without_any_group"), Differs("reading, waiting, writing")],
            "15.8 timers and memory": [Differs("shared memory")],
            "15.9 errors while counting": [HeldBy(HERE, "test_node_series_are_there_without_any_group")],
            "15.10 labels come in Kong's order, consumer is always there": [HeldBy(HERE, "test_labels_come_in_kongs_order")],
            "15.11 groups that are off have no series": [HeldBy(HERE, "test_node_series_are_there_without_any_group"), Differs("switched off later")],
            "15.12 no route is not counted": [HeldBy(HERE, "test_what_has_no_route_is_not_counted")],
            "15.13 what never reached an upstream has no upstream time": [HeldBy(HERE, "test_what_never_reached_an_upstream_has_no_upstream_time"),
                                                                           Differs("a 502 has no upstream time")],
        },
    )
]  # fmt: skip
Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


@pytest.fixture(autouse=True)
def _loaded(site: Site) -> None:
    site.edge.edge.update_membership({"cart": [("127.0.0.1", 9)]})
    site.load(CONFIG)
    site.upstream.calm()


@pytest.mark.parametrize(("config", "asked"), cases(TABLES))
def test_metrics_answer_as_kong_does(site: Site, config: str, asked: Asked) -> None:
    site.ask(config, asked)


def text(site: Site) -> str:
    return site.admin.get("/metrics").get_data(as_text=True)


def samples(site: Site) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text(site)):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def labels(**given: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(given.items()))


def of(name: str, **more: str) -> tuple[tuple[str, str], ...]:
    """The labels of a series of service and route `name`."""
    return labels(service=name, route=name, workspace="default", **more)


def count(site: Site, metric: str, key: tuple[tuple[str, str], ...]) -> float:
    return samples(site).get(metric, {}).get(key, 0)


def test_requests_are_counted_by_who_answered(site: Site) -> None:
    expected = {
        ("a", "200", "service"): lambda: site.edge.get("/a", {"X-Who": "counted"}),
        ("a", "429", "kong"): lambda: site.edge.get("/a", {"X-Who": "counted"}),
        ("a", "413", "kong"): lambda: site.edge.send("POST", "/a", body=b"x" * 1025),
        ("c", "502", "kong"): lambda: site.edge.get("/c", {"X-Who": "invalid"}),
        ("d", "401", "kong"): lambda: site.edge.get("/d", {"X-Who": "refused"}),
        ("b", "200", "kong"): lambda: site.edge.send(
            "OPTIONS", "/b", {"Origin": "https://a", "Access-Control-Request-Method": "PUT"}
        ),
    }

    def counted(name: str, code: str, source: str) -> float:
        return count(site, "kong_http_requests_total", of(name, code=code, source=source, consumer=""))

    before = {key: counted(*key) for key in expected}
    for send in expected.values():
        send()
    for key, value in before.items():
        wait_for(lambda key=key, value=value: counted(*key) == value + 1, 5, f"one more of {key}")


def test_bytes_are_counted_in_both_directions(site: Site) -> None:
    site.edge.send("POST", "/a", {"X-Who": "bytes"}, body=b"x" * 1000)
    for direction, least in (("egress", 100), ("ingress", 1000)):
        key = of("a", direction=direction, consumer="")
        wait_for(
            lambda key=key, least=least: count(site, "kong_bandwidth_bytes_total", key) > least, 5, direction
        )


def test_times_are_in_kongs_buckets(site: Site) -> None:
    def counted() -> float:
        return count(site, "kong_request_latency_ms_count", of("a"))

    before = counted()
    for number in range(3):
        site.edge.get("/a", {"X-Who": f"timed {number}"})
    wait_for(lambda: counted() >= before + 3, 5, "three more")
    found = samples(site)
    assert found["kong_kong_latency_ms_count"][of("a")] == found["kong_request_latency_ms_count"][of("a")]
    for name, bounds in (("kong", KONG_MS), ("upstream", OTHER_MS), ("request", OTHER_MS)):
        own = {
            dict(key)["le"]: value
            for key, value in found[f"kong_{name}_latency_ms_bucket"].items()
            if ("service", "a") in key
        }
        assert list(own) == bounds
        assert all(low <= high for low, high in pairwise(own.values()))
    fine = [dict(key)["le"] for key in found["localfaas_edge_request_duration_seconds_bucket"]]
    assert fine[0] == "0.0005"


def test_target_health_has_four_states_for_each_address(site: Site) -> None:
    health = samples(site)["kong_upstream_target_health"]
    by_target: dict[str, dict[str, float]] = {}
    for key, value in health.items():
        own = dict(key)
        assert (own["upstream"], own["subsystem"]) == ("pool", "http")
        by_target.setdefault(f"{own['target']} {own['address']}", {})[own["state"]] = value
    well = {"dns_error": 0, "healthchecks_off": 0, "healthy": 1, "unhealthy": 0}
    port = site.upstream.server_port
    assert by_target == {
        f"127.0.0.1:{port} 127.0.0.1:{port}": well,
        "cart.openfaas-fn:8000 127.0.0.1:9": well,
        "127.0.0.1:1 127.0.0.1:1": {**well, "healthy": 0, "healthchecks_off": 1},
    }


def test_node_series_are_there_without_any_group(site: Site) -> None:
    site.load(BARE)
    found = samples(site)
    assert set(found["kong_datastore_reachable"].values()) == {1}
    assert set(found["kong_node_info"].values()) == {1}
    assert {"node_id", "version"} == {name for key in found["kong_node_info"] for name, _ in key}
    assert {"accepted", "active", "handled", "total"} == {
        dict(key)["state"] for key in found["kong_nginx_connections_total"]
    }
    assert list(found["kong_nginx_metric_errors_total"].values()) == [0]
    assert list(found["localfaas_edge_script_errors_total"].values()) == [0]
    assert not {
        "kong_http_requests_total",
        "kong_bandwidth_bytes_total",
        "kong_kong_latency_ms_count",
        "kong_upstream_target_health",
    } & set(found)


def test_labels_come_in_kongs_order(site: Site) -> None:
    site.edge.get("/a", {"X-Who": "order"})
    orders = {
        "kong_http_requests_total": "service,route,code,source,workspace,consumer",
        "kong_bandwidth_bytes": "service,route,direction,workspace,consumer",
        "kong_upstream_latency_ms_count": "service,route,workspace",
        "kong_upstream_target_health": "upstream,target,address,state,subsystem",
        "kong_nginx_connections_total": "node_id,subsystem,state",
    }

    def orders_found() -> dict[str, str]:
        lines = [line.partition("{") for line in text(site).splitlines() if "{" in line]
        return {name: ",".join(part.split("=")[0] for part in rest.split('",')) for name, _, rest in lines}

    wait_for(lambda: set(orders) <= set(orders_found()), 5, "all series")
    assert {name: order for name, order in orders_found().items() if name in orders} == orders


def test_what_has_no_route_is_not_counted(site: Site) -> None:
    site.edge.get("/nowhere")
    site.edge.send("TRACE", "/a")
    before = count(site, "kong_http_requests_total", of("a", code="200", source="service", consumer=""))
    site.edge.get("/a", {"X-Who": "after"})
    key = of("a", code="200", source="service", consumer="")
    wait_for(lambda: count(site, "kong_http_requests_total", key) > before, 5, "the next request")
    assert {dict(key)["route"] for key in samples(site)["kong_http_requests_total"]} <= set("abcd")
    assert not [
        key for key in samples(site)["kong_http_requests_total"] if dict(key)["code"] in ("404", "405")
    ]


def test_what_never_reached_an_upstream_has_no_upstream_time(site: Site) -> None:
    site.edge.get("/d", {"X-Who": "no upstream"})
    wait_for(lambda: count(site, "kong_request_latency_ms_count", of("d")) > 0, 5, "a request of d")
    found = samples(site)
    assert found["kong_kong_latency_ms_count"][of("d")] == found["kong_request_latency_ms_count"][of("d")]
    assert (
        of("d") not in found["kong_upstream_latency_ms_count"]
        or found["kong_upstream_latency_ms_count"][of("d")] == 0
    )


def test_every_metric_has_its_row_in_the_documents(site: Site) -> None:
    site.edge.send("POST", "/a", {"X-Who": "documented"}, body=b"x")
    wait_for(lambda: "localfaas_edge_request_duration_seconds_count" in text(site), 5, "a request counted")
    assert differences(documented("Embedded edge"), exposed_rows(text(site))) == ""
