"""stack.yml gives every function the settings and the secrets that it reads, and no others; each is read, and explained."""

import ast
import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from docs.source.settings import OF_THE_WATCHDOG, settings_class
from functions.shared.settings import DatabaseSettings, environment_name, load
from localfaas.postgres import MAX_CONNECTIONS
from localfaas.stack import load_stack

PROJECT = Path(__file__).parents[2]
STACK = load_stack(PROJECT / "stack.yml", {})
FOR_OTHERS = 10
"""Connections left for migrations, the superuser and people."""


@pytest.mark.parametrize("name", STACK.functions)
def test_every_variable_is_a_setting_or_the_watchdogs(name: str) -> None:
    # All functions share one block of defaults; what it says of the database is read by those that have one.
    fields = (*dataclasses.fields(settings_class(name)), *dataclasses.fields(DatabaseSettings))
    known = {environment_name(item) for item in fields if "secret" not in item.metadata}
    assert set(STACK.functions[name].environment) - known - OF_THE_WATCHDOG.keys() == set()


@pytest.mark.parametrize("name", STACK.functions)
def test_every_secret_is_read_and_every_one_read_is_given(name: str) -> None:
    fields = dataclasses.fields(settings_class(name))
    read = {item.metadata["secret"].format(function=name) for item in fields if "secret" in item.metadata}
    assert set(STACK.functions[name].secrets) == read


@pytest.mark.parametrize("name", STACK.functions)
def test_the_settings_can_be_loaded_as_they_stand(name: str, tmp_path: Path) -> None:
    function = STACK.functions[name]
    for secret in function.secrets:
        (tmp_path / secret).write_text("something\n")
    settings = load(settings_class(name), name, {**function.environment, "secret_mount_path": str(tmp_path)})
    assert settings.threads == int(function.environment["threads"])


@pytest.mark.parametrize("name", STACK.functions)
def test_each_setting_has_a_sentence_and_the_functions_own_a_place_in_its_readme(name: str) -> None:
    kind = settings_class(name)
    assert all(item.metadata["sentence"].endswith(".") for item in dataclasses.fields(kind))
    readme = (PROJECT / "functions" / name / "README.md").read_text()
    own = set(vars(kind).get("__annotations__", {}))
    assert [item for item in sorted(own) if f"`{item}`" not in readme] == []


def unread(names: Iterable[str], sources: Iterable[str]) -> set[str]:
    """Those of the names that no source takes as an attribute of anything."""
    trees = (ast.parse(source) for source in sources)
    read = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return set(names) - read


@pytest.mark.parametrize("name", STACK.functions)
def test_every_setting_is_read_by_its_function_or_by_what_all_share(name: str) -> None:
    files = [
        *(PROJECT / "functions" / name).glob("*.py"),
        *(PROJECT / "functions" / "shared").glob("*.py"),
    ]
    names = (item.name for item in dataclasses.fields(settings_class(name)))
    assert unread(names, (path.read_text() for path in files)) == set()


def test_a_setting_that_nobody_reads_is_found() -> None:
    assert unread(["used", "idle"], ["print(settings.used, idle)"]) == {"idle"}


def test_the_head_of_the_stack_file_names_every_variable_that_it_is_read_with() -> None:
    text = (PROJECT / "stack.yml").read_text()
    head = text.partition("\nversion:")[0]
    used = set(re.findall(r"\$\{(\w+):-", text))
    assert set(re.findall(r"[A-Z][A-Z_]+", head)) >= used
    assert {"WARM_UP", "TRACES_URL"} <= used


def test_all_replicas_at_their_most_fit_into_the_database() -> None:
    """A replica's pool holds a connection for each thread, and one for `/_/ready`."""
    pools = {
        name: (int(function.environment["threads"]) + 1) * int(function.labels["com.openfaas.scale.max"])
        for name, function in STACK.functions.items()
        if f"{name}-db" in function.secrets
    }
    assert sum(pools.values()) + FOR_OTHERS <= MAX_CONNECTIONS, pools
