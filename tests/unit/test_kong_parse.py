"""kong.yml read and refused in Kong's words, at Kong's places (kong-observed, sections 12 to 14)."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from localfaas.edge import document
from localfaas.edge.entities import entity_id
from localfaas.edge.errors import KongConfigError
from localfaas.edge.parse import parse

PROJECT = Path(__file__).parents[2]
HEAD = '_format_version: "3.0"\n'


def refused(text: str) -> KongConfigError:
    with pytest.raises(KongConfigError) as caught:
        parse(text)
    return caught.value


def at(tree: Any, path: str) -> Any:
    """The value at a dotted path; numbers count from 1, as Kong does."""
    for part in path.split("."):
        tree = tree[int(part) - 1] if part.isdecimal() and isinstance(tree, list) else tree[part]
    return tree


def test_the_projects_own_file_is_accepted() -> None:
    configuration = parse((PROJECT / "kong" / "kong.yml").read_text())
    assert {"products", "cart"} <= {service.name for service in configuration.services}


def test_only_a_version_is_a_valid_empty_configuration() -> None:
    assert parse('{"_format_version": "3.0"}').services == ()


YAML_FAULTS = [
    ("a: [1, 2\n", "2:1: did not find expected ',' or ']'"),
    ("a:\n\tb: 1", "2:1: found character that cannot start any token"),
    ("a: 1\nb:\n  *x", "3:3: invalid reference: x"),
    ("text", "expected an object"),
    ("- a", "expected an object"),
    ("", "expected an object"),
    ("a: &x [*x]", "1:4: an anchor contains itself"),
    ("a: 0x_", "1:4: not a value of its type, tag:yaml.org,2002:int"),
    ("a: !!bool maybe", "1:4: not a value of its type, tag:yaml.org,2002:bool"),
    ("a: !!float x", "1:4: not a value of its type, tag:yaml.org,2002:float"),
    ("a: " + "9" * 5000, "1:4: not a value of its type, tag:yaml.org,2002:int"),
    ("a: {b: 1, ? [c] : d}", "1:13: a key must be a text"),
    ("a: " + "[" * 900 + "]" * 900, "nested too deeply"),
    ("a: b\nc: é\x01", "2:5: control characters are not allowed"),
    ("a: \ud800", "half a surrogate pair is not a character"),
]


@pytest.mark.parametrize(("text", "told"), YAML_FAULTS)
def test_broken_yaml_is_told_with_line_and_column(text: str, told: str) -> None:
    assert refused(text).tree == {"error": f"failed parsing declarative configuration: {told}"}


def test_aliases_that_stand_for_more_than_memory_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MOST_VALUES", 1000)
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 12)]
    assert "more than 1000 values" in refused("\n".join(rows)).tree["error"]


def test_a_date_is_a_text_as_for_kong() -> None:
    (service,) = parse(HEAD + "services: [{name: a, host: x, tags: [2026-01-05, 2026-99-99]}]").services
    assert service.fields["tags"] == ["2026-01-05", "2026-99-99"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("services: []", "required field missing"),
        ('_format_version: "9.9"', "expected one of: 1.1, 2.1, 3.0"),
        ("_format_version: 3.0", "expected a string"),
    ],
)
def test_version_is_checked(text: str, told: str) -> None:
    assert refused(text).tree == {"_format_version": told}


SERVICE = "services: [{{name: a, host: x, {}}}]"
ROUTE = "services: [{{name: a, host: x, routes: [{{name: r, {}}}]}}]"
UPSTREAM = "upstreams: [{{name: u, {}}}]"
PLUGIN = "plugins: [{{name: {}}}]"
FAULTS = [
    (SERVICE.format("retires: 1"), "services.1.retires", "unknown field"),
    (SERVICE.format("retries: x"), "services.1.retries", "expected an integer"),
    (SERVICE.format("retries: 1.5"), "services.1.retries", "expected an integer"),
    (SERVICE.format("path: 7"), "services.1.path", "expected a string"),
    (SERVICE.format("enabled: 1"), "services.1.enabled", "expected a boolean"),
    (SERVICE.format("routes: {}"), "services.1.routes", "expected an array"),
    (SERVICE.format("read_timeout: 0"), "services.1.read_timeout", "value should be between 1 and 2147483646"),
    (SERVICE.format("port: 65536"), "services.1.port", "value should be between 0 and 65535"),
    (SERVICE.format("path: a"), "services.1.path", "should start with: /"),
    ("services: [{name: a b, host: x}]", "services.1.name", "invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~"),
    ("services: [{name: a}]", "services.1.host", "required field missing"),
    ("services: [{name: a, url: 'gateway:8080/x'}]", "services.1.host", "required field missing"),
    ("services: [{name: a, url: 'gateway:8080/x'}]", "services.1.path", "should start with: /"),
    ("services: [{name: a, url: 'gateway:8080/x'}]", "services.1.protocol", "expected one of: grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp"),
    (SERVICE.format("retries: .inf"), "services.1.retries", "expected an integer"),
    (SERVICE.format("port: .nan"), "services.1.port", "expected an integer"),
    ("services: [{name: a, url: 'http://[::1'}]", "services.1.host", "required field missing"),
    ("services: [{name: a, url: 'http://a:99999'}]", "services.1.port", "value should be between 0 and 65535"),
    (ROUTE.format("paths: [/], headers: {x-a: ~}"), "services.1.routes.1.headers.x-a", "required field missing"),
    ("services: [null]", "services.1", "expected a record"),
    ("services: {}", "services", "expected an array"),
    ("colour: red", "colour", "unknown field"),
    ("_info: {}", "_info", "unknown field"),
    (ROUTE.format("paths: [a]"), "services.1.routes.1.paths.1", "should start with: / (fixed path) or ~/ (regex path)"),
    (ROUTE.format("paths: ['/ok', '/a%zz']"), "services.1.routes.1.paths.2", "invalid url-encoded value: '%zz'"),
    (ROUTE.format("paths: ['~/([']"), "services.1.routes.1.paths.1", "invalid regex: '/(['"),
    (ROUTE.format("methods: [get]"), "services.1.routes.1.methods.1", "invalid value: get"),
    (ROUTE.format("tags: [a]"), "services.1.routes.1.@entity.1", "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"),
    (UPSTREAM.format("slots: 9"), "upstreams.1.slots", "value should be between 10 and 65536"),
    (UPSTREAM.format("algorithm: x"), "upstreams.1.algorithm", "expected one of: consistent-hashing, least-connections, round-robin, latency"),
    (UPSTREAM.format("hash_on: header"), "upstreams.1.hash_on_header", "required field missing"),
    (UPSTREAM.format("hash_on: header"), "upstreams.1.@entity.1", "failed conditional validation given value of field 'hash_on'"),
    (UPSTREAM.format("healthchecks: {active: {healthy: {interval: -1}}}"), "upstreams.1.healthchecks.active.healthy.interval", "value should be between 0 and 65535"),
    (UPSTREAM.format("healthchecks: {passive: {unhealthy: {tcp_failures: 256}}}"), "upstreams.1.healthchecks.passive.unhealthy.tcp_failures", "value should be between 0 and 255"),
    (UPSTREAM.format("healthchecks: {passive: {unhealthy: {http_statuses: [99]}}}"), "upstreams.1.healthchecks.passive.unhealthy.http_statuses.1", "value should be between 100 and 999"),
    (UPSTREAM.format("targets: [{target: '1.2.3.4:99999'}]"), "upstreams.1.targets.1.target", "Invalid target ('1.2.3.4:99999'); not a valid hostname or ip address"),
    ("upstreams: [{name: a b}]", "upstreams.1.name", "Invalid name ('a b'); must be a valid hostname"),
    (PLUGIN.format("cros"), "plugins.1.name", "plugin 'cros' not enabled; add it to the 'plugins' configuration property"),
    (PLUGIN.format("rate-limiting"), "plugins.1.@entity.1", "at least one of these fields must be non-empty: 'config.second', 'config.minute', 'config.hour', 'config.day', 'config.month', 'config.year'"),
    (PLUGIN.format("rate-limiting, config: {minute: 50, hour: 5}"), "plugins.1.config", "The limit for hour(5.0) cannot be lower than the limit for minute(50.0)"),
    (PLUGIN.format("rate-limiting, config: {minute: 5, policy: cluster}"), "plugins.1.config.policy", "expected one of: local, redis"),
    (PLUGIN.format("cors, config: {origins: ['([']}"), "plugins.1.config.origins.1", "'([' is not a valid regex"),
    (PLUGIN.format("cors, config: {origins: ['http://[::1']}"), "plugins.1.config.origins.1", "'http://[::1' is not an origin: Invalid IPv6 URL"),
    (PLUGIN.format("cors, config: {methods: [GETS]}"), "plugins.1.config.methods.1", "expected one of: GET, HEAD, PUT, PATCH, POST, DELETE, OPTIONS, TRACE, CONNECT"),
    (PLUGIN.format("correlation-id, config: {generator: x}"), "plugins.1.config.generator", "expected one of: uuid, uuid#counter, tracker"),
    (PLUGIN.format("request-size-limiting, config: {size_unit: x}"), "plugins.1.config.size_unit", "expected one of: megabytes, kilobytes, bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "told"), FAULTS)
def test_fault_is_told_in_kongs_words_at_its_place(text: str, place: str, told: str) -> None:
    assert at(refused(HEAD + text).tree, place).startswith(told)


NOT_SUPPORTED = [
    ("consumers: [{username: x}]", "consumers"),
    (SERVICE.format("protocol: https"), "services.1.protocol"),
    (SERVICE.format("tls_verify: true"), "services.1.tls_verify"),
    (ROUTE.format("paths: [/a], protocols: [grpcs]"), "services.1.routes.1.protocols.1"),
    (ROUTE.format("paths: [/a], path_handling: v1"), "services.1.routes.1.path_handling"),
    (ROUTE.format("snis: [a]"), "services.1.routes.1.snis"),
    (ROUTE.format("paths: ['~/a(?=b)']"), "services.1.routes.1.paths.1"),
    (ROUTE.format("paths: [/a], hosts: ['a:80']"), "services.1.routes.1.hosts.1"),
    (UPSTREAM.format("algorithm: latency"), "upstreams.1.algorithm"),
    (UPSTREAM.format("hash_on: consumer"), "upstreams.1.hash_on"),
    (UPSTREAM.format("hash_on: ip"), "upstreams.1.hash_on"),
    (UPSTREAM.format("use_srv_name: true"), "upstreams.1.use_srv_name"),
    (UPSTREAM.format("healthchecks: {active: {type: https}}"), "upstreams.1.healthchecks.active.type"),
    (PLUGIN.format("jwt"), "plugins.1.name"),
    (PLUGIN.format("cors, consumer: x"), "plugins.1.consumer"),
    (PLUGIN.format("rate-limiting, config: {minute: 1, policy: redis}"), "plugins.1.config.policy"),
    (PLUGIN.format("correlation-id, config: {generator: tracker}"), "plugins.1.config.generator"),
    (PLUGIN.format("request-termination, config: {echo: true}"), "plugins.1.config.echo"),
    (PLUGIN.format("response-transformer, config: {add: {json: ['a:1']}}"), "plugins.1.config.add.json"),
    (PLUGIN.format("prometheus, config: {per_consumer: true}"), "plugins.1.config.per_consumer"),
]


@pytest.mark.parametrize(("text", "place"), NOT_SUPPORTED)
def test_what_the_edge_lacks_is_refused_by_name_and_line(text: str, place: str) -> None:
    error = refused(HEAD + text)
    assert "not supported by the embedded edge" in at(error.tree, place)
    assert str(error).startswith("line 2: ")


WHOLE = (
    HEAD
    + """
