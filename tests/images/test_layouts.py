"""Each function runs from what its image would hold: its layout, and a clean environment with its own requirements alone.

The ordinary suite tries one function; `make image-test` tries all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.images import STACK, Environments, NoIndexError, from_layout, lay_out, secrets_of

WITHOUT_A_DATABASE = "site"
every = pytest.mark.skipif(
    not os.environ.get("IMAGE_TEST"), reason="all functions take a while: make image-test"
)
NAMES = [pytest.param(name, marks=() if name == WITHOUT_A_DATABASE else every) for name in STACK.functions]


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environments]:
    yield Environments(tmp_path_factory.mktemp("environments"))


@pytest.mark.parametrize("name", NAMES)
def test_function_answers_from_its_layout_alone(
    name: str, environments: Environments, tmp_path: Path
) -> None:
    layout = lay_out(name, tmp_path / "builds")
    before = sorted(layout.rglob("*"))
    try:
        programs = environments.of(layout)
    except NoIndexError as error:
        if os.environ.get("IMAGE_TEST"):
            raise
        pytest.skip(f"no package index within reach: {error}")
    with from_layout(name, layout, programs, secrets_of(name, tmp_path / "secrets")) as function:
        function.answers()
        document = function.get("/openapi.json")
        assert (document.status_code, document.json()["openapi"][:2]) == (200, "3.")
        assert "http_request_duration_seconds_count" in function.get("/metrics").text
        has_database = f"{name}-db" in STACK.functions[name].secrets
        assert function.get("/_/ready").status_code == (503 if has_database else 200)
        if name == WITHOUT_A_DATABASE:
            assert "<html" in function.get("/").text
    assert sorted(layout.rglob("*")) == before, "the root of its container is read-only"


def test_function_without_its_requirements_is_found_out(environments: Environments, tmp_path: Path) -> None:
    layout = lay_out(WITHOUT_A_DATABASE, tmp_path / "builds")
    secrets = secrets_of(WITHOUT_A_DATABASE, tmp_path / "secrets")
    with (
        from_layout(WITHOUT_A_DATABASE, layout, environments.bare(), secrets) as function,
        pytest.raises(AssertionError, match="No module named"),
    ):
        function.answers()
