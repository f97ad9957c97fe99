"""Prometheus' and Alertmanager's configuration on one machine, and what becomes of one that is faulty."""

import shutil
from concurrent.futures import Future
from pathlib import Path

import pytest
import requests
import yaml
from rich.console import Console

from localfaas import monitoring
from localfaas.monitoring import Part, alertmanager, prometheus
from localfaas.monitoring.refused import RefusedError
from localfaas.progress import Steps
from localfaas.settings import Settings
from localfaas.supervisor import Program
from localfaas.tools import Tool

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
    receivers = yaml.safe_load(alertmanager.configuration(SETTINGS, shared))["receivers"]
    webhooks = [one for receiver in receivers for one in receiver.get("webhook_configs", ())]
    assert {one["url"] for one in webhooks} == {"http://127.0.0.1:9080/system/alert"}
    files = {one["http_config"]["basic_auth"]["password_file"] for one in webhooks}
    assert files == {"/state/secrets/basic-auth-password"}
    assert [one["send_resolved"] for one in webhooks] == [True, False]


def test_only_what_runs_is_scraped_and_each_part_under_its_job():
    def jobs(running):
        return {job["job_name"]: job for job in prometheus.configuration(SETTINGS, running)["scrape_configs"]}

    always = {"functions", "openfaas", "edge", "prometheus"}
    assert set(jobs(())) == always
    found = jobs({"alertmanager", "postgres-exporter"})
    assert set(found) == always | {"alertmanager", "postgres"}
    assert found["postgres"]["static_configs"][0]["targets"] == ["127.0.0.1:9094"]


def test_alerts_know_where_their_runbooks_are():
    labels = prometheus.configuration(SETTINGS, ())["global"]["external_labels"]
    assert labels == {"dashboards": "http://localhost:9011"}
    labels = prometheus.configuration(SETTINGS, {"pages"})["global"]["external_labels"]
    assert labels == {"dashboards": "http://localhost:9096"}


@pytest.fixture
def project(tmp_path):
    """A project with rules, and a promtool that refuses what says so."""
    (tmp_path / prometheus.RULES).mkdir(parents=True)
    (tmp_path / prometheus.RULES / "a.yml").write_text("good")
    promtool = tmp_path / "bin" / "promtool"
    promtool.parent.mkdir()
    promtool.write_text('#!/bin/sh\ncd "$(dirname "$3")"\ngrep -l bad "$PWD"/rules/* >&2 && exit 1\nexit 0\n')
    promtool.chmod(0o755)
    return Settings(project=tmp_path, state=tmp_path / "state")


def in_force(settings):
    return (settings.state / "prometheus" / "configuration" / "rules" / "a.yml").read_text()


def make(settings):
    return prometheus.program(settings, settings.project / "bin" / "prometheus", ())


def test_faulty_rules_are_refused_by_name_and_the_former_ones_stay(project):
    made = make(project)
    (project.project / prometheus.RULES / "a.yml").write_text("bad")
    with pytest.raises(RefusedError, match=r"monitoring/prometheus/rules/a\.yml") as refused:
        make(project)
    assert str(project.state) not in str(refused.value)
    assert refused.value.last_good == made
    assert in_force(project) == "good"
    (project.project / prometheus.RULES / "a.yml").write_text("mended")
    make(project)
    assert in_force(project) == "mended"


def test_faulty_rules_at_the_first_start_leave_nothing_to_start_with(project):
    (project.project / prometheus.RULES / "a.yml").write_text("bad")
    with pytest.raises(RefusedError) as refused:
        make(project)
    assert refused.value.last_good is None


def test_without_promtool_prometheus_itself_must_check(project):
    shutil.rmtree(project.project / "bin")
    (project.project / prometheus.RULES / "a.yml").write_text("bad")
    make(project)
    assert in_force(project) == "bad"


class FakeSupervisor:
    """Notes what it was to run; `kept` names what runs on from before."""

    def __init__(self, kept=()):
        self.kept = kept
        self.ran, self.removed = [], []

    def replace(self, program):
        self.ran.append(program.name)
        return program.name in self.kept

    def remove(self, name):
        self.removed.append(name)


