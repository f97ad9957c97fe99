"""What stack.yml gives a function is what the function reads: no setting without a reader, no secret missing."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.shared import DatabaseSettings, FunctionSettings
from functions.shared.settings import environment_name, load
from localfaas.substitution import substitute

PROJECT = Path(__file__).resolve().parents[2]
STACK = yaml.safe_load(substitute((PROJECT / "stack.yml").read_text(), {}))
FUNCTIONS: dict[str, dict[str, Any]] = STACK["functions"]
OURS = {name: spec for name, spec in FUNCTIONS.items() if spec["handler"].startswith("./functions/")}
READ_BY_THE_WATCHDOG = {
    "exec_timeout", "healthcheck_interval", "max_inflight", "read_timeout", "ready_path", "write_timeout",
}  # fmt: skip


def settings_of(function: str) -> type[FunctionSettings]:
    module = importlib.import_module(f"functions.{function}.handler")
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, FunctionSettings)
        and value.__module__ == module.__name__
    )
    return found


@pytest.fixture(params=sorted(OURS))
def function(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_each_variable_in_the_stack_has_a_reader(function: str) -> None:
    # All functions share one block of defaults; what it says of the database is read by those that have one.
    known = dataclasses.fields(settings_of(function)) + dataclasses.fields(DatabaseSettings)
    read = {environment_name(item) for item in known}
    assert set(OURS[function]["environment"]) - read <= READ_BY_THE_WATCHDOG


def test_each_secret_that_is_read_is_given(function: str) -> None:
    read = {
        str(item.metadata["secret"]).format(function=function)
        for item in dataclasses.fields(settings_of(function))
        if "secret" in item.metadata
    }
    assert read <= set(OURS[function]["secrets"])


def test_each_setting_has_a_sentence(function: str) -> None:
    for item in dataclasses.fields(settings_of(function)):
        assert item.metadata["sentence"].endswith("."), item.name


def test_settings_of_the_stack_can_be_loaded_as_they_stand(function: str, tmp_path: Path) -> None:
    for name in OURS[function]["secrets"]:
        (tmp_path / name).write_text("x")
    environ = {name: str(value) for name, value in OURS[function]["environment"].items()}
    loaded = load(settings_of(function), function, {**environ, "secret_mount_path": str(tmp_path)})
    assert loaded.threads >= 1


def test_the_readme_names_each_setting_of_the_function_itself(function: str) -> None:
    readme = (PROJECT / "functions" / function / "README.md").read_text()
    own = set(vars(settings_of(function)).get("__annotations__", {}))
    assert [name for name in sorted(own) if f"`{name}`" not in readme] == []
