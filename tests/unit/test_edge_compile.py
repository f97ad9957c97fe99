"""Entities to Envoy resources. The golden files show the whole; rewrite them with UPDATE_GOLDEN=1 and read the diff."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from localfaas.edge import clusters, listener, lua, routes
from localfaas.edge.compile import Compiled, compile_edge
from localfaas.edge.kong_conf import Gzip, Node
from localfaas.edge.parse import parse
from localfaas.edge.resolve import Dns, Fixed, Gateway, Replicas, platform_resolver

GOLDEN = Path(__file__).parent / "golden" / "edge"
HEAD = '_format_version: "3.0"\n'
RESOLVE = platform_resolver(("127.0.0.1", 8080))


def compiled(text: str, membership: Any = None) -> Compiled:
    return compile_edge(
        parse(text), RESOLVE, membership or {}, eds_source=lambda name: {"path": f"eds/{name}"}
    )


def assert_golden(name: str, value: Any) -> None:
    path, text = GOLDEN / name, json.dumps(value, indent=1) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_a_shops_file_becomes_these_resources() -> None:
    found = compiled((GOLDEN / "shop.yml").read_text(), {"cart": [("127.0.0.1", 8008), ("127.0.0.1", 8018)]})
    assert_golden("shop.clusters.json", found.clusters)
    assert_golden("shop.endpoints.json", found.endpoints)
    assert_golden("shop.routes.json", found.routes)


def test_listener_and_bootstrap_are_these_whatever_the_file_says() -> None:
    header = ("Strict-Transport-Security", "max-age=1")
    node = Node(gzip=Gzip(("application/json",), min_length=1000, level=1), tls_header=header)
    door = listener.Door("127.0.0.1", 8000, 8443, node, "run/counts", {"path": "sds/sds.json"})
    made = listener.listeners(door, listener.rds({"path": "rds/rds.json"}))
    text = json.dumps(made).replace(json.dumps(lua.source("run/counts")), '"(the Lua text)"')
    assert_golden("listeners.json", json.loads(text))
    bootstrap = listener.bootstrap("admin.sock", {"path": "lds"}, {"path": "cds"}, open_files=65_536)
    assert_golden("bootstrap.json", bootstrap)


def test_a_plugin_can_be_left_out_of_what_envoy_is_given() -> None:
    text = HEAD + "routes: [{name: a, paths: [/a]}]\nplugins: [{name: rate-limiting, config: {minute: 1}}]\n"
    given, without = (
        compile_edge(
            parse(text), RESOLVE, {}, eds_source=lambda name: {"path": name}, without=frozenset(names)
        )
        for names in ((), ("rate-limiting",))
    )
    assert "x-ratelimit-limit-minute" in json.dumps(given.routes)
    assert "ratelimit" not in json.dumps(without.routes)


@pytest.mark.parametrize(
    ("protocols", "runs"), [("[tcp, tls]", False), ("[tcp, https]", True), ("[http]", True)]
)
def test_a_plugin_for_streams_alone_does_nothing_here(protocols: str, runs: bool) -> None:
    own = f"{{name: ip-restriction, protocols: {protocols}, config: {{deny: [10.0.0.1]}}}}"
    text = HEAD + f"services: [{{name: a, host: x, routes: [{{name: a, paths: [/a]}}]}}]\nplugins: [{own}]\n"
    assert ("ip-access" in json.dumps(compiled(text).routes)) is runs


def test_same_input_gives_the_same_output() -> None:
    text = (GOLDEN / "shop.yml").read_text()
    assert compiled(text) == compiled(text)


@pytest.mark.parametrize(
    ("host", "port", "meaning"),
    [
        ("gateway.openfaas", 8080, Gateway(("127.0.0.1", 8080))),
        ("gateway.openfaas.svc.cluster.local", 8080, Gateway(("127.0.0.1", 8080))),
        ("gateway.openfaas", 9999, Dns("gateway.openfaas", 9999)),
        ("cart.openfaas-fn", 8080, Replicas("cart")),
        ("cart-replicas.openfaas-fn", 8080, Replicas("cart")),
        ("order-lines-replicas.openfaas-fn.svc.cluster.local", 1, Replicas("order-lines")),
        ("10.0.0.1", 80, Fixed(("10.0.0.1", 80))),
        ("[::1]", 80, Fixed(("::1", 80))),
        ("shop.example", 80, Dns("shop.example", 80)),
    ],
)
def test_clusters_names_stand_for_this_machine(host: str, port: int, meaning: object) -> None:
    assert RESOLVE(host, port) == meaning


def test_membership_changes_endpoints_only() -> None:
    text = (GOLDEN / "shop.yml").read_text()
    none, two = compiled(text), compiled(text, {"cart": [("127.0.0.1", 1), ("127.0.0.1", 2)]})
    assert (none.clusters, none.routes) == (two.clusters, two.routes)
    assert none.endpoints["cart@1000"]["endpoints"] == []
    assert len(two.endpoints["cart@1000"]["endpoints"][0]["lb_endpoints"]) == 2


def test_services_of_one_address_share_a_cluster_unless_their_connect_timeouts_differ() -> None:
    text = (
        HEAD
        + "services:\n"
        + "".join(
            f"- {{name: s{index}, url: 'http://10.0.0.1/s{index}', connect_timeout: {timeout}}}\n"
            for index, timeout in enumerate((1000, 1000, 2000))
        )
    )
    assert [item["name"] for item in compiled(text).clusters] == ["10.0.0.1_80@1000", "10.0.0.1_80@2000"]


def route_order(text: str) -> list[str]:
    return [f"{item.route.name} {item.path}" for item in routes.in_order(parse(HEAD + text).routes)]


def test_each_path_of_a_route_is_weighed_by_itself() -> None:
    order = route_order(
        """routes:
