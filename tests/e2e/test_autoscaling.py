"""Prometheus, Alertmanager and the gateway scale a function: up under load, down after it, and nobody loses a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from localfaas.monitoring import prometheus
from tests.experiments.autoscale.platform import lay_out
from tests.support.platform import Platform, discard, new_platform, steady_load
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

BUSY_CLIENTS = 8
"""Each waits for its answer: together they would keep eight threads busy, and a replica has one."""


QUICKER = {"[15s]": "[5s]", "[30s]": "[10s]", "keep_firing_for: 1m": "keep_firing_for: 2s"}
"""Windows and patience of the rules, for a Prometheus that looks every second and not every five."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The autoscaling experiment's platform, whose Prometheus and Alertmanager look five times as often."""
    project = lay_out(tmp_path_factory.mktemp("work"))
    monitoring: Path = project / "monitoring"
    rewrite(monitoring / "prometheus" / "rules" / "scaling.yml", QUICKER)
    rewrite(monitoring / "alertmanager" / "alertmanager.yml", {"group_interval: 5s": "group_interval: 1s"})
    platform = new_platform(project)
    try:
        platform.run("up")
        if not {"prometheus", "alertmanager"} <= platform.processes().keys():
            pytest.skip("Prometheus and Alertmanager are not to be had here")
        rewrite(
            platform.state / "prometheus" / "configuration" / "prometheus.yml",
            {"interval: 5s": "interval: 1s"},
        )
        prometheus.reload(platform.settings)
        yield platform
    finally:
        discard(platform)


def rewrite(file: Path, changes: Mapping[str, str]) -> None:
    """Replace every one of these texts; each must be there."""
    text = file.read_text()
    for old, new in changes.items():
        assert old in text, f"{file.name} has no {old!r}"
        text = text.replace(old, new)
    file.write_text(text)


def serving(platform: Platform) -> int:
    """Replicas of `ours` that take traffic."""
    rows = platform.processes().values()
    return sum(row["program"].startswith("ours-") and row["traffic"] == "yes" for row in rows)


def test_replicas_come_with_the_load_and_go_after_it_without_a_lost_request(work: Platform) -> None:
    with steady_load(work.gateway("/function/ours/"), workers=1, pause=0.2) as calm:
        with steady_load(work.gateway("/function/ours/"), workers=BUSY_CLIENTS, pause=0) as busy:
            wait_for(lambda: len(busy.served_by) >= 3, 50, "three replicas that answer")
        wait_for(lambda: serving(work) == 1, 60, "one replica after it")
    assert (busy.failed, calm.failed) == (0, 0), (busy.failures[:3], calm.failures[:3])
