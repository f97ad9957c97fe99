"""kong.yml to entities: first every field on its own, then, if all are right, names, ids and references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from localfaas.edge import refused
from localfaas.edge.document import Document, read_document
from localfaas.edge.entities import COLLECTIONS, Configuration
from localfaas.edge.errors import Fault, KongConfigError, Place, Position
from localfaas.edge.kinds import PLUGIN_FRAME, ROUTE, SERVICE, TARGET, UPSTREAM, plugin
from localfaas.edge.link import Draft, link
from localfaas.edge.plugins import KINDS
from localfaas.edge.refused import NOT_SUPPORTED
from localfaas.edge.schema import Record, Report

_VERSIONS = ("1.1", "2.1", "3.0")
_TOP_LEVEL = frozenset({"_format_version", "_transform", "_comment", "_ignore"})
_CHILDREN = {
    "services": {"routes": "service", "plugins": "service"},
    "routes": {"plugins": "route"},
    "upstreams": {"targets": "upstream"},
}
"""Which collections may be nested in which, and the field of the child that the nesting stands for."""
_TIMES = ("created_at", "updated_at")
"""Written by Kong's own exports; an entity is as old as the file that brought it."""
ENTITIES: Mapping[str, Record] = {
    "services": SERVICE,
    "routes": ROUTE,
    "upstreams": UPSTREAM,
    "targets": TARGET,
    "plugins": Record(fields={**PLUGIN_FRAME, "config": Record(fields={})}),
}
"""What each kind may hold; the `config` of a plugin is its own."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse(text: str) -> Configuration:
    """The configuration written in `text`.

    Raises KongConfigError with every fault found: all faults of fields at once, those of names and references
    only when every field is right, as Kong does.
    """
    document = read_document(text)
    reader = _Reader(document)
    reader.read()
    if reader.faults:
        raise KongConfigError(reader.faults, document.values)
    configuration, faults = link(reader.drafts)
    if faults:
        located = [Fault(fault.place, fault.text, document.position(fault.place)) for fault in faults]
        raise KongConfigError(located, document.values)
    return configuration


def check_entity(collection: str, values: Mapping[str, Any]) -> list[Fault]:
    """Everything wrong with one entity of `collection` by itself; its references are not looked up."""
    faults: list[Fault] = []
    own = _written(collection, values)
    _schema(collection, own).check(own, (), lambda place, text: faults.append(_fault(place, text)))
    return faults


def _fault(place: Place, text: str, position: Position | None = None) -> Fault:
    """A fault that says what to use in place of what is refused."""
    return Fault(place, text + refused.instead(place) if text == NOT_SUPPORTED else text, position)


@dataclass
class _Reader:
    document: Document
    drafts: dict[str, list[Draft]] = field(default_factory=lambda: {name: [] for name in COLLECTIONS})
    faults: list[Fault] = field(default_factory=list)

    def report(self, place: Place, text: str) -> None:
        self.faults.append(_fault(place, text, self.document.position(place)))

    def read(self) -> None:
        values = self.document.values
        self._version(values.get("_format_version"))
        if not isinstance(values.get("_transform", True), bool):
            self.report(("_transform",), "expected a boolean")
        for key in values:
            if key in refused.COLLECTIONS:
                self.report((key,), f"{NOT_SUPPORTED}; {refused.COLLECTIONS[key]}")
            elif key not in _TOP_LEVEL and key not in COLLECTIONS:
                self.report((key,), "unknown field")
        for name in COLLECTIONS:
            self._collection(name, values.get(name), (name,), None)

    def _version(self, version: Any) -> None:
        place = ("_format_version",)
        if version is None:
            self.report((*place,), "required field missing")
        elif not isinstance(version, str):
            self.report(place, "expected a string")
        elif version not in _VERSIONS:
            self.report(place, f"expected one of: {', '.join(_VERSIONS)}")

    def _collection(self, name: str, items: Any, place: Place, parent: Draft | None) -> None:
        if items is None:
            return
        if not isinstance(items, list):
            self.report(place, "expected an array")
            return
        for index, item in enumerate(items):
            if isinstance(item, dict):
                self._entity(name, item, (*place, index), parent)
            else:
                self.report((*place, index), "expected a record")

    def _entity(self, collection: str, item: dict[str, Any], place: Place, parent: Draft | None) -> None:
        own = dict(item)
        children = {name: own.pop(name, None) for name in _CHILDREN.get(collection, {})}
        own = _written(collection, own)
        checked = _schema(collection, own).check(own, place, self.report)
        draft = Draft(collection, checked, place, parent)
        self.drafts[collection].append(draft)
        for name, items in children.items():
            self._refuse_parent_written(_CHILDREN[collection][name], items, (*place, name))
            self._collection(name, items, (*place, name), draft)

    def _refuse_parent_written(self, parent_field: str, items: Any, place: Place) -> None:
        """A nested entity does not name its parent a second time."""
        for index, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, dict) and item.get(parent_field) is not None:
                self.report((*place, index, parent_field), "unknown field")


def _written(collection: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that count, `url` split into what it is short for."""
    own = {key: value for key, value in values.items() if key not in _TIMES}
    return _split_url(own) if collection == "services" else own


def _split_url(own: dict[str, Any]) -> dict[str, Any]:
    """`url` is short for protocol, host, port and path."""
    url = own.get("url")
    if not isinstance(url, str):
        return own
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    try:
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        port = -1
    pieces = {"protocol": parts.scheme, "host": parts.hostname, "port": port, "path": parts.path}
    rest = {key: value for key, value in own.items() if key != "url"}
    return {**rest, **{key: value for key, value in pieces.items() if value}}


def _schema(collection: str, own: Mapping[str, Any]) -> Record:
    if collection != "plugins":
        return ENTITIES[collection]
    name = own.get("name")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind:
        return plugin(kind.config, kind.protocols)
    return _UnknownPlugin(fields=PLUGIN_FRAME, ignored=frozenset({*own, "config"}))


class _UnknownPlugin(Record):
    """A plugin entry whose name is wrong: told once, by name, without complaints about its config."""

    def check(self, value: Any, place: Place, report: Report) -> Any:
        checked = super().check(value, place, report)
        name = value.get("name")
        if isinstance(name, str) and name:
            if name in refused.PLUGINS:
                report((*place, "name"), f"plugin '{name}' is {NOT_SUPPORTED}; {refused.PLUGINS[name]}")
            else:
                text = f"plugin '{name}' not enabled; add it to the 'plugins' configuration property"
                report((*place, "name"), text)
        return checked
