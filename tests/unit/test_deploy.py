from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from localfaas.build import resolve_image
from localfaas.client import ClientError, GatewayClient
from localfaas.deploy import DeployError, deploy_stack
from localfaas.settings import Settings
from localfaas.stack import Stack, load_stack


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
