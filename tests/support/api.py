"""A localfaas API over a temporary directory, with hands instead of a reconciler."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from localfaas.api import ApiContext, create_app, create_metrics_app
from localfaas.envoy import Address
from localfaas.registry import Registry
from localfaas.settings import Settings

USER, PASSWORD = "admin", "correct horse: battery"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@dataclass(frozen=True)
class FakeReplica:
    function: str
    name: str
    address: Address


@dataclass
class Api:
    """The application under test and the world it sees; images are known when they are in `images`."""

    settings: Settings
    ready: dict[str, int] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    replicas: list[FakeReplica] = field(default_factory=list)
    images: set[str] = field(default_factory=lambda: {"cart:1", "cart:2"})

    def __post_init__(self) -> None:
        for directory in (self.settings.secrets, self.settings.logs, self.settings.run):
            directory.mkdir(parents=True, exist_ok=True)
        (self.settings.secrets / "basic-auth-user").write_text(USER + "\n")
        (self.settings.secrets / "basic-auth-password").write_text(PASSWORD + "\n")
        self.registry = Registry(self.settings.deployments)
        self.context = ApiContext(
            settings=self.settings,
            registry=self.registry,
            available=lambda name: self.ready.get(name, 0),
            replicas=lambda: self.replicas,
            resolve_image=lambda image: Path("/layouts") / image if image in self.images else None,
            invocation_counts=lambda: self.counted,
        )
        self.app = create_app(self.context)
        self.client: FlaskClient = self.app.test_client()
        self.metrics_client: FlaskClient = create_metrics_app(self.context).test_client()

    def send(self, method: str, path: str, json: Any = None, **options: Any) -> TestResponse:
        """A request with the right password, unless `headers` says otherwise."""
        options.setdefault("headers", {"Authorization": BASIC})
        if json is not None:
            options["json"] = json
        return self.client.open(path, method=method, **options)

    def deploy(self, name: str = "cart", **more: Any) -> TestResponse:
        return self.send("POST", "/system/functions", {"service": name, "image": "cart:1", **more})

    def replicas_of(self, name: str = "cart") -> int:
        desired = self.registry.get(name)
        assert desired is not None
        return desired.replicas


def make_api(directory: Path, port_offset: int = 0) -> Api:
    return Api(Settings(project=directory, state=directory, port_offset=port_offset))
