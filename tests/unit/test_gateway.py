"""What the function gateway's Envoy is told, held to golden files.

After an intended change: `UPDATE_GOLDEN=1 python -m pytest tests/unit/test_gateway.py`, then read the diff.
"""

from __future__ import annotations

import itertools
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from localfaas import gateway, gateway_update
from localfaas.deployment import FunctionDeployment
from localfaas.envoy import EnvoyFiles
from localfaas.registry import Desired
from localfaas.settings import Settings

GOLDEN = Path(__file__).parent / "golden"
SETTINGS = Settings(project=Path("/project"), state=Path("/state"), port_offset=100)


def desired(name: str, replicas: int = 1, **env_vars: str) -> Desired:
    deployment = FunctionDeployment(service=name, image=name, env_vars=env_vars)
    return Desired(deployment, Path("/layout"), replicas, "generation", datetime(2026, 1, 1, tzinfo=UTC))


SHOP = [desired("products"), desired("cart", 3, max_inflight="16")]
CASES = {
    "gateway_bootstrap": lambda: gateway.bootstrap(SETTINGS),
    "gateway_listeners": lambda: gateway.listeners(SETTINGS),
    "gateway_routes": lambda: gateway.routes(SHOP),
    "gateway_clusters": lambda: gateway.clusters(SHOP, SETTINGS),
}


@pytest.mark.parametrize("name", CASES)
def test_the_configuration_is_the_golden_one(name: str) -> None:
    text = json.dumps(CASES[name](), indent=1) + "\n"
    path = GOLDEN / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def function_routes(name: str) -> list[dict[str, Any]]:
    (table,) = gateway.routes(SHOP)[0]["virtual_hosts"]
    return [
        route
        for route in table["routes"]
        if route["name"] in (f"function {name}", f"function {name}.openfaas-fn")
    ]


def test_a_function_has_both_names_with_and_without_a_path() -> None:
    assert [route["match"] for route in function_routes("cart")] == [
        {"path": "/function/cart"},
        {"prefix": "/function/cart/"},
        {"path": "/function/cart.openfaas-fn"},
        {"prefix": "/function/cart.openfaas-fn/"},
    ]


def test_a_request_that_reached_a_function_is_never_sent_again() -> None:
    for route in function_routes("cart"):
        conditions = set(route["route"]["retry_policy"]["retry_on"].split(","))
        assert conditions == {"connect-failure", "refused-stream", "reset-before-request"}


@pytest.mark.parametrize(
    ("exec_timeout", "timeout"),
    [
        ("10s", "15s"),
        ("1m30s", "95s"),
        ("20", "25s"),
        ("", "60s"),
        ("0s", "60s"),
        ("soon", "60s"),
        ("9" * 30, "86400s"),
    ],
)
def test_a_call_may_take_a_little_longer_than_the_function_gives_itself(
    exec_timeout: str, timeout: str
) -> None:
    (table,) = gateway.routes([desired("cart", exec_timeout=exec_timeout)])[0]["virtual_hosts"]
    actions = [one["route"] for one in table["routes"] if one["name"].startswith("function cart")]
    assert {action["timeout"] for action in actions} == {timeout}
    silence = {float(action["idle_timeout"].removesuffix("s")) for action in actions}
    assert min(silence) > float(timeout.removesuffix("s"))


def limits(name: str) -> dict[str, int]:
    (cluster,) = (one for one in gateway.clusters(SHOP, SETTINGS) if one["name"] == name)
    (threshold,) = cluster["circuit_breakers"]["thresholds"]
    return dict(threshold)


def test_max_inflight_bounds_a_function_by_its_replicas() -> None:
    assert limits("cart")["max_requests"] == 3 * 16
    assert limits("products")["max_requests"] == gateway.UNLIMITED


def test_a_max_inflight_that_means_no_limit_stays_within_envoys_numbers() -> None:
    (_, cluster) = gateway.clusters([desired("cart", 3, max_inflight="2147483647")], SETTINGS)
    (threshold,) = cluster["circuit_breakers"]["thresholds"]
    assert threshold["max_requests"] == gateway.UNLIMITED


@pytest.mark.parametrize("name", ["cart", "products"])
def test_so_many_wait_for_a_replica_and_no_more(name: str) -> None:
    """Far more than Envoy's default, which is 3."""
    assert limits(name)["max_retries"] == gateway.MOST_WAITING


def test_waiting_bridges_a_restart_and_stays_within_the_timeout() -> None:
    mean_seconds = gateway.WAIT_RETRIES * gateway.WAIT_STEP_SECONDS / 2
    assert 2 * 1.2 <= mean_seconds <= 4
    assert gateway.WAIT_RETRIES * gateway.WAIT_STEP_SECONDS < gateway.FUNCTION_TIMEOUT_SECONDS


def test_a_function_may_be_called_api() -> None:
    names = [cluster["name"] for cluster in gateway.clusters([desired("api")], SETTINGS)]
    assert len(set(names)) == 2


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(project=tmp_path, state=tmp_path)


def files(settings: Settings) -> EnvoyFiles:
    return EnvoyFiles(settings.envoy("gateway"))


def endpoint_ports(settings: Settings, name: str) -> list[int]:
    (assignment,) = json.loads(files(settings).eds_path(name).read_text())["resources"]
    (group,) = assignment["endpoints"]
    return [one["endpoint"]["address"]["socket_address"]["port_value"] for one in group["lb_endpoints"]]


def test_a_new_function_waits_for_its_first_replica(settings: Settings) -> None:
    gateway.write_gateway(settings, SHOP)
    assert endpoint_ports(settings, "cart") == [0]
    gateway.write_endpoints(settings, "cart", [("127.0.0.1", 8008), ("127.0.0.1", 8018)])
    assert endpoint_ports(settings, "cart") == [8008, 8018]
    gateway.write_endpoints(settings, "cart", [])
    assert endpoint_ports(settings, "cart") == [0]


def test_writing_the_gateway_again_keeps_the_endpoints(settings: Settings) -> None:
    gateway.write_gateway(settings, SHOP)
    gateway.write_endpoints(settings, "cart", [("127.0.0.1", 8008)])
    gateway.write_gateway(settings, SHOP)
    assert endpoint_ports(settings, "cart") == [8008]


def test_a_removed_function_leaves_no_cluster_and_no_endpoints(settings: Settings) -> None:
    gateway.write_gateway(settings, SHOP)
    gateway.write_gateway(settings, SHOP[:1])
    clusters = json.loads((files(settings).root / "cds" / "cds.json").read_text())["resources"]
    assert [cluster["name"] for cluster in clusters] == [gateway.API_CLUSTER, "products"]
    assert not files(settings).eds_path("cart").exists()


def test_writing_what_is_there_touches_no_file(settings: Settings) -> None:
    gateway.write_gateway(settings, SHOP)
    before = {path: path.stat().st_ino for path in files(settings).root.rglob("*.json")}
    gateway.write_gateway(settings, SHOP)
    assert {path: path.stat().st_ino for path in files(settings).root.rglob("*.json")} == before


def test_what_envoy_refuses_is_neither_kept_nor_taken_for_done(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.write_gateway(settings, [desired("cart")])
    served = files(settings).clusters()
    asked = itertools.count()
    monkeypatch.setattr(
        gateway_update,
        "admin_request",
        lambda *_: f"{gateway_update.CLUSTER_STATS}.update_failure: {next(asked)}\n",
    )
    for _ in range(2):
        with pytest.raises(gateway_update.GatewayRefused, match="refused"):
            gateway.write_gateway(settings, [desired("cart"), desired("products")])
        assert files(settings).clusters() == served