def started(monkeypatch, supervisor, **changes):
    """`monitoring.start` with one part, which notes its reloads."""
    reloads = []
    program = Program("eye", ["eye"], Path("/"))
    part = {"program": lambda *_: program, "reload": reloads.append, **changes}
    parts = (Part("eye", "Eye", "sight", Tool("Eye", "eye", ("eye",)), **part),)
    monkeypatch.setattr(monitoring, "PARTS", parts)
    fetched = Future()
    fetched.set_result({"eye": Path("/bin/eye")})
    watching = monitoring.start(SETTINGS, supervisor, fetched, Steps(Console(quiet=True)))
    return watching, reloads


def test_what_runs_on_reads_its_files_again_and_what_was_started_has(monkeypatch):
    assert started(monkeypatch, FakeSupervisor(kept=["eye"]))[1] == [SETTINGS]
    assert started(monkeypatch, FakeSupervisor())[1] == []


def test_part_whose_file_is_refused_runs_on_as_it_was(monkeypatch):
    former = Program("eye", ["former"], Path("/"))

    def refuse(*_):
        raise RefusedError("a.yml is faulty", former)

    supervisor = FakeSupervisor(kept=["eye"])
    watching, _ = started(monkeypatch, supervisor, program=refuse)
    assert (supervisor.ran, watching.running, watching.refused) == (
        ["eye"],
        {"eye": "Eye"},
        ["a.yml is faulty"],
    )


def test_part_with_nothing_to_go_on_with_is_left_out(monkeypatch):
    def refuse(*_):
        raise RefusedError("a.yml is faulty")

    supervisor = FakeSupervisor()
    watching, _ = started(monkeypatch, supervisor, program=refuse)
    assert (watching.running, watching.refused, supervisor.removed) == ({}, ["a.yml is faulty"], ["eye"])


def test_part_that_nobody_has_a_use_for_any_more_is_taken_away(monkeypatch):
    supervisor = FakeSupervisor()
    watching, _ = started(monkeypatch, supervisor, program=lambda *_: None)
    assert (watching.running, supervisor.removed) == ({}, ["eye"])


class RunningPrometheus:
    """One that answers what it says of its last reload, before a signal and after it."""

    def __init__(self, monkeypatch, before, after):
        self.signals, self._said = [], [before, after]
        monkeypatch.setattr(requests.Session, "get", self._get)
        monkeypatch.setattr(prometheus.Supervisor, "signal", lambda _, *told: self.signals.append(told))
        monkeypatch.setattr(prometheus, "RELOAD_SECONDS", 0.3)
        monkeypatch.setattr(prometheus, "RELOAD_POLL_SECONDS", 0.01)

    def _get(self, *_, **__):
        said = self._said[bool(self.signals)]
        if said is None:
            raise requests.ConnectionError
        answer = requests.Response()
        names = ("successful", "success_timestamp_seconds")
        answer._content = "".join(
            f"prometheus_config_last_reload_{name} {value}\n" for name, value in zip(names, said, strict=True)
        ).encode()
        return answer


@pytest.mark.parametrize("before", [("1", "1.7e+09"), ("0", "1.7e+09")])
def test_prometheus_is_told_by_a_signal_to_read_its_files(monkeypatch, before):
    running = RunningPrometheus(monkeypatch, before, ("1", "1.7000000005e+09"))
    prometheus.reload(SETTINGS)
    assert running.signals == [("prometheus", "HUP")]


@pytest.mark.parametrize("before", [("1", "1.7e+09"), ("0", "1.7e+09")])
def test_prometheus_that_will_not_have_its_files_is_told_of(monkeypatch, before):
    running = RunningPrometheus(monkeypatch, before, ("0", "1.7e+09"))
    with pytest.raises(RefusedError, match="goes on with what it had"):
        prometheus.reload(SETTINGS)
    assert running.signals


def test_prometheus_that_is_starting_is_waited_for_and_then_left_alone(monkeypatch):
    running = RunningPrometheus(monkeypatch, None, None)
    prometheus.reload(SETTINGS)
    assert not running.signals
