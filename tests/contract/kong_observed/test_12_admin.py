"""Section 12: the Admin API of a Kong without a database."""

from __future__ import annotations

import re
import uuid

import pytest

from tests.support.observed import ABSENT, DIGITS, JSON_KIND, Asked, Differs, HeldBy, Site, Table, cases

SECTION = 12
HERE = "contract/kong_observed/test_12_admin.py"
ID_OF_A = "72734e2a-702d-5711-b9ef-697178108ad8"
"""What Kong gives to a service named `a`."""
UUID5 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
WHOLE, FRACTION = re.compile(r"\d{10}"), re.compile(r"\d{10}\.\d+")
CONFIG = """
_format_version: "3.0"
services:
- {name: a, url: "http://127.0.0.1:$UPSTREAM/base", tags: [red, blue], routes: [{name: a, paths: [/a], plugins: [{name: cors}]}]}
- {name: b, host: pool, retries: 0, plugins: [{name: request-termination}], routes: [{name: b, paths: [/b]}]}
- {name: c, url: "http://127.0.0.1:1/", routes: [{name: c, paths: [/c]}]}
routes:
- {name: lonely, paths: [/lonely], tags: [red]}
upstreams:
- name: pool
  targets: [{target: "127.0.0.1:$UPSTREAM"}, {target: cart.openfaas-fn, weight: 10}]
  healthchecks: {passive: {unhealthy: {tcp_failures: 3}}}
plugins:
- {name: prometheus}
"""
NOT_FOUND = {"message": "Not found"}
SIZE = {"message": "size must be an integer between 1 and 1000", "code": 9, "name": "invalid size"}
EMPTY = {"data": [], "next": None}
NOTHING_PASSIVE = {"tcp_failures": 0, "timeouts": 0, "http_failures": 0}


def refused(method: str, path: str, text: str) -> Asked:
    body = {"message": f"{text} when not using a database", "code": 12, "name": "operation unsupported"}
    return Asked(path, 405, method, told=body)


def unknown(path: str) -> Asked:
    return Asked(path, 404, told=NOT_FOUND)


