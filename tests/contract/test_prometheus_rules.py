"""Prometheus' rules: promtool runs their tests, and every alert has all that whoever it wakes will need."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from localfaas.monitoring import prometheus
from localfaas.settings import Settings
from localfaas.tools import Tool, ToolMissingError, fetch
from tests.support.metrics_table import DOCUMENT
from tests.support.promql import metric_names

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "monitoring" / "prometheus"
RUNBOOKS = PROJECT / "docs" / "runbooks"
SCALING = "scaling.yml"
"""Alerts for the function gateway, which scales whatever they name; all others are for people."""
RULES = [
    (path.name, rule)
    for path in sorted((FOLDER / "rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
RECORDED = [rule for _, rule in RULES if "record" in rule]
ALERTS = {rule["alert"]: rule for name, rule in RULES if "alert" in rule and name != SCALING}
TEST_FILES = sorted((FOLDER / "tests").glob("*.yml"))
TESTS = [test for path in TEST_FILES for test in yaml.safe_load(path.read_text())["tests"]]
ASKED = [one for test in TESTS for one in test.get("alert_rule_test", [])]


@pytest.fixture(scope="module")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `up` gets it, in Prometheus' package."""
    settings = Settings(project=PROJECT, state=tmp_path_factory.mktemp("state"))
    try:
        return fetch(Tool("promtool", prometheus.TOOL.package, ("promtool",)), settings)
    except ToolMissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def outcomes(promtool: Path) -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """Every file of rule tests, run side by side."""

    def run(path: Path) -> subprocess.CompletedProcess[str]:
        command = [promtool, "test", "rules", path.name]
        return subprocess.run(
            command, cwd=path.parent, capture_output=True, text=True, check=False, timeout=120
        )

    with ThreadPoolExecutor(max_workers=3) as pool:
        yield {path.name: pool.submit(run, path) for path in TEST_FILES}


@pytest.mark.parametrize("name", [path.name for path in TEST_FILES])
def test_rules_do_what_their_tests_say(
    name: str, outcomes: dict[str, Future[subprocess.CompletedProcess[str]]]
) -> None:
    told = outcomes[name].result()
    assert told.returncode == 0, told.stdout + told.stderr


def test_prometheus_takes_the_configuration_with_all_rules(promtool: Path, tmp_path: Path) -> None:
    settings = Settings(project=PROJECT, state=tmp_path)
    prometheus.program(settings, promtool.with_name("prometheus"), prometheus.PARTS_WATCHED)
    assert len(list((tmp_path / "prometheus" / "configuration" / "rules").iterdir())) == len(
        {name for name, _ in RULES}
    )


def test_every_recorded_series_has_a_test() -> None:
    tested = {
        name
        for test in TESTS
        for one in test.get("promql_expr_test", [])
        for name in metric_names(one["expr"])
    }
    # What scaling.yml records on the way to its alerts is tested by them.
    assert {rule["record"] for name, rule in RULES if "record" in rule and name != SCALING} <= tested


@pytest.mark.parametrize("name", ALERTS)
def test_alert_has_a_test_in_which_it_fires_and_ones_in_which_it_does_not(name: str) -> None:
    fires = [bool(one["exp_alerts"]) for one in ASKED if one["alertname"] == name]
    assert fires.count(True) >= 1
    assert fires.count(False) >= 2
    quiet_throughout = [
        test
        for test in TESTS
        if (own := [one for one in test.get("alert_rule_test", []) if one["alertname"] == name])
        and not any(one["exp_alerts"] for one in own)
    ]
    assert quiet_throughout, "nothing shows what it must not fire on"


@pytest.mark.parametrize("name", ALERTS)
def test_alert_says_how_bad_it_is_and_what_to_do(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert all(alert["annotations"][part].endswith(".") for part in ("summary", "description"))
    link = "{{ $externalLabels.dashboards }}/runbooks/" + name
    assert alert["annotations"]["runbook_url"] == link


@pytest.mark.parametrize("name", ALERTS)
def test_runbook_has_every_part(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    parts = ["What a customer notices", "Look", "Mend", "May be ignored"]
    assert re.findall(r"^#+ (.*)$", text, re.MULTILINE) == [name, *parts]
    assert len(text.splitlines()) <= 60


def test_runbooks_are_those_of_the_alerts_and_all_in_the_index() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {*ALERTS, "README"}
    rows = re.findall(
        r"^\| \[(\w+)\]\(\1\.md\) \| (\w+) \|", (RUNBOOKS / "README.md").read_text(), re.MULTILINE
    )
    assert dict(rows) == {name: alert["labels"]["severity"] for name, alert in ALERTS.items()}


def test_runbooks_name_make_targets_that_there_are() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = {
        word for path in RUNBOOKS.glob("*.md") for word in re.findall(r"`make ([a-z-]+)", path.read_text())
    }
    assert named <= targets


def test_no_alert_for_people_scales_a_function() -> None:
    """The gateway scales on any alert that names a function so, whatever else it says."""
    labels = [
        alert["exp_labels"] for one in ASKED for alert in one["exp_alerts"] if one["alertname"] in ALERTS
    ]
    labels += [alert["labels"] for alert in ALERTS.values()]
    assert not [one for one in labels if {"function_name", "scaling"} & set(one)]


def test_every_series_that_is_asked_for_is_documented_or_recorded() -> None:
    document = DOCUMENT.read_text()
    known = {rule["record"] for rule in RECORDED} | {"ALERTS"}
    for name, kind in re.findall(r"^\| `([\w:]+)` \| (\w+) \|", document, re.MULTILINE):
        known |= {name} | {f"{name}{part}" for part in ("_bucket", "_sum", "_count") if kind == "histogram"}
    asked = {
        (name, rule.get("alert") or rule["record"])
        for _, rule in RULES
        for name in metric_names(rule["expr"])
    }
    assert {(name, by) for name, by in asked if name not in known} == set()


def test_documents_have_a_row_for_every_recorded_series_with_its_labels() -> None:
    section = re.search(
        r"^## Recorded by Prometheus\n(.*?)(?=^## |\Z)", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
    )
    assert section
    rows = re.findall(r"^\| `([\w:]+)` \| ([^|]*) \| .+\. \|$", section[1], re.MULTILINE)
    expected = {
        rule["record"]: _labels(rule) for rule in RECORDED if not rule["record"].startswith("scaling:")
    }
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == expected


def _labels(rule: dict[str, Any]) -> set[str]:
    """Those of its own and those of its first grouping."""
    if rule["record"].startswith("function:"):
        return {"function"}
    grouped = re.search(r"\bby \(([^)]*)\)", rule["expr"])
    assert grouped, rule
    return {*rule.get("labels", {}), *re.split(r", *", grouped[1])} - {"le"}


def test_names_of_series_are_found_in_an_expression() -> None:
    assert metric_names('sum by (a) (rate(x_total{b=~"c_total", d="}"}[5m])) / on (a) group_left () y:z offset 1h') == {
        "x_total", "y:z",
    }  # fmt: skip
    assert metric_names("-z * 1e3 or vector(0) unless count without (x) (w) > bool Inf # a comment") == {
        "z",
        "w",
    }
    assert metric_names('label_replace(up{job="a"}, "b", "$1", "c", "(.+)")[5m:1m]') == {"up"}
