"""Each folder of the product says what belongs in it, imports what it may, and rules name the tests that hold them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
ROOTS = ("functions", "localfaas", "db", "kong", "deploy")
SAMPLES = ("localfaas/templates",)
"""What is copied into layouts as it stands."""
CONTRIBUTING = PROJECT / "docs" / "CONTRIBUTING.md"
DECISIONS = sorted((PROJECT / "docs" / "decisions").glob("[0-9]*.md"))


def silent(roots: Iterable[Path]) -> Iterator[Path]:
    """Those folders, and folders with Python below them, that have neither a README nor a package's docstring."""
    for root in roots:
        for folder in sorted({root, *(path.parent for path in root.rglob("*.py"))}):
            package = folder / "__init__.py"
            says = package.exists() and ast.get_docstring(ast.parse(package.read_text()))
            if not says and not (folder / "README.md").exists():
                yield folder


def test_every_folder_says_what_belongs_in_it() -> None:
    found = {str(folder.relative_to(PROJECT)) for folder in silent(PROJECT / root for root in ROOTS)}
    assert {one for one in found if not one.startswith(SAMPLES)} == set()


def test_a_folder_that_says_nothing_is_found(tmp_path: Path) -> None:
    for name, text in (("told", '"""What it is for."""\n'), ("bare", "x = 1\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    assert list(silent([tmp_path])) == [tmp_path, tmp_path / "bare"]


def test_every_function_is_in_the_list_of_them() -> None:
    page = (PROJECT / "functions" / "README.md").read_text()
    there = {path.parent.name for path in (PROJECT / "functions").glob("*/handler.py")}
    assert set(re.findall(r"^\| \[(\w+)\]", page, re.MULTILINE)) == there


# What a function may import, since nothing else of the project is in its image


def foreign(source: str, function: str) -> set[str]:
    """Modules of the project that a function's module imports and that are neither its own nor shared."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [alias.name for alias in node.names] if node.module == "functions" else [""]
            found |= {f"{node.module}.{name}".rstrip(".") for name in names}
    own = {"functions.shared", f"functions.{function}"}
    return {
        name
        for name in found
        if name.split(".")[0] in {"functions", "localfaas", "db", "deploy", "tests", "benchmarks"}
        if ".".join(name.split(".")[:2]) not in own
    }


@pytest.mark.parametrize("folder", sorted(path.parent for path in PROJECT.glob("functions/*/__init__.py")) + sorted(path.parent for path in PROJECT.glob("functions/*/handler.py")), ids=lambda path: path.name)  # fmt: skip
def test_function_imports_itself_and_what_all_share(folder: Path) -> None:
    found = {name for path in folder.rglob("*.py") for name in foreign(path.read_text(), folder.name)}
    assert found == set()


@pytest.mark.parametrize(
    "text", ["import localfaas.client", "from functions.cart import store", "from functions import cart"]
)
def test_an_import_of_somebody_elses_is_found(text: str) -> None:
    assert foreign(text, "sales")
    assert not foreign("from functions.shared.stock import x\nfrom . import store\nimport json", "sales")


# Rules and decisions


def test_every_test_that_a_rule_names_is_there() -> None:
    there = {
        name
        for path in (PROJECT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    named = re.findall(r"`(test_\w+)`", CONTRIBUTING.read_text())
    assert len(named) > 40
    assert [name for name in named if name not in there] == []


def faults_of_decision(text: str) -> list[str]:
    """What is missing for a page to be read as the others are."""
    parts = [part for part in ("Context", "Choice", "Consequences") if not re.search(rf"^(\*\*|## ){part}", text, re.M)]  # fmt: skip
    return parts + (["a title without a number"] if not re.match(r"# [^\d\s]", text) else [])


def test_decisions_have_numbers_of_their_own_and_the_same_parts() -> None:
    assert len({path.name[:4] for path in DECISIONS}) == len(DECISIONS)
    assert {path.name: faults for path in DECISIONS if (faults := faults_of_decision(path.read_text()))} == {}


def test_a_decision_in_another_form_is_found() -> None:
    assert faults_of_decision("# 7. Title\n\n**Choice.** X.\n") == [
        "Context",
        "Consequences",
        "a title without a number",
    ]