TABLES = [
    Table(
        CONFIG,
        {
            "12.1 every answer is JSON with the time it took": [
                Asked("/services", has={"Content-Type": JSON_KIND, "X-Kong-Admin-Latency": DIGITS, "Server": "localfaas/$VERSION",
                                        "X-Kong-Request-Id": ABSENT}),
                Asked("/nowhere", 404, has={"Content-Type": JSON_KIND, "X-Kong-Admin-Latency": DIGITS}, told=NOT_FOUND),
            ],
            "12.2 pages of this machine may read it, others may not": [
                Asked("/services", headers={"Origin": "http://localhost:8002"},
                      has={"Access-Control-Allow-Origin": "http://localhost:8002", "Access-Control-Allow-Credentials": "true", "Vary": "Origin"}),
                Asked("/services", headers={"Origin": "http://evil.example"}, has={"Access-Control-Allow-Origin": ABSENT, "Vary": "Origin"}),
                Asked("/services", headers={"Origin": "http://["}, has={"Access-Control-Allow-Origin": ABSENT}),
                Asked("/config", 403, "POST", headers={"Origin": "http://evil.example:8001"}, data="x", kind="application/x-www-form-urlencoded"),
                Differs("pages of this machine only"),
            ],
            "12.3 the node tells what it is, in Kong's keys and as itself": [
                Asked("/", part={
                    "version": "3.9.3-localfaas", "edition": "community", "tagline": re.compile("localfaas .*: the embedded edge, .*"),
                    "node_id": re.compile(r"[0-9a-f-]{36}"), "hostname": re.compile(".+"), "pids": {"workers": []},
                    "plugins": {"available_on_server": {"cors": {"priority": 2000}, "rate-limiting": {"priority": 910}},
                                "enabled_in_cluster": ["cors", "prometheus", "request-termination"]},
                    "configuration": {"database": "off", "router_flavor": "traditional_compatible"},
                    "timers": {"running": 0},
                }),
                Differs("`lua_version`"),
            ],
            "12.4 the status counts and shows the configuration's hash": [
                Asked("/status", part={"configuration_hash": re.compile("[0-9a-f]{32}"), "server": {"connections_active": 0}, "memory": {}}),
                HeldBy(HERE, "test_status_counts_requests"),
                Differs("`connections_reading`"),
            ],
            "12.5 lists are pages in order of id": [
                HeldBy(HERE, "test_pages_follow_each_other_in_order_of_id"),
                *(Asked(f"/services?size={size}", 400, told=SIZE) for size in ("0", "1001", "x")),
                Asked("/services?offset=nonsense", told=EMPTY),
            ],
            "12.6 one is found by name and by id, what belongs to it under it; the unknown is 404": [
                Asked("/services/a", part={"id": ID_OF_A, "name": "a"}),
                Asked(f"/services/{ID_OF_A}", part={"id": ID_OF_A, "name": "a"}),
                Asked("/services/a/routes/a", part={"name": "a", "service": {"id": ID_OF_A}}),
                Asked("/routes/a/service", part={"id": ID_OF_A}),
                Asked("/upstreams/pool/targets/cart.openfaas-fn:8000", part={"target": "cart.openfaas-fn:8000", "weight": 10}),
                HeldBy(HERE, "test_lists_hold_what_belongs_there"),
                *map(unknown, ("/services/x", "/nowhere", "/upstreams/x/health", "/services/x/routes", "/services/a/routes/b",
                               "/routes/lonely/service", "/consumers/x", "/mtls-auths", "/partials", "/licenses", "/rbac/roles", "/workspaces")),
            ],
            "12.7 a service has all its fields": [
                Asked("/services/a", part={
                    "protocol": "http", "host": "127.0.0.1", "path": "/base", "retries": 5, "connect_timeout": 60000, "read_timeout": 60000,
                    "write_timeout": 60000, "enabled": True, "tags": ["red", "blue"], "client_certificate": None, "ca_certificates": None,
                    "tls_verify": None, "tls_verify_depth": None, "created_at": WHOLE, "updated_at": WHOLE,
                }),
                HeldBy(HERE, "test_url_is_split_and_gone"),
            ],
            "12.8 a route has all its fields": [
                Asked("/routes/a", part={
                    "service": {"id": ID_OF_A}, "protocols": ["http", "https"], "methods": None, "hosts": None, "headers": None, "paths": ["/a"],
                    "snis": None, "sources": None, "destinations": None, "regex_priority": 0, "strip_path": True, "preserve_host": False,
                    "path_handling": "v0", "https_redirect_status_code": 426, "request_buffering": True, "response_buffering": True,
                    "tags": None, "created_at": WHOLE,
                }),
            ],
            "12.9 an upstream has all its fields": [
                Asked("/upstreams/pool", part={
                    "algorithm": "round-robin", "slots": 10000, "hash_on": "none", "hash_fallback": "none", "hash_on_header": None,
                    "hash_on_cookie": None, "hash_on_query_arg": None, "hash_on_uri_capture": None, "hash_fallback_header": None,
                    "hash_fallback_query_arg": None, "hash_fallback_uri_capture": None, "hash_on_cookie_path": "/", "host_header": None,
                    "client_certificate": None, "use_srv_name": False, "tags": None,
                    "healthchecks": {
                        "threshold": 0,
                        "active": {
                            "type": "http", "timeout": 1, "concurrency": 10, "http_path": "/", "https_sni": None,
                            "https_verify_certificate": True, "headers": None,
                            "healthy": {"interval": 0, "successes": 0, "http_statuses": [200, 302]},
                            "unhealthy": {"interval": 0, **NOTHING_PASSIVE, "http_statuses": [429, 404, 500, 501, 502, 503, 504, 505]},
                        },
                        "passive": {"type": "http", "healthy": {"successes": 0},
                                    "unhealthy": {**NOTHING_PASSIVE, "tcp_failures": 3, "http_statuses": [429, 500, 503]}},
                    },
                }),
            ],
            "12.10 a target has fractions of a second": [
                Asked("/upstreams/pool/targets/cart.openfaas-fn:8000", part={"id": UUID5, "upstream": {"id": UUID5}, "tags": None, "created_at": FRACTION}),
            ],
            "12.11 a plugin has all its fields and defaults": [
                HeldBy(HERE, "test_plugin_is_shown_whole"),
            ],
            "12.12 health is told for each target and address": [HeldBy(HERE, "test_health_is_told_for_each_address")],
            "12.13 and for the upstream as a whole": [HeldBy(HERE, "test_health_is_told_for_each_address")],
            "12.14 schemas tell what may be held": [
                Asked("/plugins/enabled", part={"enabled_plugins": re.compile(r".*'cors'.*'prometheus'.*")}),
                HeldBy(HERE, "test_schemas_describe_fields_as_kong_does"),
                unknown("/schemas/colours"),
                Asked("/schemas/plugins/jwt", 404, told={"message": "No plugin named 'jwt'"}),
                Asked("/schemas/services/validate", 200, "POST", data='{"name": "a", "url": "http://x/y"}', kind="application/json",
                      told={"message": "schema validation successful"}),
                Asked("/schemas/services/validate", 400, "POST", data='{"name": "a", "host": "x", "retires": 1}', kind="application/json",
                      told={"code": 2, "name": "schema violation", "message": "schema violation (retires: unknown field)",
                            "fields": {"retires": "unknown field"}}),
                Asked("/schemas/plugins/validate", 400, "POST", data='{"name": "jwt"}', kind="application/json", part={"code": 2}),
                Asked("/schemas/plugins/validate", 200, "POST", data='{"name": "cors", "config": {"origins": ["*"]}}', kind="application/json"),
                Asked("/schemas/services/validate", 400, "POST", data="{", kind="application/json", told={"message": "Cannot parse JSON body"}),
                Asked("/schemas/colours/validate", 404, "POST", data="{}", kind="application/json", told=NOT_FOUND),
                Differs("`/timers`"),
            ],
            "12.15 tags are found, where Kong answers 500": [
                HeldBy(HERE, "test_tags_are_found"),
                Differs("`/tags`"),
            ],
            "12.16 entities cannot be written": [
                refused("POST", "/services", "cannot create 'services' entities"),
                refused("PUT", "/routes/a", "cannot create or update 'routes' entities by 'name'"),
                refused("PATCH", "/plugins/a", "cannot update 'plugins' entities by 'name'"),
                refused("DELETE", "/upstreams/pool", "cannot remove 'upstreams' entities by 'name'"),
                refused("POST", "/upstreams/pool/targets", "cannot create 'targets' entities"),
                refused("DELETE", "/upstreams/pool/targets/x", "cannot remove 'targets' entities"),
                refused("POST", "/services/a/routes", "cannot create 'routes' entities"),
                refused("POST", "/routes/a/plugins", "cannot create 'plugins' entities"),
                refused("POST", "/consumers", "cannot create 'consumers' entities"),
                refused("PUT", "/certificates/x", "cannot create or update 'certificates' entities by 'name'"),
                refused("POST", "/key-auths", "cannot create 'keyauth_credentials' entities"),
                Asked("/services", 400, "POST", data="{", kind="application/json", told={"message": "Cannot parse JSON body"}),
                Asked("/upstreams/pool/targets/x/unhealthy", 405, "PUT"),
            ],
            "12.17 a wrong method elsewhere is 405": [
                Asked("/config", 405, "PUT", told={"message": "Method not allowed"}),
                Asked("/status", 405, "POST", told={"message": "Method not allowed"}),
            ],
            "12.18 OPTIONS names the methods": [
                Asked("/services", 204, "OPTIONS", has={
                    "Allow": "GET, HEAD, OPTIONS, POST", "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS, POST",
                    "Access-Control-Allow-Headers": "Content-Type",
                }),
                Asked("/services", 200, "HEAD"),
            ],
            "12.19 the configuration can be read": [HeldBy("contract/kong_observed/test_13_config.py", "test_configuration_can_be_read_back_and_posted_again")],
            "12.20 ids are functions of names": [HeldBy("unit/test_kong_parse.py", "test_ids_are_functions_of_names")],
            "12.21 decK and Kong Manager ask for the other kinds too": [
                Asked(path, told=EMPTY)
                for path in ("/consumers", "/consumer_groups", "/certificates", "/ca_certificates", "/snis", "/vaults", "/keys", "/key-sets",
                             "/acls", "/basic-auths", "/hmac-auths", "/jwts", "/key-auths", "/oauth2", "/certificates?size=1000&tags=x")
            ],
        },
    )
]  # fmt: skip


