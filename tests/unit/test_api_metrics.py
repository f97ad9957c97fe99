"""The second port: what Prometheus finds there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.api import Api, FakeReplica, make_api


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return make_api(tmp_path)


def test_one_target_for_each_replica_that_wants_to_be_scraped(api: Api) -> None:
    api.deploy("cart", annotations={"prometheus.io.scrape": "true"})
    api.deploy("products", annotations={"prometheus.io/scrape": "true"})
    api.deploy("quiet", annotations={"prometheus.io.scrape": "false"})
    for name, port in (("cart", 8008), ("cart", 8018), ("products", 8002), ("quiet", 8200), ("gone", 8300)):
        api.replicas.append(FakeReplica(name, f"{name}-{port}", ("127.0.0.1", port)))
    targets = api.metrics_client.get("/system/localfaas/targets").json
    assert targets is not None
    assert [one["targets"] for one in targets] == [["127.0.0.1:8008"], ["127.0.0.1:8018"], ["127.0.0.1:8002"]]
    assert targets[0]["labels"] == {"function": "cart", "replica": "cart-8008"}


def test_metrics_are_down_when_the_gateway_is(api: Api) -> None:
    assert api.metrics_client.get("/metrics").status_code == 503


def test_health_and_nothing_else(api: Api) -> None:
    assert api.metrics_client.get("/healthz").status_code == 200
    response = api.metrics_client.get("/system/functions")
    assert (response.status_code, response.text) == (404, "404 page not found\n")


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/system/localfaas/targets"])
def test_only_this_machines_names_are_answered_to(api: Api, path: str) -> None:
    """Else a site could point its own name here and read all that is measured (DNS rebinding)."""
    assert api.metrics_client.get(path, headers={"Host": "rebound.example:8082"}).status_code == 400
    for host in ("localhost:8082", "127.0.0.1:8082"):
        assert api.metrics_client.get(path, headers={"Host": host}).status_code != 400
