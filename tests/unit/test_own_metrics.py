"""localfaas' own metrics: a series for each function and program, whoever is busy or gone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from localfaas.own_metrics import render
from localfaas.settings import Settings
from localfaas.supervisor import starts_file


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(project=tmp_path, state=tmp_path)


def values(text: str) -> dict[str, dict[str, float]]:
    """By metric, then by the value of its only label."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})["".join(sample.labels.values())] = sample.value
    return found


def test_what_runs_is_told_by_function_and_by_program(settings: Settings) -> None:
    starts_file(settings, "cart-1").parent.mkdir(parents=True)
    starts_file(settings, "cart-1").write_text("\n\n\n")
    found = values(render(settings, {"cart": 1, "site": 0}, {"cart-1": os.getpid(), "cart-2": 0}))
    assert found["localfaas_replicas_available"] == {"cart": 1, "site": 0}
    assert found["localfaas_program_restarts_total"] == {"cart-1": 2, "cart-2": 0}
    assert set(found["localfaas_program_resident_bytes"]) == {"cart-1"}
    assert found["localfaas_program_cpu_seconds_total"]["cart-1"] > 0
    assert 0 < found["localfaas_disk_free_bytes"][""] < found["localfaas_disk_size_bytes"][""]


def test_nothing_is_known_yet_and_it_says_so_without_failing(settings: Settings) -> None:
    found = values(render(settings, {}, {}))
    assert set(found) == {"localfaas_disk_free_bytes", "localfaas_disk_size_bytes"}