@pytest.fixture(autouse=True)
def _loaded(site: Site) -> None:
    site.edge.edge.update_membership({"cart": [("127.0.0.1", 9), ("127.0.0.1", 10)]})
    site.load(CONFIG)


def got(site: Site, path: str) -> dict[str, object]:
    found = site.admin.get(path).get_json()
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(("config", "asked"), cases(TABLES))
def test_admin_answers_as_kong_does(site: Site, config: str, asked: Asked) -> None:
    site.ask(config, asked)


def test_status_counts_requests(site: Site) -> None:
    before = got(site, "/status")
    site.edge.get("/a")
    after = got(site, "/status")
    assert after["server"]["total_requests"] == before["server"]["total_requests"] + 1
    assert "database" not in after


def test_pages_follow_each_other_in_order_of_id(site: Site) -> None:
    whole = got(site, "/services")
    ids = [item["id"] for item in whole["data"]]
    assert (whole["next"], ids) == (None, sorted(ids))
    first = got(site, "/services?size=2")
    assert first["next"] == f"/services?offset={str(first['offset']).replace('=', '%3D')}&size=2"
    rest = got(site, str(first["next"]))
    assert [item["id"] for item in [*first["data"], *rest["data"]]] == ids
    assert "offset" not in rest


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/services/a/routes", ["a"]),
        ("/services/b/plugins", ["request-termination"]),
        ("/services/a/plugins", []),
        ("/routes/a/plugins", ["cors"]),
        ("/upstreams/pool/targets", ["None", "None"]),
        ("/plugins", ["cors", "prometheus", "request-termination"]),
        ("/services?tags=red", ["a"]),
        ("/services?tags=red,blue", ["a"]),
        ("/services?tags=red,green", []),
        ("/services?tags=red/green", ["a"]),
    ],
)
def test_lists_hold_what_belongs_there(site: Site, path: str, names: list[str]) -> None:
    assert sorted(str(item.get("name")) for item in got(site, path)["data"]) == names


