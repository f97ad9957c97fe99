"""One run: both functions loaded alike, watched, and written down; and a written run read back."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import requests

from benchmarks.report import BenchmarkError
from localfaas.settings import Settings
from tests.experiments.autoscale.observing import Watch, recorded, replicas_of, session
from tests.experiments.autoscale.platform import FUNCTIONS
from tests.experiments.autoscale.sending import ANSWERS, send, written
from tests.experiments.autoscale.shapes import Shape
from tests.experiments.autoscale.simulator import Function
from tests.experiments.autoscale.trajectory import Request, Steps, Trajectory
from tests.experiments.common import answers
from tests.experiments.common.folder import Folder
from tests.experiments.common.quiet import MOST_STEAL

REST_SECONDS = 180.0
"""Longer than either rule needs to let go of replicas after a load."""


def run_once(settings: Settings, shape: Shape, function: Function, folder: Folder) -> list[str]:
    """Load both functions with the shape, and write what k6, the gateway and Prometheus saw of it; why it may not be believed."""
    wait_for_rest(settings)
    gateway = settings.url("gateway")
    targets = {name: f"{gateway}/function/{name}/" for name in FUNCTIONS}
    with Watch(settings, FUNCTIONS) as watch:
        send(folder, targets, shape, function.max_inflight * function.maximum)
    sent = written(folder, targets, shape)
    folder.write("seen.json", [asdict(one) for one in watch.seen])
    folder.write("recorded.json", recorded(settings, sent.began - 30, time.time()))
    folder.write("about.json", {"shape": shape.name, "began": sent.began, "duration": shape.duration})
    reasons = list(sent.rejected)
    if steal(folder) > MOST_STEAL:
        reasons.append(f"the hypervisor took {steal(folder):.0%} of the processors")
    return reasons


def wait_for_rest(settings: Settings) -> None:
    """Until each function is at its minimum and no alert fires. Raises BenchmarkError when that does not come."""
    opened, deadline = session(settings), time.monotonic() + REST_SECONDS
    while time.monotonic() < deadline:
        counts = [replicas_of(settings, opened, name) for name in FUNCTIONS]
        if all(pair == (1, 1) for pair in counts) and not _scaling_alerts(settings):
            return
        time.sleep(1)
    raise BenchmarkError(f"the functions did not come to rest: {counts}, {_scaling_alerts(settings)}")


def trajectories(folder: Folder) -> dict[str, Trajectory]:
    """What a finished run was, by function; seconds count from the start of the load."""
    about, seen, series = folder.read("about.json"), folder.read("seen.json"), folder.read("recorded.json")
    began, shape = about["began"], about["shape"]
    found = answers.read(folder.path / ANSWERS)
    requests_of = {
        name: [
            Request(*one)
            for one in zip(
                (found[name].ended - began).tolist(),
                found[name].seconds.tolist(),
                found[name].status.tolist(),
                strict=True,
            )
        ]
        for name in FUNCTIONS
    }
    return {
        name: Trajectory(
            shape,
            name,
            requests_of[name],
            _steps([(one["at"] - began, one["replicas"][name][0]) for one in seen]),
            _steps([(one["at"] - began, one["replicas"][name][1]) for one in seen]),
            _alerts(series, name, began),
        )
        for name in FUNCTIONS
    }


def steal(folder: Folder) -> float:
    """The share of the processors that the hypervisor took during the run."""
    seen = folder.read("seen.json")
    return float(sum(one["steal"] for one in seen) / max(1, len(seen)))


def busy(folder: Folder) -> float:
    """The share of the processors that was in use during the run, by whomever."""
    seen = folder.read("seen.json")
    return float(sum(one["busy"] for one in seen) / max(1, len(seen)))


def _scaling_alerts(settings: Settings) -> list[str]:
    answer = requests.get(settings.url("prometheus") + "/api/v1/alerts", timeout=10).json()
    return [
        one["labels"]["alertname"] for one in answer["data"]["alerts"] if "function_name" in one["labels"]
    ]


def _steps(points: list[tuple[float, int]]) -> Steps:
    """Only the changes of a count, from zero on."""
    steps: Steps = []
    for moment, count in points:
        if not steps or steps[-1][1] != count:
            steps.append((max(0.0, moment), count))
    return steps


def _alerts(
    series: dict[str, list[dict[str, Any]]], name: str, began: float
) -> list[tuple[float, str, bool]]:
    """When each alert of a function began and ended to fire."""
    found = []
    for one in series['ALERTS{alertstate="firing"}']:
        labels = one["metric"]
        if labels.get("function_name") != f"{name}.openfaas-fn":
            continue
        title = " ".join(filter(None, (labels.get("scaling", labels["alertname"]), labels.get("replicas"))))
        times = [float(moment) - began for moment, _ in one["values"]]
        for before, moment in zip([-1e9, *times], [*times, 1e9], strict=True):
            if moment - before > 2:
                found += [(before, title, False)] if before > -1e9 else []
                found += [(moment, title, True)] if moment < 1e9 else []
    return sorted(found)
