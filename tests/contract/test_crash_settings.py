"""Nothing that is deployed can be told to crash: those settings are for tests alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from functions.shared.crash import CrashSettings
from functions.shared.settings import FunctionSettings, environment_name
from localfaas.stack import load_stack

STACK = load_stack(Path(__file__).parents[2] / "stack.yml", {})
FOR_TESTS = {environment_name(item) for item in dataclasses.fields(CrashSettings)} - {
    environment_name(item) for item in dataclasses.fields(FunctionSettings)
}


def test_they_are_known() -> None:
    assert {"crash_plan", "testing"} == FOR_TESTS


@pytest.mark.parametrize("name", STACK.functions)
def test_the_stack_sets_none_of_them(name: str) -> None:
    assert FOR_TESTS & set(STACK.functions[name].environment) == set()
