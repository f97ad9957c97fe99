"""Checked fields to entities: ids, references between entities, names used twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from localfaas.edge import rules
from localfaas.edge.entities import (
    Configuration,
    Plugin,
    Route,
    Service,
    Target,
    Upstream,
    entity_id,
)
from localfaas.edge.errors import Fault, Place


@dataclass
class Draft:
    """An entity whose fields are right but whose id and references are not settled."""

    collection: str
    values: dict[str, Any]
    place: Place
    parent: Draft | None
    id: str = ""


def link(drafts: Mapping[str, list[Draft]]) -> tuple[Configuration, list[Fault]]:
    """Settle ids and references; the configuration is whole only when no fault came with it."""
    linker = _Linker(drafts)
    for collection in ("services", "routes", "upstreams", "targets", "plugins"):
        for draft in drafts[collection]:
            linker.settle(draft)
    if linker.faults:
        return Configuration(), linker.faults
    return linker.configuration(), []


@dataclass
class _Linker:
    drafts: Mapping[str, list[Draft]]
    faults: list[Fault] = field(default_factory=list)
    _by_key: dict[tuple[str, str], Draft] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def settle(self, draft: Draft) -> None:
        """Give `draft` its references, its id, and its place among the others of its kind."""
        self._counts[draft.collection] = self._counts.get(draft.collection, 0) + 1
        for name, collection in _REFERENCES[draft.collection].items():
            self._resolve(draft, name, collection)
        draft.id = draft.values["id"] or entity_id(draft.collection, _KEYS[draft.collection](draft))
        self._claim(draft)

    def _resolve(self, draft: Draft, name: str, collection: str) -> None:
        if draft.parent and draft.parent.collection == collection:
            draft.values[name] = {"id": draft.parent.id}
            return
        written = draft.values[name]
        if written is None:
            if name in _MUST_REFER[draft.collection]:
                self._fault(draft, f"invalid reference '{name}: ' (no such entry in '{collection}')")
            return
        other = self._by_key.get((collection, written))
        if other is None:
            self._fault(draft, f"invalid reference '{name}: {written}' (no such entry in '{collection}')")
            draft.values[name] = None
            return
        draft.values[name] = {"id": other.id, "written": written}

    def _claim(self, draft: Draft) -> None:
        """Take the names that no other of its kind may have, or say which of them is taken."""
        names = _unique_names(draft)
        for name, key in names.items():
            if (draft.collection, key) in self._by_key:
                text = f"uniqueness violation: '{draft.collection}' entity with {name} already declared"
                self._fault(draft, text)
                return
        for key in names.values():
            self._by_key[draft.collection, key] = draft

    def _fault(self, draft: Draft, text: str) -> None:
        """At the place Kong shows: in the collection, counted over the whole file; routes by name."""
        index: str | int = self._counts[draft.collection] - 1
        place: Place = (draft.collection, index)
        if text.startswith("invalid reference") and draft.collection == "routes" and draft.values["name"]:
            place = ("routes", str(draft.values["name"]), 0)
        self.faults.append(Fault(place, text))

    def configuration(self) -> Configuration:
        targets = tuple(_target(draft) for draft in self.drafts["targets"])
        return Configuration(
            services=tuple(_service(draft) for draft in self.drafts["services"]),
            routes=tuple(_route(draft) for draft in self.drafts["routes"]),
            upstreams=tuple(_upstream(draft, targets) for draft in self.drafts["upstreams"]),
            plugins=tuple(_plugin(draft) for draft in self.drafts["plugins"]),
        )


_REFERENCES: Mapping[str, Mapping[str, str]] = {
    "services": {},
    "routes": {"service": "services"},
    "upstreams": {},
    "targets": {"upstream": "upstreams"},
    "plugins": {"route": "routes", "service": "services"},
}
_MUST_REFER: Mapping[str, tuple[str, ...]] = {
    "services": (),
    "routes": (),
    "upstreams": (),
    "targets": ("upstream",),
    "plugins": (),
}


def _unique_names(draft: Draft) -> dict[str, str]:
    """What is unique about an entity, in Kong's words, and the key that it is found by."""
    name, instance = draft.values.get("name"), draft.values.get("instance_name")
    found = {}
    if name is not None and draft.collection in ("services", "routes", "upstreams"):
        found[f"name set to '{name}'"] = str(name)
    if instance is not None:
        found[f"instance_name set to '{instance}'"] = f"instance_name {instance}"
    return {**found, f"primary key set to '{draft.id}'": draft.id}


