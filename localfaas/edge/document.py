"""The text of a kong.yml as plain values that remember where they were written.

YAML through libyaml, as Kong reads it: anchors, aliases and merge keys work, the last of two equal keys wins,
only the first document counts. JSON is YAML. A date is a text: Kong's reader knows no times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from localfaas.edge.errors import Fault, KongConfigError, Place, Position

_ALIAS = re.compile(r"\*([^\s,\]}]+)")
_FAILED = "failed parsing declarative configuration: "
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
MOST_VALUES = 250_000
"""With what aliases stand for: a few lines of them can stand for more than fits into memory."""


@dataclass(frozen=True)
class Document:
    """The top-level mapping and the line and column of each value in it."""

    values: dict[str, Any]
    positions: dict[Place, Position]

    def position(self, place: Place) -> Position | None:
        """Where the value at `place`, or the nearest one around it, was written."""
        for length in range(len(place), -1, -1):
            if place[:length] in self.positions:
                return self.positions[place[:length]]
        return None


def read_document(text: str) -> Document:
    """Parse `text`.

    Raises KongConfigError, with line and column where YAML itself is broken, when it is not a mapping.
    """
    try:
        loader = yaml.CSafeLoader(text)
    except UnicodeEncodeError as broken:
        raise _error("half a surrogate pair is not a character") from broken
    try:
        node = _first_document(loader)
        reader = _Reader(loader)
        value = None if node is None else reader.value(node, ())
    except yaml.MarkedYAMLError as broken:
        raise _error(_marked(broken, text)) from broken
    except yaml.reader.ReaderError as broken:
        before = text.encode()[: broken.position].decode(errors="ignore")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise _error(f"{line}:{column}: {broken.reason}") from broken
    except yaml.YAMLError as broken:
        raise _error(str(broken)) from broken
    except RecursionError as broken:
        raise _error("nested too deeply") from broken
    finally:
        loader.dispose()
    if not isinstance(value, dict):
        raise _error("expected an object")
    return Document(value, reader.positions)


def _first_document(loader: yaml.CSafeLoader) -> yaml.Node | None:
    return loader.get_node() if loader.check_node() else None


def _marked(broken: yaml.MarkedYAMLError, text: str) -> str:
    """`line:column: problem` in libyaml's words."""
    mark = broken.problem_mark or broken.context_mark
    problem = broken.problem or ""
    if mark is None:
        return problem
    if problem.startswith("found undefined alias"):
        alias = _ALIAS.search(text.splitlines()[mark.line], mark.column)
        problem = f"invalid reference: {alias[1] if alias else ''}"
    return f"{mark.line + 1}:{mark.column + 1}: {problem}"


def _error(text: str) -> KongConfigError:
    return KongConfigError([Fault(("error",), _FAILED + text)])


class _Reader:
    def __init__(self, loader: yaml.CSafeLoader) -> None:
        self._loader = loader
        self._open: set[int] = set()
        self.positions: dict[Place, Position] = {}

    def value(self, node: yaml.Node, place: Place) -> Any:
        self.positions[place] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if len(self.positions) > MOST_VALUES:
            raise _fault(node, f"more than {MOST_VALUES} values, counting what aliases stand for")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            raise _fault(node, "an anchor contains itself")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
            return self._mapping(node, place)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.Node, place: Place) -> dict[str, Any]:
        assert isinstance(node, yaml.MappingNode)
        self._loader.flatten_mapping(node)
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            values[key] = self.value(value_node, (*place, key))
            self.positions[(*place, key)] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        return values

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise _fault(node, "a key must be a text")
        return str(self._scalar(node))

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        if node.tag == _TIMESTAMP:
            return node.value
        try:
            return self._loader.construct_object(node)
        except (ValueError, LookupError, AttributeError, OverflowError) as broken:
            # PyYAML's constructors trust the pattern or the tag that chose them: `0x_`, `!!int x`.
            raise _fault(node, f"not a value of its type, {node.tag}") from broken


def _fault(node: yaml.Node, text: str) -> KongConfigError:
    return _error(f"{node.start_mark.line + 1}:{node.start_mark.column + 1}: {text}")
