"""The experiment's platform: two functions alike, this project's rules for one and OpenFaaS CE's for the other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from benchmarks.report import PROJECT

HERE = Path(__file__).parent
MONITORING = PROJECT / "monitoring"
FUNCTIONS = ("ours", "ce")


def lay_out(directory: Path) -> Path:
    """A project in `directory` with the shipped rules, CE's rule for the function `ce`, and one Alertmanager for both."""
    project = directory / "project"
    shutil.copytree(HERE / "project", project)
    shutil.copytree(PROJECT / "template", project / "template")
    rules = project / "monitoring" / "prometheus" / "rules"
    shutil.copy(MONITORING / "prometheus" / "rules" / "scaling.yml", rules)
    comparison = MONITORING / "prometheus" / "comparison"
    (rules / "openfaas-ce.yml").write_text(only_for("ce", (comparison / "openfaas-ce.yml").read_text()))
    alertmanager = project / "monitoring" / "alertmanager"
    alertmanager.mkdir(parents=True)
    own = yaml.safe_load((MONITORING / "alertmanager" / "alertmanager.yml").read_text())
    other = yaml.safe_load((comparison / "alertmanager-ce.yml").read_text())
    (alertmanager / "alertmanager.yml").write_text(yaml.safe_dump(both(own, other), sort_keys=False))
    return project


def only_for(function: str, rule: str) -> str:
    """CE's rule, for one function alone."""
    selected = f'gateway_function_invocation_total{{code="200", function_name="{function}.openfaas-fn"}}'
    changed = rule.replace('gateway_function_invocation_total{code="200"}', selected)
    assert changed != rule, "CE's rule no longer reads as it did"
    return changed


def both(own: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """One configuration: the alerts of CE's rule take CE's route to a receiver of their own, all others ours."""
    route = {**other["route"], "matchers": ['alertname="APIHighInvocationRate"'], "receiver": "openfaas-ce"}
    receivers = [{**other["receivers"][0], "name": "openfaas-ce"}]
    return {
        **own,
        "route": {**own["route"], "routes": [route, *own["route"]["routes"]]},
        "receivers": own["receivers"] + receivers,
    }