- {name: short-and-long, paths: [/a, /a/long/one]}
- {name: middle, paths: [/a/mid]}
- {name: regex, paths: ['~/a']}
- {name: urgent, paths: ['~/a'], regex_priority: 9}
- {name: post, paths: [/], methods: [POST]}
"""
    )
    assert order == [
        "post /",
        "urgent ~/a",
        "regex ~/a",
        "short-and-long /a/long/one",
        "middle /a/mid",
        "short-and-long /a",
    ]


def test_equal_routes_are_ordered_by_the_greatest_id() -> None:
    order = route_order("routes: [{name: a, paths: [/x]}, {name: b, paths: [/x]}, {name: c, paths: [/x]}]")
    ids = {f"{route.name} /x": route.id for route in parse(HEAD + "routes: [{name: a, paths: [/x]}, {name: b, paths: [/x]}, {name: c, paths: [/x]}]").routes}  # fmt: skip
    assert order == sorted(order, key=ids.__getitem__, reverse=True)


def plugins_of(found: Compiled, route: str) -> str:
    [host] = found.routes["virtual_hosts"]
    configured = [item["typed_per_filter_config"]["edge"] for item in host["routes"] if item["name"] == route]
    return str(configured[0]["filter_context"]["conf"])


def test_nearest_plugin_counts() -> None:
    found = compiled(
        HEAD
        + """services:
- name: a
  host: 10.0.0.1
  plugins: [{name: request-termination, config: {message: service}}]
  routes:
  - {name: r1, paths: [/1], plugins: [{name: request-termination, config: {message: route}}]}
  - {name: r2, paths: [/2]}
- {name: b, host: 10.0.0.1, routes: [{name: r3, paths: [/3]}]}
plugins: [{name: request-termination, config: {message: everywhere}}]
"""
    )
    for route, word in (("r1", "route"), ("r2", "service"), ("r3", "everywhere"), ("no-route", "everywhere")):
        assert f'["message"]="{word}"' in plugins_of(found, route)


def test_plugins_run_in_kongs_order_whatever_the_files() -> None:
    names = ["request-termination", "cors", "correlation-id"]
    found = compiled(
        HEAD
        + "services: [{name: a, host: 10.0.0.1, routes: [{name: r, paths: [/a]}]}]\n"
        + f"plugins: [{', '.join(f'{{name: {name}}}' for name in names)}]\n"
    )
    text = plugins_of(found, "r")
    positions = [text.index(f'"{name}"') for name in reversed(names)]
    assert positions == sorted(positions)


def test_dns_names_stay_names_and_do_not_hold_up_the_start() -> None:
    [cluster] = compiled(HEAD + "services: [{name: a, url: 'http://shop.example:81'}]").clusters
    assert (cluster["type"], cluster["wait_for_warm_on_init"]) == ("STRICT_DNS", False)
    [group] = cluster["load_assignment"]["endpoints"]
    address = group["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    assert address == {"address": "shop.example", "port_value": 81}


def checks(text: str) -> dict[str, Any]:
    [cluster] = compiled(
        HEAD + "services: [{name: a, host: u}]\n" + f"upstreams: [{{name: u, healthchecks: {text}}}]\n"
    ).clusters
    return cluster


def test_checks_that_are_off_stay_off() -> None:
    cluster = checks("{}")
    assert "health_checks" not in cluster
    assert "outlier_detection" not in cluster
    assert cluster["common_lb_config"]["healthy_panic_threshold"] == {"value": 0}
    assert "zone_aware_lb_config" not in cluster["common_lb_config"]


def test_threshold_stops_traffic_below_it() -> None:
    config = checks("{threshold: 60}")["common_lb_config"]
    assert config["healthy_panic_threshold"] == {"value": 60}
    assert config["zone_aware_lb_config"] == {"fail_traffic_on_panic": True}


@pytest.mark.parametrize(
    ("healthy", "unhealthy", "out"), [(0, 0, "30s"), (1, 0, "30s"), (1, 2, "30s"), (0, 2, "2s")]
)
def test_who_is_put_out_by_traffic_is_tried_when_kong_would_probe_it(
    healthy: int, unhealthy: int, out: str
) -> None:
    active = f"{{healthy: {{interval: {healthy}, successes: 1}}, unhealthy: {{interval: {unhealthy}, tcp_failures: 1}}}}"
    found = checks(f"{{active: {active}, passive: {{unhealthy: {{tcp_failures: 1}}}}}}")["outlier_detection"]
    assert (found["base_ejection_time"], found["max_ejection_time"]) == (out, out)


def test_smallest_counter_is_the_threshold_and_unlisted_statuses_are_no_failure() -> None:
    unhealthy = "{interval: 2, tcp_failures: 3, http_failures: 2, timeouts: 4, http_statuses: [500]}"
    [check] = checks(f"{{active: {{healthy: {{interval: 1, successes: 2}}, unhealthy: {unhealthy}}}}}")[
        "health_checks"
    ]
    assert (check["unhealthy_threshold"], check["healthy_threshold"]) == (2, 2)
    assert (check["interval"], check["unhealthy_interval"]) == ("1s", "2s")
    probe = check["http_health_check"]
    assert probe["expected_statuses"] == [{"start": 100, "end": 500}, {"start": 501, "end": 600}]
    assert probe["retriable_statuses"] == [{"start": 500, "end": 501}]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nil"),
        (True, "true"),
        (7, "7"),
        ('a"b\\c\n', '"a\\"b\\\\c\\010"'.replace('\\"', "\\034").replace("\\\\", "\\092")),
        ("é", '"\\195\\169"'),
        ([1, "x"], '{1,"x"}'),
        ({"a": None, "b": {"c": False}}, '{["b"]={["c"]=false}}'),
    ],
)
def test_lua_literal_holds_the_value_and_cannot_leave_its_quotes(value: Any, text: str) -> None:
    assert lua.literal(value) == text


def test_endpoint_of_weight_zero_is_left_out() -> None:
    found = compiled(
        HEAD
        + "services: [{name: a, host: u}]\n"
        + "upstreams: [{name: u, targets: [{target: '10.0.0.1:80', weight: 0}, {target: '10.0.0.2:80'}]}]\n"
    )
    [group] = found.endpoints["u@60000"]["endpoints"]
    assert [item["load_balancing_weight"] for item in group["lb_endpoints"]] == [100]


def test_upstream_is_found_by_the_services_host() -> None:
    configuration = parse(
        HEAD + "services: [{name: a, host: u}, {name: b, host: v}]\nupstreams: [{name: u}]\n"
    )
    found = [clusters.upstream_of(service, configuration) for service in configuration.services]
    assert [item.name if item else None for item in found] == ["u", None]
