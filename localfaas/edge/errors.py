"""Everything wrong with a kong.yml, in the shapes Kong tells it: a tree, one line of Lua notation, a flat list.

A fault's place is the path in the file: keys and, in lists, indexes from 0.
`@entity` followed by 0 stands for a rule over several fields of one entity.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Place = tuple[str | int, ...]
Position = tuple[int, int]
"""Line and column, both from 1."""

ENTITY_RULE: Place = ("@entity", 0)

_SINGULAR = {
    "services": "service",
    "routes": "route",
    "upstreams": "upstream",
    "targets": "target",
    "plugins": "plugin",
}


@dataclass(frozen=True)
class Fault:
    """One thing wrong: where, what, and the line where it can be had."""

    place: Place
    text: str
    position: Position | None = None

    def __str__(self) -> str:
        where = ".".join(str(part + 1 if isinstance(part, int) else part) for part in self.place)
        line = f"line {self.position[0]}: " if self.position else ""
        return f"{line}{where}: {self.text}" if where else f"{line}{self.text}"


class KongConfigError(ValueError):
    """A declarative configuration was refused; `faults` holds every reason, `tree` Kong's view of them."""

    def __init__(self, faults: Sequence[Fault], document: Any = None) -> None:
        self.faults = tuple(faults)
        self.document = document
        super().__init__("\n".join(str(fault) for fault in self.faults))

    @property
    def tree(self) -> dict[str, Any]:
        """The faults as a mirror of the file: mappings by key, lists by index with null for good entries."""
        return fault_tree(self.faults)

    def body(self) -> dict[str, Any]:
        """What `POST /config` answers with status 400."""
        tree = self.tree
        return {
            "code": 14,
            "name": "invalid declarative configuration",
            "message": f"declarative config is invalid: {lua_notation(tree)}",
            "fields": tree,
        }

    def flattened_body(self) -> dict[str, Any]:
        """What `POST /config?flatten_errors=1` answers: one entry for each entity that has faults."""
        by_entity: dict[Place, list[Fault]] = {}
        rest: list[Fault] = []
        for fault in self.faults:
            entity_place = _entity_place(fault.place)
            if entity_place is None:
                rest.append(fault)
            else:
                by_entity.setdefault(entity_place, []).append(fault)
        body = KongConfigError(rest, self.document).body()
        body["flattened_errors"] = [
            _flattened(place, faults, self.document) for place, faults in by_entity.items()
        ] or {}
        return body


def fault_tree(faults: Sequence[Fault]) -> dict[str, Any]:
    root: dict[str | int, Any] = {}
    for fault in faults:
        node = root
        for part in fault.place[:-1]:
            below = node.setdefault(part, {})
            if not isinstance(below, dict):
                break
            node = below
        else:
            node.setdefault(fault.place[-1], fault.text)
    tree = _with_lists(root)
    return tree if isinstance(tree, dict) else {}


def _with_lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(isinstance(key, int) for key in node):
        return [_with_lists(node.get(index)) for index in range(max(node) + 1)]
    return {str(key): _with_lists(value) for key, value in node.items()}


def lua_notation(value: Any) -> str:
    """`value` as Penlight's compact pretty-printer writes a table, as Kong does in `message`."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_lua_key(key)}={lua_notation(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        holes = any(item is None for item in value)
        items = [
            (f"[{index}]=" if holes else "") + lua_notation(item)
            for index, item in enumerate(value, start=1)
            if item is not None
        ]
        return "{" + ",".join(items) + "}"
    return json.dumps(value, ensure_ascii=False)


def _lua_key(key: str) -> str:
    return key if key.isidentifier() else f"[{json.dumps(key, ensure_ascii=False)}]"


def _entity_place(place: Place) -> Place | None:
    """The part of `place` that leads to the innermost entity: `services.0.routes.1` of `….paths.0`."""
    for length in range(len(place), 1, -1):
        if isinstance(place[length - 1], int) and place[length - 2] in _SINGULAR:
            return place[:length]
    return None


def _flattened(place: Place, faults: Sequence[Fault], document: Any) -> dict[str, Any]:
    entity = document
    for part in place:
        try:
            entity = entity[part]
        except (KeyError, IndexError, TypeError):
            entity = None
            break
    written = entity if isinstance(entity, dict) else {}
    flat: dict[str, Any] = {"entity_type": _SINGULAR[str(place[-2])]}
    for key in ("name", "id", "tags"):
        if written.get(key) is not None:
            flat[f"entity_{key}"] = written[key]
    flat["entity"] = {key: value for key, value in written.items() if key not in _SINGULAR}
    flat["errors"] = [_flat_error(fault.place[len(place) :], fault.text) for fault in faults]
    return flat


def _flat_error(place: Place, text: str) -> dict[str, str]:
    if not place or "@entity" in place:
        return {"type": "entity", "message": text}
    field = ".".join(str(part + 1 if isinstance(part, int) else part) for part in place)
    return {"type": "field", "field": field, "message": text}
