"""What Python code can say: its texts, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator

HOLE = "\x00"
"""Stands where a value is filled in."""


def literals(source: str) -> Iterator[str]:
    """Every text of a module but its docstrings."""
    tree = ast.parse(source)
    described = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(one.value) if isinstance(one, ast.Constant) else HOLE for one in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in described:
            yield node.value
