"""Prometheus' and Alertmanager's configuration on one machine."""

from pathlib import Path

import yaml

from localfaas.monitoring import alertmanager, prometheus
from localfaas.settings import Settings

PROJECT = Path(__file__).parents[2]
SETTINGS = Settings(project=PROJECT, state=Path("/state"), port_offset=1000)


def test_functions_are_discovered_and_both_hops_scraped():
    jobs = {
        job["job_name"]: job for job in prometheus.configuration(SETTINGS, {"alertmanager"})["scrape_configs"]
    }
    assert jobs["functions"]["http_sd_configs"][0]["url"] == "http://127.0.0.1:9082/system/localfaas/targets"
    assert jobs["edge"]["static_configs"][0]["targets"] == ["127.0.0.1:9001"]


def test_prometheus_without_alertmanager_sends_no_alerts():
    assert "alerting" not in prometheus.configuration(SETTINGS, running=())


def test_shared_alertmanager_file_points_at_this_machines_gateway():
    shared = (PROJECT / "monitoring" / "alertmanager" / "alertmanager.yml").read_text()
    webhook = yaml.safe_load(alertmanager.configuration(SETTINGS, shared))["receivers"][0]["webhook_configs"][
        0
    ]
    assert webhook["url"] == "http://127.0.0.1:9080/system/alert"
    assert webhook["http_config"]["basic_auth"]["password_file"] == "/state/secrets/basic-auth-password"
