"""Whoever calls whichever operation is answered as authorisation.yml says; and that table is whole.

The operations are those of each function's /openapi.json.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.shared import Api, openapi
from tests.support.callers import FORGERS, FUNCTIONS, KINDS, Request, World, request_for, running_world
from tests.support.postgres import PROJECT, PostgresServer

TABLE_FILE = Path(__file__).parent / "authorisation.yml"
CALLERS = ("anonymous", *KINDS, *FORGERS)

Row = dict[str, str]
"""What each kind of caller is answered: `ok`, or a status."""


def read_table() -> dict[tuple[str, str], Row]:
    table: dict[str, dict[str, str]] = yaml.safe_load(TABLE_FILE.read_text())
    return {
        (function, operation): dict(zip(CALLERS, cells.split(), strict=True))
        for function, rows in table.items()
        for operation, cells in rows.items()
    }


def read_operations() -> set[tuple[str, str]]:
    """Function and operation, such as `GET /{product_id}`, of everything that any function answers."""
    names = [path.parent.name for path in (PROJECT / "functions").glob("*/handler.py")]
    return {(name, operation) for name in names for operation in _operations(name)}


def _operations(function: str) -> Iterator[str]:
    api: Api = importlib.import_module(f"functions.{function}.handler").api
    paths: dict[str, dict[str, Any]] = openapi.document(api)["paths"]
    for path, methods in paths.items():
        for method in methods:
            yield f"{method.upper()} {path}"


TABLE = read_table()


@pytest.fixture(scope="module")
def world(postgres_server: PostgresServer) -> Iterator[World]:
    with running_world(postgres_server) as world:
        yield world


def test_the_table_has_every_operation_and_no_other():
    assert sorted(read_operations() - set(TABLE)) == [], "are not in authorisation.yml"
    assert sorted(set(TABLE) - read_operations()) == [], "are in authorisation.yml, and nowhere else"


def test_each_function_of_the_table_is_asked():
    assert {function for function, _ in TABLE} == set(FUNCTIONS)


@pytest.mark.parametrize(
    ("function", "operation"), [pytest.param(*key, id=" ".join(key)) for key in sorted(TABLE)]
)
def test_callers_are_answered_as_the_table_says(world: World, function: str, operation: str):
    expected = TABLE[function, operation]
    found, refused = dict(expected), request_for(world, function, operation)
    for caller in sorted(CALLERS, key=lambda caller: expected[caller] == "ok"):
        allowed = expected[caller] == "ok"
        request = request_for(world, function, operation) if allowed else refused
        tokens = world.forged[caller] if caller in FORGERS else [world.callers[caller]]
        if request.own and caller in KINDS:
            tokens = [world.new_caller(caller)]
        answers = {told(world, function, operation, request, token) for token in tokens}
        found[caller] = " ".join(sorted(answers))
    assert found == expected


def told(world: World, function: str, operation: str, request: Request, token: dict[str, str]) -> str:
    """`ok` for a success or a conflict, which only those are told who are allowed; otherwise the status."""
    method = operation.partition(" ")[0]
    response = world.ask(function, f"{method} {request.path}", {**request.headers, **token}, request.body)
    return "ok" if response.status_code < 400 or response.status_code == 409 else str(response.status_code)
