from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from localfaas import deploy
from localfaas.build import resolve_image
from localfaas.client import ClientError, GatewayClient, Statuses
from localfaas.deploy import DeployError, deploy_stack, wait_until_served
from localfaas.deployment import validate
from localfaas.gateway import write_endpoints
from localfaas.registry import Desired, Registry
from localfaas.settings import Settings
from localfaas.stack import Stack, load_stack
from localfaas.supervisor import Program, starts_file, write_program


class FakeGateway(GatewayClient):
    """Takes every deployment whose image has been built, as the real one does."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("http://127.0.0.1:1", "admin", "x")
        self.bodies: list[dict[str, Any]] = []
        self._settings = settings

    def deploy(self, body: Mapping[str, Any]) -> int:
        if resolve_image(self._settings.builds, body["image"]) is None:
            raise ClientError(f"400 the image {body['image']} is not known here", 400)
        self.bodies.append(dict(body))
        return 202


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "template/own/function").mkdir(parents=True)
    (tmp_path / "template/own/template.yml").write_text("language: own\nfprocess: cat\n")
    (tmp_path / "good").mkdir()
    return Settings.load({}, tmp_path)


def load(settings: Settings, functions: str) -> Stack:
    path = settings.project / "stack.yml"
    path.write_text(f"provider: {{name: openfaas}}\nfunctions:\n{functions}")
    return load_stack(path, {})


def test_every_function_is_built_then_sent(settings: Settings) -> None:
    stack = load(
        settings,
        "  a: {lang: own, handler: good, image: a}\n  b: {image: 'a:latest', skip_build: true, lang: own}\n",
    )
    gateway, said = FakeGateway(settings), list[str]()
    deploy_stack(stack.functions.values(), stack, settings, gateway, said.append)
    assert gateway.bodies == [function.deployment() for function in stack.functions.values()]
    assert said == [f"Deployed {name}: http://127.0.0.1:1/function/{name}" for name in "ab"]


def test_one_failure_stops_no_other_and_all_are_listed_at_the_end(settings: Settings) -> None:
    stack = load(
        settings,
        "  a: {lang: own, handler: missing, image: a}\n"
        "  b: {lang: own, handler: good, image: b}\n"
        "  c: {image: elsewhere}\n",
    )
    gateway = FakeGateway(settings)
    with pytest.raises(DeployError) as failed:
        deploy_stack(stack.functions.values(), stack, settings, gateway, lambda line: None)
    assert [body["service"] for body in gateway.bodies] == ["b"]
    assert str(failed.value).split("\n") == [
        "2 not deployed",
        "a: stack.yml: functions.a.handler: missing is no directory",
        "c: 400 the image elsewhere is not known here",
    ]


class Told(FakeGateway):
    """Lists what it is given, or fails with it, and the last for ever."""

    def __init__(self, settings: Settings, *answers: Statuses | ClientError) -> None:
        super().__init__(settings)
        self._answers: Iterator[Statuses | ClientError] = iter(answers)
        self._answer: Statuses | ClientError = []

    def list(self) -> Statuses:
        self._answer = next(self._answers, self._answer)
        if isinstance(self._answer, ClientError):
            raise self._answer
        return self._answer


THERE: Statuses = [{"name": "echo", "replicas": 1, "availableReplicas": 1}]


def deployed(settings: Settings) -> Desired:
    """A function with one replica, which is there and takes traffic."""
    desired = Registry(settings.deployments).create(
        validate({"service": "echo", "image": "echo"}), settings.state / "layout"
    )
    about = {"function": "echo", "generation": desired.generation, "port": 8001}
    write_program(settings, Program("echo-1", ["true"], settings.project, about=about))
    write_endpoints(settings, "echo", [("127.0.0.1", 8001)])
    return desired


def test_an_api_that_is_started_again_is_waited_for(settings: Settings) -> None:
    deployed(settings)
    away, unreachable = ClientError("502 The localfaas API is not answering", 502), ClientError("refused")
    wait_until_served(settings, Told(settings, away, unreachable, [], THERE), ["echo"])


def test_a_gateway_that_refuses_is_not_waited_for(settings: Settings) -> None:
    deployed(settings)
    with pytest.raises(ClientError):
        wait_until_served(settings, Told(settings, ClientError("401", 401), THERE), ["echo"])


def test_a_function_that_is_removed_meanwhile_is_told(settings: Settings) -> None:
    with pytest.raises(DeployError, match="echo was removed meanwhile"):
        wait_until_served(settings, Told(settings, []), ["echo"])


def test_a_replica_that_ends_whenever_it_is_started_is_told_with_its_last_words(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed(settings)
    write_endpoints(settings, "echo", [])
    settings.logs.mkdir(parents=True)
    (settings.logs / "echo-1.log").write_text("SyntaxError: invalid syntax\n")

    def start_again(_: float) -> None:
        with starts_file(settings, "echo-1").open("a") as starts:
            starts.write("once more\n")

    monkeypatch.setattr(deploy.time, "sleep", start_again)
    with pytest.raises(DeployError, match=r"(?s)echo-1 ends whenever it is started\n.*SyntaxError"):
        wait_until_served(settings, Told(settings, THERE), ["echo"])


def test_without_supervisord_no_function_is_to_blame(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed(settings)
    write_endpoints(settings, "echo", [])
    monkeypatch.setattr(deploy, "READY_SECONDS", 0.0)
    with pytest.raises(DeployError, match="supervisord is away"):
        wait_until_served(settings, Told(settings, THERE), ["echo"])
