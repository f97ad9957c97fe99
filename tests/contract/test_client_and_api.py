"""Our deploy client and our API, on the wire, with the project's own stack file."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from localfaas.api import ApiContext, create_app
from localfaas.build import resolve_image
from localfaas.client import ClientError, GatewayClient
from localfaas.deploy import DeployError, deploy_stack
from localfaas.deployment import validate
from localfaas.registry import Registry
from localfaas.settings import Settings
from localfaas.stack import Stack, load_stack

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Platform:
    settings: Settings
    registry: Registry
    client: GatewayClient
    stack: Stack

    def deploy(self) -> None:
        deploy_stack(self.stack.functions.values(), self.stack, self.settings, self.client, lambda line: None)

    def make_secrets(self) -> None:
        for name in sorted({secret for one in self.stack.functions.values() for secret in one.secrets}):
            self.client.create_secret(name, "value")


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    shutil.copy(ROOT / "stack.yml", tmp_path)
    for folder in ("functions", "template"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    settings = Settings.load({}, tmp_path)
    settings.secrets.mkdir(parents=True)
    (settings.secrets / "basic-auth-user").write_text("admin\n")
    (settings.secrets / "basic-auth-password").write_text("secret\n")
    registry = Registry(settings.deployments)
    context = ApiContext(
        settings=settings,
        registry=registry,
        available=lambda name: 0,
        replicas=list,
        resolve_image=lambda image: resolve_image(settings.builds, image),
        invocation_counts=dict,
    )
    server = make_server("127.0.0.1", 0, create_app(context), threaded=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    client = GatewayClient(f"http://127.0.0.1:{server.server_port}", "admin", "secret")
    yield Platform(settings, registry, client, load_stack(tmp_path / "stack.yml", {}))
    client.close()
    server.shutdown()
    server.server_close()


def test_what_is_deployed_is_what_the_stack_file_says(platform: Platform) -> None:
    platform.make_secrets()
    platform.deploy()
    deployed = {desired.name: desired for desired in platform.registry.all()}
    assert sorted(deployed) == sorted(platform.stack.functions)
    for name, function in platform.stack.functions.items():
        assert deployed[name].deployment == validate(function.deployment())
        assert deployed[name].layout == resolve_image(platform.settings.builds, function.image)
    assert deployed["cart"].replicas == 3


def test_deploying_again_rolls_every_function_and_goes_back_to_its_minimum(platform: Platform) -> None:
    platform.make_secrets()
    platform.deploy()
    before = {desired.name: desired for desired in platform.registry.all()}
    platform.client.scale("cart", 5)
    platform.deploy()
    after = {desired.name: desired for desired in platform.registry.all()}
    assert all(before[name].generation != after[name].generation for name in before)
    assert all(before[name].layout == after[name].layout for name in before)
    assert after["cart"].replicas == 3


def test_every_function_whose_secrets_are_missing_is_listed(platform: Platform) -> None:
    with pytest.raises(DeployError) as failed:
        platform.deploy()
    lines = str(failed.value).split("\n")
    with_secrets = [function for function in platform.stack.functions.values() if function.secrets]
    assert lines[0] == f"{len(with_secrets)} not deployed"
    assert [line.split(": ")[1][:29] for line in lines[1:]] == ["400 unable to fetch secrets"] * (
        len(lines) - 1
    )
    assert {deployed.name for deployed in platform.registry.all()} == {"site"}, "it needs none"


def test_an_image_that_was_not_built_is_one_clear_line(platform: Platform) -> None:
    with pytest.raises(ClientError) as refused:
        platform.client.deploy({"service": "other", "image": "nobody/built:this"})
    assert refused.value.status == 400
    assert "nobody/built:this" in str(refused.value)


def test_functions_are_listed_described_scaled_and_removed(platform: Platform) -> None:
    platform.make_secrets()
    platform.deploy()
    client = platform.client
    assert sorted(status["name"] for status in client.list()) == sorted(platform.stack.functions)
    client.scale("products", 2)
    assert client.describe("products")["replicas"] == 2
    client.remove("products")
    for gone in (
        lambda: client.describe("products"),
        lambda: client.remove("products"),
        lambda: client.scale("products", 1),
    ):
        with pytest.raises(ClientError, match="no such function: products"):
            gone()


def test_secrets_are_made_once_changed_listed_and_removed(platform: Platform) -> None:
    client = platform.client
    client.create_secret("one", "1")
    with pytest.raises(ClientError, match="the secret one already exists"):
        client.create_secret("one", "2")
    client.update_secret("one", "3")
    assert "one" in client.secrets()
    client.remove_secret("one")
    assert "one" not in client.secrets()
    with pytest.raises(ClientError, match="404"):
        client.update_secret("one", "4")


def test_a_wrong_password_is_refused(platform: Platform) -> None:
    other = GatewayClient(platform.client.url, "admin", "guess")
    with pytest.raises(ClientError, match="refuses the user or the password"):
        other.list()
    other.close()


def test_the_platform_says_what_it_is(platform: Platform) -> None:
    assert platform.client.namespaces() == ["openfaas-fn"]
    assert platform.client.info()["provider"]["provider"]
