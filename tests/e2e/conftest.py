"""Platforms for end-to-end tests, each started once a session, beside whatever else runs."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.platform import PROJECT, Deployed, Platform, discard, new_platform
from tests.support.secret_search import given_away, values_in
from tests.support.watching import Prometheus, trade_until_all_is_seen


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """localfaas with a project that is no shop: a few functions of every kind, no database."""
    project = tmp_path_factory.mktemp("project") / "two_functions"
    shutil.copytree(Path(__file__).parent / "two_functions", project)
    shutil.copytree(PROJECT / "template", project / "template")
    platform = new_platform(project)
    try:
        platform.run("up")
        yield platform
    finally:
        discard(platform)


@pytest.fixture(scope="session")
def shop() -> Iterator[Platform]:
    """The shop, whole, as `make up` starts it; or the one that E2E_EDGE_URL names, which may be on a cluster."""
    deployed = Deployed.named_in(os.environ)
    if deployed:
        yield deployed
        return
    platform = new_platform(PROJECT)
    try:
        platform.run("up")
        yield platform
        assert told_secrets(platform) == {}
    finally:
        discard(platform)


def told_secrets(platform: Platform) -> dict[str, list[str]]:
    """Logs and files of the repository that have a secret of this platform in them, once all tests have used it."""
    values = {**values_in(platform.secrets), **platform.known}
    return given_away(values, platform.settings.logs.rglob("*"), PROJECT)


@pytest.fixture(scope="session")
def watched(shop: Platform) -> Iterator[Prometheus]:
    """The shop's Prometheus, once it has seen one of everything that a dashboard counts."""
    missing = {"prometheus", "postgres-exporter"} - shop.processes().keys()
    if missing:
        pytest.skip(f"neither on PATH nor to be had as Debian's package here: {', '.join(sorted(missing))}")
    client = trade_until_all_is_seen(shop)
    yield client
    client.close()