def test_url_is_split_and_gone(site: Site) -> None:
    service = got(site, "/services/a")
    assert "url" not in service
    assert service["port"] == site.upstream.server_port


def test_plugin_is_shown_whole(site: Site) -> None:
    [plugin] = got(site, "/routes/a/plugins")["data"]
    assert got(site, f"/plugins/{plugin['id']}") == plugin
    assert got(site, f"/plugins/{plugin['id']}/route") == got(site, "/routes/a")
    assert (plugin["route"], plugin["service"], plugin["consumer"]) == (
        {"id": got(site, "/routes/a")["id"]},
        None,
        None,
    )
    assert (plugin["instance_name"], plugin["enabled"], plugin["tags"]) == (None, True, None)
    assert (
        plugin["config"]["credentials"],
        plugin["config"]["origins"],
        len(plugin["config"]["methods"]),
    ) == (False, None, 9)


def test_health_is_told_for_each_address(site: Site) -> None:
    port = site.upstream.server_port
    told = got(site, "/upstreams/pool/health")
    uuid.UUID(str(told["node_id"]))
    by_target = {item["target"]: item for item in told["data"]}
    own, replicas = by_target[f"127.0.0.1:{port}"], by_target["cart.openfaas-fn:8000"]
    assert own["health"] == "HEALTHY"
    assert own["data"] == {
        "host": "127.0.0.1", "port": port, "dns": "A", "nodeWeight": 100,
        "weight": {"total": 100, "available": 100, "unavailable": 0},
        "addresses": [{"ip": "127.0.0.1", "port": port, "weight": 100, "health": "HEALTHY"}],
    }  # fmt: skip
    assert [item["port"] for item in replicas["data"]["addresses"]] == [9, 10]
    assert replicas["data"]["weight"] == {"total": 20, "available": 20, "unavailable": 0}
    whole = got(site, "/upstreams/pool/health?balancer_health=1")["data"]
    assert (whole["health"], whole["balancer_health"]) == ("HEALTHY", "HEALTHY")
    assert whole["details"]["weight"]["total"] == 120


def test_target_without_addresses_is_a_dns_error(site: Site) -> None:
    site.edge.edge.update_membership({})
    [gone] = [
        item for item in got(site, "/upstreams/pool/health")["data"] if item["target"].startswith("cart")
    ]
    assert (gone["health"], gone["data"]["addresses"]) == ("DNS_ERROR", {})
    assert gone["data"]["dns"] != "A"


def test_schemas_describe_fields_as_kong_does(site: Site) -> None:
    service = {
        name: told for field in got(site, "/schemas/services")["fields"] for name, told in field.items()
    }
    assert service["retries"] == {"type": "integer", "between": [0, 32767], "default": 5}
    assert service["protocol"] == {"type": "string", "one_of": ["http"], "required": True, "default": "http"}
    plugin = {
        name: told for field in got(site, "/schemas/plugins/cors")["fields"] for name, told in field.items()
    }
    assert plugin["route"] == {"type": "foreign", "reference": "routes"}
    config = {name: told for field in plugin["config"]["fields"] for name, told in field.items()}
    assert config["origins"] == {"type": "array", "elements": {"type": "string"}}
    assert config["credentials"] == {"type": "boolean", "required": True, "default": False}


def test_tags_are_found(site: Site) -> None:
    found = {(item["tag"], item["entity_name"]) for item in got(site, "/tags")["data"]}
    assert found == {("red", "services"), ("blue", "services"), ("red", "routes")}
    assert {item["tag"] for item in got(site, "/tags/red")["data"]} == {"red"}
