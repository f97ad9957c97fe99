"""Section 13: `POST /config`, what it takes, and twenty wrong files: every fault named by its place, nothing changed."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
import yaml

from tests.support.observed import Asked, Differs, HeldBy, Site, Table, cases

SECTION = 13
HERE = "contract/kong_observed/test_13_config.py"
PARSED = "unit/test_kong_parse.py"
ID_OF_A = "72734e2a-702d-5711-b9ef-697178108ad8"
YAML = "text/yaml"
FORM = "application/x-www-form-urlencoded"
CONFIG = """
_format_version: "3.0"
services:
- {name: a, url: "http://127.0.0.1:$UPSTREAM/base", routes: [{name: a, paths: [/a], plugins: [{name: cors}]}]}
upstreams:
- {name: pool, targets: [{target: "127.0.0.1:$UPSTREAM"}]}
"""
PLAIN = CONFIG.replace("$UPSTREAM", "80")
TAKEN = {
    "services": {ID_OF_A: {"name": "a", "path": "/base", "retries": 5}},
    "routes": {},
    "upstreams": {},
    "targets": {},
    "plugins": {},
}


def taken(kind: str, data: Any) -> Asked:
    return Asked("/config", 201, "POST", data=data, kind=kind, part=TAKEN)


def untaken(kind: str | None) -> Asked:
    return Asked("/config", 415, "POST", data=PLAIN, kind=kind, has={"Content-Type": "text/html"})


TABLES = [
    Table(
        CONFIG,
        {
            "13.1 what is taken is answered 201 with its entities by id, and only kinds there are": [
                taken(YAML, CONFIG),
                Asked("/config", 201, "POST", data='_format_version: "3.0"', kind=YAML, told={}),
            ],
            "13.2 in every body that Kong takes": [
                taken("application/yaml", CONFIG),
                taken("text/yaml; charset=utf-8", CONFIG),
                taken("application/json", json.dumps(yaml.safe_load(CONFIG))),
                taken("application/json", json.dumps({"config": CONFIG})),
                taken(FORM, PLAIN),
                taken(FORM, PLAIN + "# a=1&config=2?x\n"),
                Asked("/config", 201, "POST", data={"config": PLAIN}, part=TAKEN),
                Asked("/config", 201, "POST", data={"config": PLAIN}, kind="multipart/form-data", part=TAKEN),
                HeldBy(HERE, "test_configuration_is_taken_from_a_file_in_a_form"),
            ],
            "13.3 and in no other": [untaken(kind) for kind in (None, "text/plain", "application/octet-stream", "application/x-yaml")],
            "13.4 an empty or broken body is named": [
                Asked("/config", 400, "POST", data="", kind=YAML, told={"message": "expected a declarative configuration"}),
                Asked("/config", 400, "POST", data=" \n", kind=YAML, told={"message": "expected a declarative configuration"}),
                Asked("/config", 400, "POST", data="{", kind="application/json", told={"message": "Cannot parse JSON body"}),
                Asked("/config", 400, "POST", data=b"\xff\xfe", kind=YAML),
            ],
            "13.5 faults are told as a tree that mirrors the file": [
                HeldBy(HERE, "test_faults_are_told_where_they_are"),
                HeldBy(HERE, "test_wrong_file_is_refused_with_every_fault_and_changes_nothing"),
            ],
            "13.6 or flat, by entity": [
                HeldBy(HERE, "test_faults_are_told_where_they_are"),
                Asked("/config?flatten_errors=1", 400, "POST", data="services: [", kind=YAML, part={"flattened_errors": {}, "code": 14}),
            ],
            "13.7 the same text is 304 when asked": [HeldBy(HERE, "test_same_text_is_304_when_asked")],
            "13.8 a reload loses no request": [HeldBy("contract/test_edge_failures.py", "test_reloads_under_load_lose_nothing")],
            "13.9 what was accepted last survives a restart": [
                HeldBy("contract/test_edge_failures.py", "test_last_configuration_survives_a_restart_of_envoy_and_of_the_edge"),
                Differs("`/status/ready`"),
            ],
            "13.10 names and references are told when every field is right": [
                HeldBy(PARSED, "test_names_and_references_are_checked_over_the_whole_file"),
            ],
            "13.11 a plugin on an unknown route is refused, where Kong answers 500": [
                Asked("/config", 400, "POST", data='{_format_version: "3.0", plugins: [{name: cors, route: x}]}', kind=YAML,
                      part={"fields": {"plugins": ["invalid reference 'route: x' (no such entry in 'routes')"]}}),
                Asked("/config", 400, "POST", data="- a", kind=YAML, part={"code": 14}),
                Asked("/config", 400, "POST", data='{_format_version: "3.0", services: [null]}', kind=YAML,
                      part={"fields": {"services": ["expected a record"]}}),
                Differs("a plugin that names an unknown route"),
            ],
            "13.12 each fault is told in Kong's words": [HeldBy(PARSED, "test_fault_is_told_in_kongs_words_at_its_place")],
        },
    )
]  # fmt: skip


@pytest.fixture(autouse=True)
def _loaded(site: Site) -> None:
    site.load(CONFIG)
    site.upstream.calm()


@pytest.mark.parametrize(("config", "asked"), cases(TABLES))
def test_config_answers_as_kong_does(site: Site, config: str, asked: Asked) -> None:
    site.ask(config, asked)


def posted(site: Site, text: str, query: str = "") -> Any:
    return site.admin.post(f"/config{query}", data=text, content_type=YAML)


def test_configuration_is_taken_from_a_file_in_a_form(site: Site) -> None:
    data = {"config": (io.BytesIO(PLAIN.encode()), "kong.yml")}
    client = site.admin
    assert client.post("/config", data=data, content_type="multipart/form-data").status_code == 201


def test_same_text_is_304_when_asked(site: Site) -> None:
    same = posted(site, site.written(CONFIG), "?check_hash=1")
    assert (same.status_code, same.data) == (304, b"")
    assert posted(site, site.written(CONFIG) + "# a comment", "?check_hash=1").status_code == 201


def test_configuration_can_be_read_back_and_posted_again(site: Site) -> None:
    client = site.admin
    before = client.get("/config").get_json()["config"]
    assert "_format_version: '3.0'" in before
    assert "client_certificate: ~" in before
    again = posted(site, before)
    assert again.status_code == 201
    assert again.get_json()["services"][ID_OF_A]["path"] == "/base"
    assert client.get("/config").get_json()["config"] == before


def test_faults_are_told_where_they_are(site: Site) -> None:
    wrong = site.written(CONFIG) + "plugins: [{name: cros}]\nroutes: [{name: r, paths: [/ok, a]}]\n"
    assert posted(site, wrong).get_json() == {
        "code": 14,
        "name": "invalid declarative configuration",
        "message": 'declarative config is invalid: {routes={{paths={[2]="should start with: / (fixed path) or ~/ (regex path)"}}},'
        "plugins={{name=\"plugin 'cros' not enabled; add it to the 'plugins' configuration property\"}}}",
        "fields": {
            "routes": [{"paths": [None, "should start with: / (fixed path) or ~/ (regex path)"]}],
            "plugins": [
                {"name": "plugin 'cros' not enabled; add it to the 'plugins' configuration property"}
            ],
        },
    }
    flat = posted(site, wrong, "?flatten_errors=1").get_json()
    assert (flat["message"], flat["fields"]) == ("declarative config is invalid: {}", {})
    route, plugin = flat["flattened_errors"]
    assert (route["entity_type"], route["entity_name"], route["entity"]["paths"]) == (
        "route",
        "r",
        ["/ok", "a"],
    )
    assert [(error["type"], error["field"]) for error in route["errors"]] == [("field", "paths.2")]
    assert (plugin["entity_type"], plugin["entity_name"]) == ("plugin", "cros")


HEAD = '_format_version: "3.0"\n'
NOT_HERE = "not supported by the embedded edge"
PATH_START = "should start with: / (fixed path) or ~/ (regex path)"
NO_MATCHER = "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"
WRONG_FILES: dict[str, tuple[str, dict[str, str]]] = {
    "broken YAML": ("services: [", {"error": "failed parsing declarative configuration: 2:1: did not find expected node content"}),
    "a tab": ("a:\n\tb: 1", {"error": "failed parsing declarative configuration: 2:1: found character that cannot start any token"}),
    "no version, an unknown key": ("services: []\ncolour: red\n", {"_format_version": "required field missing", "colour": "unknown field"}),
    "a version of the future": ('_format_version: "4.0"\n', {"_format_version": "expected one of: 1.1, 2.1, 3.0"}),
    "misspelt fields of two services": (
        HEAD + "services:\n- {name: a, host: x, retires: 1}\n- {name: b, host: y}\n- {name: c, host: z, conect_timeout: 1, port: x}\n",
        {"services.1.retires": "unknown field", "services.3.conect_timeout": "unknown field", "services.3.port": "expected an integer"},
    ),
    "a URL without a scheme": (
        HEAD + "services: [{name: a, url: 'gateway:8080/x'}]\n",
        {"services.1.host": "required field missing", "services.1.path": "should start with: /",
         "services.1.protocol": "expected one of: grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp"},
    ),
    "faults in nested routes": (
        HEAD + "services:\n- name: a\n  host: x\n  routes:\n  - {name: r, paths: [/a, b]}\n  - {name: s}\n  - {name: t, methods: [get], paths: [/a%zz]}\n",
        {"services.1.routes.1.paths.2": PATH_START, "services.1.routes.2.@entity.1": NO_MATCHER,
         "services.1.routes.3.methods.1": "invalid value: get", "services.1.routes.3.paths.1": "invalid url-encoded value: '%zz'"},
    ),
    "a regular expression that does not close": (HEAD + "routes: [{name: r, paths: ['~/([']}]\n", {"routes.1.paths.1": "invalid regex: '/([' "}),
    "timeouts and ports out of range": (
        HEAD + "services: [{name: a, host: x, read_timeout: 0, connect_timeout: 2147483647, port: 65536}]\n",
        {"services.1.read_timeout": "value should be between 1 and 2147483646", "services.1.connect_timeout": "value should be between 1 and 2147483646",
         "services.1.port": "value should be between 0 and 65535"},
    ),
    "wrong kinds of values": (
        HEAD + "services: {a: 1}\nroutes: [text]\nupstreams: [{name: u, targets: x}]\n",
        {"services": "expected an array", "routes.1": "expected a record", "upstreams.1.targets": "expected an array"},
    ),
    "an upstream wrong throughout": (
        HEAD + "upstreams:\n- name: a b\n  algorithm: fastest\n  slots: 9\n  healthchecks: {active: {healthy: {interval: -1}}, threshold: 101}\n"
        "  targets: [{target: '1.2.3.4:99999'}, {target: ok, weight: -1}]\n",
        {"upstreams.1.name": "Invalid name ('a b'); must be a valid hostname",
         "upstreams.1.algorithm": "expected one of: consistent-hashing, least-connections, round-robin, latency",
         "upstreams.1.slots": "value should be between 10 and 65536",
         "upstreams.1.healthchecks.active.healthy.interval": "value should be between 0 and 65535",
         "upstreams.1.healthchecks.threshold": "value should be between 0 and 100",
         "upstreams.1.targets.1.target": "Invalid target ('1.2.3.4:99999'); not a valid hostname or ip address",
         "upstreams.1.targets.2.weight": "value should be between 0 and 65535"},
    ),
    "hashing on a header without a name": (
        HEAD + "upstreams: [{name: u, algorithm: consistent-hashing, hash_on: header}]\n",
        {"upstreams.1.hash_on_header": "required field missing",
         "upstreams.1.@entity.1": "failed conditional validation given value of field 'hash_on'"},
    ),
    "plugins wrong in name and settings": (
        HEAD + "plugins:\n- {name: cros}\n- {name: rate-limiting}\n- {name: rate-limiting, config: {minute: 50, hour: 5}}\n"
        "- {name: cors, config: {methods: [GETS], origins: ['([']}}\n- {config: {}}\n",
        {"plugins.1.name": "plugin 'cros' not enabled; add it to the 'plugins' configuration property",
         "plugins.2.@entity.1": "at least one of these fields must be non-empty: 'config.second'",
         "plugins.3.config": "The limit for hour(5.0) cannot be lower than the limit for minute(50.0)",
         "plugins.4.config.methods.1": "expected one of: GET, HEAD,", "plugins.4.config.origins.1": "'([' is not a valid regex",
         "plugins.5.name": "required field missing"},
    ),
    "a bad limit of a nested plugin": (
        HEAD + "services: [{name: a, host: x, routes: [{name: r, paths: [/], plugins: [{name: request-size-limiting, config: {size_unit: miles}}]}]}]\n",
        {"services.1.routes.1.plugins.1.config.size_unit": "expected one of: megabytes, kilobytes, bytes"},
    ),
    "a nested entity that names its parent": (
        HEAD + "services: [{name: a, host: x, routes: [{name: r, paths: [/], service: a}]}]\n", {"services.1.routes.1.service": "unknown field"},
    ),
    "routes of no service, a plugin on no route": (
        HEAD + "routes: [{name: r, paths: [/a], service: x}]\nplugins: [{name: cors, route: y}]\n",
        {"routes.r.1": "invalid reference 'service: x' (no such entry in 'services')", "plugins.1": "invalid reference 'route: y'"},
    ),
    "the same names twice": (
        HEAD + "services: [{name: a, host: x}, {name: a, host: y}]\nupstreams: [{name: u}, {name: u}]\n",
        {"services.2": "uniqueness violation: 'services' entity with name set to 'a' already declared",
         "upstreams.2": "uniqueness violation: 'upstreams' entity with name set to 'u' already declared"},
    ),
    "the same plugin and target twice": (
        HEAD + "upstreams: [{name: u, targets: [{target: a}, {target: 'a:8000'}]}]\nplugins: [{name: cors}, {name: cors}]\n",
        {"targets.2": "uniqueness violation: 'targets' entity with primary key set to '",
         "plugins.2": "uniqueness violation: 'plugins' entity with primary key set to '"},
    ),
    "what only Kong has": (
        HEAD + "consumers: [{username: x}]\nservices: [{name: a, host: x, tls_verify: true}]\nplugins: [{name: jwt}]\n",
        {"consumers": NOT_HERE, "services.1.tls_verify": NOT_HERE, "plugins.1.name": f"plugin 'jwt' is {NOT_HERE}"},
    ),
    "what only Envoy can judge": (
        HEAD + "services: [{name: a, host: x, routes: [{name: r, paths: ['~/a{1001}']}]}]\n", {"error": "the embedded edge cannot run this: "},
    ),
    "an anchor that contains itself": ("a: &x [*x]", {"error": "failed parsing declarative configuration: 1:4: an anchor contains itself"}),
    "a file of another kind": ("<html></html>", {"error": "failed parsing declarative configuration: expected an object"}),
}  # fmt: skip


def leaves(tree: Any, place: str = "") -> dict[str, str]:
    """The texts of a tree of faults by place; list items count from 1."""
    if isinstance(tree, dict):
        items = [(key, value) for key, value in tree.items()]
    elif isinstance(tree, list):
        items = [(str(index), value) for index, value in enumerate(tree, start=1) if value is not None]
    else:
        return {place: tree}
    return {
        leaf: text
        for key, value in items
        for leaf, text in leaves(value, f"{place}.{key}".lstrip(".")).items()
    }


@pytest.mark.parametrize("name", WRONG_FILES)
def test_wrong_file_is_refused_with_every_fault_and_changes_nothing(site: Site, name: str) -> None:
    text, expected = WRONG_FILES[name]
    before = site.edge.edge.loaded
    refused = posted(site, text)
    assert refused.status_code == 400
    told = refused.get_json()
    assert (told["code"], told["name"]) == (14, "invalid declarative configuration")
    found = leaves(told["fields"])
    assert sorted(found) == sorted(expected)
    assert {place: found[place][: len(start)] for place, start in expected.items()} == expected
    assert site.edge.edge.loaded is before
    assert site.edge.get("/a").status == 200
