"""What the replicas of a running platform expose, asked directly as Prometheus asks them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.support.platform import Platform

Series = Mapping[str, float]


def series(name: str, labels: Mapping[str, str]) -> str:
    """A series as Prometheus writes it: labels in the order of their names."""
    inside = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name


def scrape(platform: Platform) -> dict[str, Series]:
    """Function to its series, summed over its replicas."""
    found: dict[str, Counter[str]] = {}
    targets = f"{platform.settings.url('gateway-metrics')}/system/localfaas/targets"
    for target in requests.get(targets, timeout=5).json():
        [address] = target["targets"]
        text = requests.get(f"http://{address}/metrics", timeout=5).text
        sums = found.setdefault(target["labels"]["function"], Counter())
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                sums[series(sample.name, sample.labels)] += sample.value
    return {function: dict(sums) for function, sums in found.items()}
