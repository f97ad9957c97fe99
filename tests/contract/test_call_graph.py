"""Who calls whom: read from the source, and held to docs/architecture.md, in which there is no cycle.

A call is `….client.call(method, function, …)` or `….client.get(function, …)`. Which function it names must be found
in the same file: a literal, a constant, or what the callers of a helper hand to it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from functions.site.handler import SiteSettings
from localfaas.stack import load_stack

PROJECT = Path(__file__).resolve().parents[2]
SHARED = PROJECT / "functions" / "shared"
FUNCTIONS = sorted(load_stack(PROJECT / "stack.yml", {}).functions)
PLACE_OF_THE_NAME = {"call": 1, "get": 0}

Definition = ast.FunctionDef | ast.Module


class Unreadable(AssertionError):
    """The function that a call names cannot be found in the file."""


@dataclass(frozen=True)
class Source:
    """One Python file."""

    name: str
    tree: ast.Module

    def called(self) -> set[str]:
        """The functions that calls in this file name."""
        return {
            name
            for scope, call in self._calls()
            if isinstance(call.func, ast.Attribute)
            and call.func.attr in PLACE_OF_THE_NAME
            and ast.unparse(call.func.value).endswith("client")
            for name in self._names(call.args[PLACE_OF_THE_NAME[call.func.attr]], scope)
        }

    def imported(self) -> set[str]:
        """The modules of functions/shared that this file uses."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom):
                found |= _shared_modules(node, inside=self.name.startswith("functions/shared/"))
        return found

    def _calls(self) -> Iterator[tuple[Definition, ast.Call]]:
        """Every call, with the innermost function that it is in."""
        waiting: list[tuple[Definition, ast.AST]] = [(self.tree, self.tree)]
        while waiting:
            scope, node = waiting.pop()
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.Call):
                    yield scope, child
                waiting.append((child if isinstance(child, ast.FunctionDef) else scope, child))

    def _names(self, value: ast.expr, scope: Definition) -> set[str]:
        """What an expression may stand for."""
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return {value.value}
        if isinstance(value, ast.Tuple):
            return {name for element in value.elts for name in self._names(element, scope)}
        if isinstance(value, ast.Attribute):
            return self._handed_over(None, value.attr)
        if isinstance(value, ast.Name):
            return self._named(value.id, scope)
        raise self._unreadable(value)

    def _named(self, name: str, scope: Definition) -> set[str]:
        """What a variable may stand for: looped over, a constant of the file, or a parameter."""
        for node in ast.walk(scope):
            if isinstance(node, ast.For) and ast.unparse(node.target) == name:
                return self._names(node.iter, scope)
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                return self._names(node.value, self.tree)
        if isinstance(scope, ast.FunctionDef) and name in [each.arg for each in scope.args.args]:
            return self._handed_over(scope, name)
        raise self._unreadable(ast.Name(name))

    def _handed_over(self, helper: ast.FunctionDef | None, parameter: str) -> set[str]:
        """What calls hand to `helper` as `parameter`; without a helper, to anything under that keyword."""
        found: set[str] = set()
        for scope, call in self._calls():
            if helper is not None and ast.unparse(call.func).split(".")[-1] != helper.name:
                continue
            given = [keyword.value for keyword in call.keywords if keyword.arg == parameter]
            if helper is not None and not given:
                names = [each.arg for each in helper.args.args if each.arg != "self"]
                given = call.args[names.index(parameter) :][:1]
            found |= {name for value in given for name in self._names(value, scope)}
        if not found:
            raise self._unreadable(ast.Name(parameter))
        return found

    def _unreadable(self, value: ast.expr) -> Unreadable:
        return Unreadable(f"{self.name}: which function is {ast.unparse(value)}? Name it in this file.")


def _shared_modules(node: ast.ImportFrom, *, inside: bool) -> set[str]:
    """The modules of functions/shared in `from … import …`; relative imports are of shared only `inside` of it."""
    module = (
        f"functions.shared.{node.module or ''}".rstrip(".") if inside and node.level else node.module or ""
    )
    if module == "functions.shared":
        return {alias.name for alias in node.names if (SHARED / f"{alias.name}.py").exists()}
    return {module.removeprefix("functions.shared.")} if module.startswith("functions.shared.") else set()


@cache
def source(path: Path) -> Source:
    return Source(str(path.relative_to(PROJECT)), ast.parse(path.read_text()))


def calls_of(paths: list[Path]) -> set[str]:
    """The functions that these files call, by themselves or through what they use of functions/shared."""
    found: set[str] = set()
    seen: set[Path] = set()
    while paths:
        path = paths.pop()
        if path in seen:
            continue
        seen.add(path)
        found |= source(path).called()
        paths += [SHARED / f"{name}.py" for name in source(path).imported()]
    return found


@cache
def graph_of_the_source() -> dict[str, set[str]]:
    read = {
        function: calls_of(sorted((PROJECT / "functions" / function).glob("*.py")))
        for function in FUNCTIONS
        if function != "site"
    }
    return {**read, "site": set(SiteSettings.functions.split())}  # asks whom its setting names


def graph_of_the_document() -> dict[str, set[str]]:
    """The table below "Who calls whom"."""
    text = (PROJECT / "docs" / "architecture.md").read_text()
    section = text.split("## Who calls whom\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([a-z, ]+) \| ([a-z, ]+) \| .* \|$", section, re.MULTILINE)
    return {
        caller: set() if called == "nobody" else set(called.split(", "))
        for callers, called in rows
        if callers != "function"
        for caller in callers.split(", ")
    }


def test_the_source_calls_whom_the_document_says():
    assert graph_of_the_source() == graph_of_the_document()


def test_nobody_calls_in_a_circle():
    assert set(TopologicalSorter(graph_of_the_source()).static_order()) == set(FUNCTIONS)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_but_the_shared_client_calls(function: str):
    """`requests` is imported for the type of its answers only, and nothing else that speaks HTTP is."""
    for path in (PROJECT / "functions" / function).glob("*.py"):
        for node in ast.walk(source(path).tree):
            if isinstance(node, ast.ImportFrom) and node.module == "requests":
                assert [alias.name for alias in node.names] == ["Response"], path
            elif isinstance(node, ast.Import | ast.ImportFrom):
                modules = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                roots = {(module or "").split(".")[0] for module in modules}
                assert not roots & {"requests", "urllib3", "httpx", "http", "socket"}, path


def read(text: str) -> set[str]:
    return Source("functions/x/handler.py", ast.parse(text)).called()


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ('current().client.get("products", "/")', {"products"}),
        ('self._client.call("POST", "orders", "/")', {"orders"}),
        ('NAME = "orders"\ndef f():\n    client.get(NAME, "/")', {"orders"}),
        ('def ask(name, path):\n    client.get(name, path)\nask("a", "/")\nask(name="b", path="/")', {"a", "b"}),
        ('ALL = ("a", "b")\ndef f():\n    for one in ALL:\n        ask(one)\ndef ask(x):\n    client.get(x, "/")', {"a", "b"}),
        ('TASKS = [Task(function="a"), Task(function="b")]\ndef f(task):\n    client.get(task.function, "/")', {"a", "b"}),
        ('answers.get("products")', set()),
    ],
)  # fmt: skip
def test_calls_are_found_however_they_are_written(text: str, called: set[str]):
    assert read(text) == called


@pytest.mark.parametrize(
    "text", ['client.get(x(), "/")', 'def f(a):\n    client.get(a, "/")', 'client.get(where, "/")']
)
def test_a_call_of_nobody_knows_whom_is_refused(text: str):
    with pytest.raises(Unreadable, match="which function is"):
        read(text)
