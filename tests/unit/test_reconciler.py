"""The reconciler takes up what a killed one has left, and one function's failure is not the others'."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from localfaas import replicas
from localfaas.build import BuildError
from localfaas.deployment import PORT_ANNOTATION, FunctionDeployment, validate
from localfaas.envoy import EnvoyFiles, Membership
from localfaas.gateway import write_endpoints, write_gateway
from localfaas.registry import Desired, Registry
from localfaas.replica_program import FREE_PORTS_FROM, base_port, replica_program
from localfaas.replicas import Lack, Reconciler, lacking
from localfaas.settings import LOOPBACK, PORTS, REPLICA_PORT_STEP, Settings
from localfaas.supervisor import Process, Program, Supervisor, abouts, write_program


class Recorded(Supervisor):
    """Knows what it was told of, and runs nothing."""

    def __init__(self, settings: Settings, known: Mapping[str, Process]) -> None:
        super().__init__(settings)
        self.known = dict(known)

    def processes(self) -> dict[str, Process]:
        return dict(self.known)

    def add(self, name: str) -> None:
        self.known[name] = Process(name, "STARTING", 1, 0, "")

    def start(self, name: str) -> None:
        self.add(name)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load({}, tmp_path)


def deployed(settings: Settings, *names: str) -> Registry:
    registry = Registry(settings.deployments)
    for name in names:
        registry.create(validate({"service": name, "image": name}), settings.state / "layout")
    return registry


def program_of(settings: Settings, desired: Desired, slot: int, port: int) -> Program:
    about = {"function": desired.name, "generation": desired.generation, "port": port}
    return Program(f"{desired.name}-{slot}", ["true"], settings.project, about=about)


def reconciler(
    settings: Settings, registry: Registry, supervisor: Supervisor
) -> tuple[Reconciler, Membership]:
    published: dict[str, tuple[tuple[str, int], ...]] = {}
    return Reconciler(settings, registry, supervisor, published.update, lambda _: None), published


def test_a_replica_that_supervisord_was_never_told_of_is_begun_anew(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "replica_program", program_of)
    registry = deployed(settings, "echo")
    (desired,) = registry.all()
    write_program(settings, program_of(settings, desired, 1, 8001))
    (settings.supervisor / "conf.d/echo-1.conf").unlink()
    supervisor = Recorded(settings, {})
    found, _ = reconciler(settings, registry, supervisor)
    found._recall()
    assert found.step()
    assert set(supervisor.known) == {"echo-1"}
    assert (settings.supervisor / "conf.d/echo-1.conf").exists()


def test_what_a_loss_of_power_has_emptied_is_written_anew(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "replica_program", program_of)
    monkeypatch.setattr(replicas, "is_ready", lambda port: False)
    registry = deployed(settings, "echo")
    (desired,) = registry.all()
    write_gateway(settings, [desired])
    write_program(settings, program_of(settings, desired, 1, 8001))
    files = EnvoyFiles(settings.envoy("gateway"))
    emptied = [
        settings.supervisor / "conf.d/echo-1.json",
        files.eds_path("echo"),
        files.root / "cds/cds.json",
    ]
    for path in emptied:
        path.write_text("")
    supervisor = Recorded(settings, {"echo-1": Process("echo-1", "RUNNING", 1, 0, "")})
    found = Reconciler(
        settings, registry, supervisor, lambda _: None, lambda wanted: write_gateway(settings, wanted)
    )
    assert lacking(settings, desired) == {"echo-1": Lack.NOT_STARTED}
    found._recall()
    found.step()
    assert all(json.loads(path.read_text()) for path in emptied)


@pytest.mark.parametrize("state", ["STOPPED", "FATAL"])
def test_a_replica_that_supervisord_does_not_restart_is_started_and_serves_once_it_is_ready(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(replicas, "is_ready", lambda port: False)
    registry = deployed(settings, "echo")
    (desired,) = registry.all()
    write_program(settings, program_of(settings, desired, 1, 8001))
    write_endpoints(settings, "echo", [(LOOPBACK, 8001)])
    supervisor = Recorded(settings, {"echo-1": Process("echo-1", state, 0, 0, "")})
    found, published = reconciler(settings, registry, supervisor)
    found._recall()
    found.step()
    assert supervisor.known["echo-1"].state == "STARTING"
    assert published["echo"] == ()


def test_what_is_left_of_a_function_that_was_removed_meanwhile_goes(settings: Settings) -> None:
    registry = deployed(settings, "echo")
    (desired,) = registry.all()
    write_program(settings, program_of(settings, desired, 1, 8001))
    registry.delete("echo")
    found, _ = reconciler(settings, registry, Recorded(settings, {}))
    found._recall()
    assert not found.step()
    assert abouts(settings) == {}


@pytest.mark.parametrize(
    "error", [ValueError("template.yml: fprocess: expected a text"), LookupError("nobody thought of this")]
)
def test_what_one_function_cannot_stops_no_other(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def made(settings: Settings, desired: Desired, slot: int, port: int) -> Program:
        if desired.name == "bad":
            raise error
        return program_of(settings, desired, slot, port)

    monkeypatch.setattr(replicas, "replica_program", made)
    monkeypatch.setattr(replicas, "is_ready", lambda port: True)
    monkeypatch.setattr(replicas, "listens", lambda pid, port: True)
    supervisor = Recorded(settings, {})
    found, published = reconciler(settings, deployed(settings, "bad", "good"), supervisor)
    found.step()
    found.step()
    assert set(supervisor.known) == {"good-1"}
    assert len(published["good"]) == 1
    assert str(error) in caplog.text


@pytest.mark.parametrize("own", [True, False])
def test_only_what_the_replicas_own_process_answers_makes_it_ready(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, own: bool
) -> None:
    """Whoever else has its port, a server of files for instance, gets none of its traffic."""
    monkeypatch.setattr(replicas, "replica_program", program_of)
    registry = Registry(settings.deployments)
    with http.server.HTTPServer((LOOPBACK, 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        registry.create(with_port("echo", server.server_port), settings.state / "layout")
        supervisor = Recorded(settings, {})
        found, published = reconciler(settings, registry, supervisor)
        sleeping = subprocess.Popen(["sleep", "60"])
        monkeypatch.setattr(replicas, "is_ready", lambda port: True)
        try:
            found.step()
            pid = os.getpid() if own else sleeping.pid
            supervisor.known["echo-1"] = Process("echo-1", "RUNNING", pid, 0, "")
            found.step()
            found.step()
        finally:
            sleeping.kill()
            sleeping.wait()
            server.shutdown()
        assert published["echo"] == (((LOOPBACK, server.server_port),) if own else ())
    taken = f"echo-1: port {server.server_port} is taken by"
    assert caplog.text.count(taken) == (0 if own else 1)
    assert own or f"(pid {os.getpid()})" in caplog.text


def with_port(name: str, port: int) -> FunctionDeployment:
    return validate({"service": name, "image": name, "annotations": {PORT_ANNOTATION: str(port)}})


def test_no_function_gets_a_port_of_another_or_of_a_part(settings: Settings) -> None:
    registry = Registry(settings.deployments)
    registry.put(with_port("annotated", FREE_PORTS_FROM), Path(), 1)
    for number in range(60):
        registry.put(validate({"service": f"f{number}", "image": "i"}), Path(), 1)
    bases = [base_port(settings, desired) for desired in registry.all()]
    of_all = [base + REPLICA_PORT_STEP * slot for base in bases for slot in range(6)]
    assert len(set(of_all)) == len(of_all)
    assert not set(of_all) & set(PORTS.values())
    assert [base_port(settings, desired) for desired in registry.all()] == bases


def test_a_removed_functions_port_is_free_for_the_next_once_its_replicas_are_gone(settings: Settings) -> None:
    registry, bases = Registry(settings.deployments), {}
    for number in range(300):
        name = f"pr-{number}"
        desired = registry.create(validate({"service": name, "image": "i"}), Path())
        bases[name] = base_port(settings, desired)
        if number == 0:
            write_program(settings, program_of(settings, desired, 1, bases[name]))
        registry.delete(name)
    assert set(bases.values()) == {FREE_PORTS_FROM, FREE_PORTS_FROM + 1}
    assert bases["pr-1"] != bases["pr-0"]


def test_nothing_is_started_of_a_build_that_is_gone(settings: Settings) -> None:
    """What is in it decides how the function is run."""
    registry = Registry(settings.deployments)
    registry.create(validate({"service": "cat", "image": "i", "envProcess": "cat"}), settings.builds / "gone")
    with pytest.raises(BuildError, match="gone: build and deploy again"):
        replica_program(settings, registry.all()[0], 1, 8001)


def test_a_deployment_takes_no_secret_from_the_replicas_of_the_one_before(settings: Settings) -> None:
    """They read it with every request, and go on if the new ones never become ready."""
    layout = settings.state / "layout"
    layout.mkdir(parents=True)
    registry, folders = Registry(settings.deployments), []
    for secrets in (["word"], [], ["other"]):
        body = {"service": "cat", "image": "i", "envProcess": "cat", "secrets": secrets}
        registry.put(validate(body), layout, 1)
        (desired,) = registry.all()
        program = replica_program(settings, desired, len(folders) + 1, 8001)
        folders.append(Path(program.environment["secret_mount_path"]))
        if secrets != []:
            write_program(settings, program)
    assert [sorted(link.name for link in folder.iterdir()) for folder in (folders[0], folders[2])] == [
        ["word"],
        ["other"],
    ]
    assert not folders[1].exists(), "nobody runs with it any more"