def _reference_key(draft: Draft, name: str) -> str:
    """What of a reference goes into a plugin's id: the id when nested, the text as written at top level."""
    reference = draft.values[name]
    return "" if reference is None else str(reference.get("written", reference["id"]))


def _place_key(draft: Draft) -> str:
    return draft.values.get("name") or "/".join(map(str, draft.place))


def _target_key(draft: Draft) -> str:
    upstream = draft.values["upstream"]
    return f"targets:*:{upstream['id'] if upstream else ''}:{_full_target(draft)}"


def _plugin_key(draft: Draft) -> str:
    route, service = _reference_key(draft, "route"), _reference_key(draft, "service")
    return f"plugins:*:{draft.values['name']}:{route}:{service}:"


_KEYS: Mapping[str, Callable[[Draft], str]] = {
    "services": _place_key,
    "routes": _place_key,
    "upstreams": _place_key,
    "targets": _target_key,
    "plugins": _plugin_key,
}


def _full_target(draft: Draft) -> str:
    host, port = rules.split_target(draft.values["target"])
    return f"{host}:{port}"


def _fields(draft: Draft, **changes: Any) -> dict[str, Any]:
    shown = {**draft.values, "id": draft.id, **changes}
    for name in _REFERENCES[draft.collection]:
        reference = draft.values[name]
        shown[name] = {"id": reference["id"]} if reference else None
    return shown


def _reference_id(draft: Draft, name: str) -> str | None:
    reference = draft.values[name]
    return str(reference["id"]) if reference else None


def _service(draft: Draft) -> Service:
    values = draft.values
    return Service(
        id=draft.id,
        fields=_fields(draft),
        host=values["host"],
        port=values["port"],
        path=values["path"] or "/",
        connect_timeout_ms=values["connect_timeout"],
        read_timeout_ms=values["read_timeout"],
        retries=values["retries"],
        enabled=values["enabled"],
    )


def _route(draft: Draft) -> Route:
    values = draft.values
    return Route(
        id=draft.id,
        fields=_fields(draft),
        service_id=_reference_id(draft, "service"),
        methods=tuple(values["methods"] or ()),
        hosts=tuple(values["hosts"] or ()),
        headers={name.lower(): tuple(items) for name, items in (values["headers"] or {}).items()},
        paths=tuple(values["paths"] or ()),
        regex_priority=values["regex_priority"],
        strip_path=values["strip_path"],
        preserve_host=values["preserve_host"],
        https_only="http" not in values["protocols"],
        https_redirect=values["https_redirect_status_code"],
    )


def _target(draft: Draft) -> Target:
    host, port = rules.split_target(draft.values["target"])
    return Target(
        id=draft.id,
        fields=_fields(draft, target=_full_target(draft)),
        upstream_id=str(_reference_id(draft, "upstream")),
        host=host,
        port=int(port or rules.DEFAULT_TARGET_PORT),
        weight=draft.values["weight"],
    )


def _upstream(draft: Draft, targets: tuple[Target, ...]) -> Upstream:
    own = tuple(target for target in targets if target.upstream_id == draft.id)
    return Upstream(id=draft.id, fields=_fields(draft), targets=own)


def _plugin(draft: Draft) -> Plugin:
    return Plugin(
        id=draft.id,
        fields=_fields(draft),
        service_id=_reference_id(draft, "service"),
        route_id=_reference_id(draft, "route"),
        enabled=draft.values["enabled"],
        config=draft.values["config"],
    )
