"""OpenFaaS' gateway metrics, under its own names, from what the gateway's Envoy counted.

Envoy counts in microseconds and puts `envoy_` before every name; here seconds and the names of OpenFaaS come out.
Requests that reached no function carry no function name in Envoy and are not OpenFaaS' invocations: they are left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from localfaas.deployment import NAMESPACE
from localfaas.envoy import admin_request
from localfaas.registry import Desired
from localfaas.settings import Settings

STATS_PATH = "/stats/prometheus?filter=%5Egateway%5C."
MICROSECONDS = 1_000_000
CLIENT_LEFT = "499"
"""The code of a request whose client went away before there was an answer (Envoy says 0)."""

_SAMPLE = re.compile(r"envoy_gateway_(\w+)\{(.*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class _Sample:
    name: str
    labels: dict[str, str]
    value: float


def read_stats(settings: Settings) -> str:
    """The counters of the running gateway; raises OSError when its Envoy is away."""
    return admin_request(settings.envoy_admin_socket("gateway"), "GET", STATS_PATH)


def render(stats_text: str, desired: Iterable[Desired]) -> str:
    """Prometheus text (0.0.4) of OpenFaaS' four gateway metrics."""
    samples = list(_samples(stats_text))
    started = _family(samples, "invocation_started", "gateway_function_invocation_started")
    total = _family(samples, "invocation_total", "gateway_function_invocation_total")
    replicas = [
        f'gateway_service_count{{function_name="{one.name}.{NAMESPACE}"}} {one.replicas}' for one in desired
    ]
    blocks = [
        _block(
            "gateway_function_invocation_started",
            "counter",
            "The total number of function HTTP requests started.",
            started,
        ),
        _block("gateway_function_invocation_total", "counter", "Function metrics", total),
        _block("gateway_functions_seconds", "histogram", "Function time taken", _histogram(samples)),
        _block("gateway_service_count", "gauge", "Current count of replicas for function", replicas),
    ]
    return "".join(blocks)


def invocation_counts(stats_text: str) -> dict[str, int]:
    """Finished invocations by function (without namespace), over all codes, since the gateway's start."""
    counts: Counter[str] = Counter()
    for sample in _samples(stats_text):
        if sample.name == "invocation_total":
            counts[sample.labels["function_name"].removesuffix(f".{NAMESPACE}")] += int(sample.value)
    return dict(counts)


def counter_of(settings: Settings) -> Callable[[], dict[str, int]]:
    """`invocation_counts` of the running gateway; nothing is counted while its Envoy is away."""

    def count() -> dict[str, int]:
        try:
            return invocation_counts(read_stats(settings))
        except (OSError, RuntimeError):
            return {}

    return count


def _samples(stats_text: str) -> Iterator[_Sample]:
    for line in stats_text.splitlines():
        found = _SAMPLE.fullmatch(line)
        if not found:
            continue
        labels = dict(_LABEL.findall(found[2]))
        if labels.get("function_name"):
            if labels.get("code") == "0":
                labels["code"] = CLIENT_LEFT
            yield _Sample(found[1], labels, float(found[3]))


def _family(samples: Iterable[_Sample], name: str, openfaas_name: str) -> list[str]:
    return [_line(openfaas_name, one.labels, one.value) for one in samples if one.name == name]


def _histogram(samples: Iterable[_Sample]) -> list[str]:
    lines = []
    for one in samples:
        family, _, part = one.name.rpartition("_")
        if family != "functions_us":
            continue
        labels, value = dict(one.labels), one.value
        if "le" in labels and labels["le"] != "+Inf":
            labels["le"] = f"{float(labels['le']) / MICROSECONDS:g}"
        if part == "sum":
            value /= MICROSECONDS
        lines.append(_line(f"gateway_functions_seconds_{part}", labels, value))
    return lines


def _line(name: str, labels: dict[str, str], value: float) -> str:
    inner = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
    number = str(int(value)) if value.is_integer() else f"{value:.9g}"
    return f"{name}{{{inner}}} {number}"


def _block(name: str, kind: str, help_text: str, lines: Iterable[str]) -> str:
    head = (f"# HELP {name} {help_text}", f"# TYPE {name} {kind}")
    return "".join(f"{line}\n" for line in (*head, *lines))