services:
- name: a
  url: http://a:80/x
  tags: [x]
  routes: [{name: r, paths: [/a], hosts: [a.b], headers: {x-a: [b]}, methods: [GET], plugins: [{name: cors, config: {origins: [a]}}]}]
routes: [{name: s, paths: ['~/s'], service: a}]
upstreams:
- name: u
  algorithm: consistent-hashing
  hash_on: header
  hash_on_header: x-a
  healthchecks: {active: {healthy: {interval: 1, http_statuses: [200]}}, threshold: 5}
  targets: [{target: 'a:80', weight: 1}]
plugins:
- {name: rate-limiting, config: {minute: 5, policy: local}}
- {name: ip-restriction, route: r, config: {allow: [10.0.0.0/8]}}
- {name: response-transformer, service: a, config: {add: {headers: ['a:b']}}}
"""
)
ODD_VALUES = [None, -1, 1e99, float("inf"), float("nan"), 10**30, True, "", "a b", "http://[::1", "a\0b", "::", "*.", [], [None], [[]], {}, {"a": None}]  # fmt: skip


def places(node: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield place
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from places(value, (*place, key))


def with_value(document: Any, place: tuple[str | int, ...], value: Any) -> Any:
    if not place:
        return value
    changed = copy.copy(document)
    changed[place[0]] = with_value(document[place[0]], place[1:], value)
    return changed


@pytest.mark.parametrize("value", ODD_VALUES, ids=repr)
def test_odd_value_is_taken_or_refused_wherever_it_stands(value: Any) -> None:
    document = yaml.safe_load(WHOLE)
    for place in places(document):
        try:
            parse(yaml.dump(with_value(document, place, value), Dumper=yaml.CSafeDumper))
        except KongConfigError as refusal:
            assert json.dumps(refusal.body())
            assert json.dumps(refusal.flattened_body())


def test_all_faults_of_fields_are_told_at_once() -> None:
    text = (
        HEAD
        + "services:\n- {name: a, host: x}\n- {name: b, host: y, retires: 1, port: x}\nplugins: [{name: cros}]\n"
    )
    error = refused(text)
    assert (
        error.tree["services"]
        == [
            None,
            {"retires": "unknown field", "port": "expected an integer"},
        ][:2]
    )
    assert "plugins" in error.tree
    assert error.body()["message"].startswith(
        'declarative config is invalid: {services={[2]={retires="unknown field"'
    )


REFERENCES = [
    ("routes: [{name: r, paths: [/a], service: nosuch}]", "routes.r.1", "invalid reference 'service: nosuch' (no such entry in 'services')"),
    ("services: [{name: a, host: x}, {name: a, host: y}]", "services.2", "uniqueness violation: 'services' entity with name set to 'a' already declared"),
    ("plugins: [{name: cors}, {name: cors}]", "plugins.2", f"uniqueness violation: 'plugins' entity with primary key set to '{entity_id('plugins', 'plugins:*:cors:::')}' already declared"),
    ("plugins: [{name: cors, instance_name: x}, {name: prometheus, instance_name: x}]", "plugins.2", "uniqueness violation: 'plugins' entity with instance_name set to 'x' already declared"),
    ("plugins: [{name: cors, route: nosuch}]", "plugins.1", "invalid reference 'route: nosuch' (no such entry in 'routes')"),
    ("upstreams: [{name: u, targets: [{target: a}, {target: 'a:8000'}]}]", "targets.2", "uniqueness violation: 'targets' entity with primary key set to '"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "told"), REFERENCES)
def test_names_and_references_are_checked_over_the_whole_file(text: str, place: str, told: str) -> None:
    assert at(refused(HEAD + text).tree, place).startswith(told)


def test_route_names_are_unique_over_all_services() -> None:
    text = (
        HEAD
        + "services:\n"
        + "".join(f"- {{name: {name}, host: x, routes: [{{name: r, paths: [/{name}]}}]}}\n" for name in "ab")
    )
    assert "with name set to 'r' already declared" in at(refused(text).tree, "routes.2")


def test_ids_are_functions_of_names() -> None:
    configuration = parse(
        HEAD
        + "services: [{name: a, host: x, routes: [{name: r, paths: [/a], plugins: [{name: cors}]}]}]\n"
        + "upstreams: [{name: u, targets: [{target: a}]}]\n"
    )
    assert configuration.services[0].id == "72734e2a-702d-5711-b9ef-697178108ad8"
    [route], [upstream], [plugin] = configuration.routes, configuration.upstreams, configuration.plugins
    assert configuration.targets[0].id == entity_id("targets", f"targets:*:{upstream.id}:a:8000")
    assert plugin.id == entity_id("plugins", f"plugins:*:cors:{route.id}::")
    assert plugin.route_id == route.id


def test_references_at_top_level_join_what_nesting_joins() -> None:
    nested = parse(HEAD + "services: [{name: a, host: x, routes: [{name: r, paths: [/a]}]}]")
    flat = parse(HEAD + "services: [{name: a, host: x}]\nroutes: [{name: r, paths: [/a], service: a}]")
    assert nested.routes == flat.routes


def test_anchors_merge_keys_comments_and_repeated_keys_work() -> None:
    configuration = parse(
        HEAD
        + "_comment: free\n_ignore: [{x: &t {retries: 1, read_timeout: 7}}]\n"
        + "services:\n- {<<: *t, name: a, name: b, host: x, _comment: dropped}\n"
        + "---\nservices: 7\n"
    )
    [service] = configuration.services
    assert (service.name, service.retries, service.read_timeout_ms) == ("b", 1, 7)


def test_url_is_split_and_its_port_follows_the_scheme() -> None:
    configuration = parse(HEAD + "services: [{name: a, url: 'http://x/y'}, {name: b, url: 'http://x:81'}]")
    assert [(item.host, item.port, item.path) for item in configuration.services] == [
        ("x", 80, "/y"),
        ("x", 81, "/"),
    ]


def test_faults_of_a_merged_value_point_to_where_it_is_written() -> None:
    text = HEAD + "_ignore: [{x: &t {retries: many}}]\nservices:\n- {<<: *t, name: a, host: x}\n"
    assert str(refused(text)) == "line 2: services.1.retries: expected an integer"
