"""OpenFaaS' metrics come out of Envoy's counters under OpenFaaS' names, in seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from localfaas.deployment import FunctionDeployment
from localfaas.gateway import LATENCY_BUCKETS_SECONDS
from localfaas.gateway_metrics import counter_of, invocation_counts, render
from localfaas.registry import Desired
from localfaas.settings import Settings

BUCKETS = "".join(
    f'envoy_gateway_functions_us_bucket{{function_name="cart.openfaas-fn",code="200",le="{le}"}} 2\n'
    for le in (5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, "+Inf")
)
STATS = f"""# TYPE envoy_gateway_invocation_started counter
envoy_gateway_invocation_started{{function_name=""}} 6
envoy_gateway_invocation_started{{function_name="cart.openfaas-fn"}} 5
# TYPE envoy_gateway_invocation_total counter
envoy_gateway_invocation_total{{function_name="",code="404"}} 6
envoy_gateway_invocation_total{{function_name="cart.openfaas-fn",code="200"}} 3
envoy_gateway_invocation_total{{function_name="cart.openfaas-fn",code="0"}} 1
# TYPE envoy_gateway_functions_us histogram
{BUCKETS}envoy_gateway_functions_us_sum{{function_name="cart.openfaas-fn",code="200"}} 49343.385490753906
envoy_gateway_functions_us_count{{function_name="cart.openfaas-fn",code="200"}} 2
"""
CART = Desired(
    FunctionDeployment(service="cart", image="cart"),
    Path("/layout"),
    3,
    "g",
    datetime(2026, 1, 1, tzinfo=UTC),
)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_has_openfaas_name_labels_and_help() -> None:
    text = render(STATS, [CART])
    found = samples(text)
    function, ok = ("function_name", "cart.openfaas-fn"), ("code", "200")
    assert 'gateway_function_invocation_started{function_name="cart.openfaas-fn"} 5\n' in text
    assert found["gateway_function_invocation_total", (ok, function)] == 3
    assert found["gateway_functions_seconds_count", (ok, function)] == 2
    assert abs(found["gateway_functions_seconds_sum", (ok, function)] - 0.0493434) < 1e-6
    assert found["gateway_service_count", (function,)] == 3
    assert (
        "# HELP gateway_functions_seconds Function time taken\n# TYPE gateway_functions_seconds histogram\n"
        in text
    )


def test_buckets_are_openfaas_seconds() -> None:
    bounds = [
        dict(labels)["le"]
        for name, labels in samples(render(STATS, []))
        if name == "gateway_functions_seconds_bucket"
    ]
    assert bounds == [f"{seconds:g}" for seconds in LATENCY_BUCKETS_SECONDS] + ["+Inf"]


def test_requests_without_a_function_are_no_invocations() -> None:
    assert 'function_name=""' not in render(STATS, [])


def test_a_client_that_left_is_499() -> None:
    assert 'gateway_function_invocation_total{code="499",function_name="cart.openfaas-fn"} 1' in render(
        STATS, []
    )


def test_invocations_are_counted_over_all_codes() -> None:
    assert invocation_counts(STATS) == {"cart": 4}


def test_without_an_envoy_nothing_is_counted(tmp_path: Path) -> None:
    assert counter_of(Settings(project=tmp_path, state=tmp_path))() == {}
