"""stack.yml gives every function the settings and the secrets that it reads, and no others."""

import dataclasses
import importlib
from pathlib import Path

import pytest

from functions.shared.settings import DatabaseSettings, FunctionSettings, environment_name, load
from localfaas.postgres import MAX_CONNECTIONS
from localfaas.stack import load_stack

STACK = load_stack(Path(__file__).parents[2] / "stack.yml", {})
FOR_OTHERS = 10
"""Connections left for migrations, the superuser and people."""
WATCHDOG = {"read_timeout", "write_timeout", "exec_timeout", "max_inflight", "ready_path"}


def settings_of(name: str) -> type[FunctionSettings]:
    handler = importlib.import_module(f"functions.{name}.handler")
    own = [
        one for one in vars(handler).values() if isinstance(one, type) and one.__module__ == handler.__name__
    ]
    (kind,) = (one for one in own if issubclass(one, FunctionSettings))
    return kind


@pytest.mark.parametrize("name", STACK.functions)
def test_every_variable_is_a_setting_or_the_watchdogs(name: str) -> None:
    fields = (*dataclasses.fields(settings_of(name)), *dataclasses.fields(DatabaseSettings))
    known = {environment_name(item) for item in fields if "secret" not in item.metadata}
    assert set(STACK.functions[name].environment) - known - WATCHDOG == set()


@pytest.mark.parametrize("name", STACK.functions)
def test_every_secret_is_read_and_every_one_read_is_given(name: str) -> None:
    fields = dataclasses.fields(settings_of(name))
    read = {item.metadata["secret"].format(function=name) for item in fields if "secret" in item.metadata}
    assert set(STACK.functions[name].secrets) == read


@pytest.mark.parametrize("name", STACK.functions)
def test_the_settings_can_be_loaded_as_they_stand(name: str, tmp_path: Path) -> None:
    function = STACK.functions[name]
    for secret in function.secrets:
        (tmp_path / secret).write_text("something\n")
    settings = load(settings_of(name), name, {**function.environment, "secret_mount_path": str(tmp_path)})
    assert settings.threads == int(function.environment["threads"])


def test_all_replicas_at_their_most_fit_into_the_database() -> None:
    """A replica's pool holds a connection for each thread, and one for `/_/ready`."""
    pools = {
        name: (int(function.environment["threads"]) + 1) * int(function.labels["com.openfaas.scale.max"])
        for name, function in STACK.functions.items()
        if f"{name}-db" in function.secrets
    }
    assert sum(pools.values()) + FOR_OTHERS <= MAX_CONNECTIONS, pools
