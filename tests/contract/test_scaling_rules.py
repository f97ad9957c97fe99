"""Scaling: the rules' constants are stack.yml's, and every alert reaches the gateway, or nobody, as it should."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from localfaas.deployment import MAX_REPLICAS, scale_factor, scale_max, scale_min
from localfaas.monitoring import alertmanager
from localfaas.settings import Settings
from localfaas.stack import load_stack
from localfaas.tools import ToolMissingError, fetch

PROJECT = Path(__file__).parents[2]
MONITORING = PROJECT / "monitoring"
STACK = load_stack(PROJECT / "stack.yml", {})
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((MONITORING / "prometheus" / "rules" / "scaling.yml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
ROUTING = yaml.safe_load((MONITORING / "alertmanager" / "alertmanager.yml").read_text())
GATEWAY = {one["name"] for one in ROUTING["receivers"] if one.get("webhook_configs")}


def constants(name: str) -> dict[str, int]:
    """What the rules say of single functions: `vector(3)` with the label `function`."""
    found = [rule for rule in RULES if rule.get("record") == name]
    return {rule["labels"]["function"]: int(rule["expr"][len("vector(") : -1]) for rule in found}


@pytest.mark.parametrize("name", STACK.functions)
def test_limits_in_the_rules_are_those_of_the_stack(name: str) -> None:
    labels = STACK.functions[name].labels
    assert constants("function:scale_min").get(name, 1) == scale_min(labels)
    assert constants("function:scale_max").get(name, MAX_REPLICAS) == scale_max(labels)


def test_the_rules_speak_of_no_function_that_is_not_there() -> None:
    assert {*constants("function:scale_min"), *constants("function:scale_max")} <= set(STACK.functions)


@pytest.mark.parametrize("name", STACK.functions)
def test_a_step_of_the_gateway_is_one_replica(name: str) -> None:
    """There is one alert for each missing replica, so a larger step would overshoot."""
    labels = STACK.functions[name].labels
    assert -(-scale_max(labels) * scale_factor(labels) // 100) == 1


def test_there_is_an_alert_for_every_replica_that_may_be_missing() -> None:
    up = {rule["labels"]["replicas"] for rule in ALERTS if rule["labels"]["scaling"] == "up"}
    assert up == {"first", *map(str, range(3, MAX_REPLICAS + 1))}


def receiver(labels: dict[str, str]) -> str:
    """Where Alertmanager's tree leads: the first route whose matchers hold, and its own."""
    route = ROUTING["route"]
    name = route["receiver"]
    while True:
        matching = (
            one for one in route.get("routes", ()) if all(_holds(text, labels) for text in one["matchers"])
        )
        route = next(matching, None)
        if route is None:
            return str(name)
        name = route.get("receiver", name)


def _holds(matcher: str, labels: dict[str, str]) -> bool:
    found = re.fullmatch(r'(\w+)="([^"]*)"', matcher)
    assert found, matcher
    return labels.get(found[1], "") == found[2]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['labels']['scaling']}-{rule['labels'].get('replicas', '')}")  # fmt: skip
def test_scaling_alerts_reach_the_gateway_and_only_the_end_of_hold_is_told(rule: dict[str, Any]) -> None:
    assert rule["labels"]["function_name"] == "{{ $labels.function }}.openfaas-fn"
    name = receiver(rule["labels"])
    assert name in GATEWAY
    told = next(one for one in ROUTING["receivers"] if one["name"] == name)["webhook_configs"][0]
    assert told["send_resolved"] == (rule["labels"]["scaling"] == "hold")


@pytest.mark.parametrize("severity", ["page", "ticket"])
def test_alerts_for_people_never_reach_the_gateway(severity: str) -> None:
    assert receiver({"alertname": "TargetDown", "severity": severity}) not in GATEWAY


def test_a_hold_is_never_repeated_within_alertmanagers_memory() -> None:
    """A repetition would be a step up. Alertmanager forgets after --data.retention, five days by default."""
    (hold,) = (one for one in ROUTING["route"]["routes"] if one["matchers"] == ['scaling="hold"'])
    assert hold["repeat_interval"] == "4d"


@pytest.mark.parametrize(
    "file", ["alertmanager/alertmanager.yml", "prometheus/comparison/alertmanager-ce.yml"]
)
def test_alertmanager_takes_the_file(file: str, tmp_path: Path) -> None:
    try:
        binary = fetch(alertmanager.TOOL, Settings(project=PROJECT, state=tmp_path))
    except ToolMissingError as missing:
        pytest.skip(str(missing))
    amtool = binary.with_name("amtool")
    if not amtool.exists():
        pytest.skip("this Alertmanager came without amtool")
    done = subprocess.run(
        [amtool, "check-config", MONITORING / file], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr
