"""`localfaas edge-reload`: give the edge the present kong.yml; say what that changed, or every fault of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
import yaml

from localfaas import loopback
from localfaas.edge import KongConfigError
from localfaas.edge.admin_config import expanded
from localfaas.edge.entities import COLLECTIONS
from localfaas.edge.parse import parse
from localfaas.settings import Settings

TIMEOUT_SECONDS = 30
LONGEST_VALUE = 40
"""Characters; a longer value is only said to have changed."""

Entities = Mapping[tuple[str, str], Mapping[str, Any]]
"""By kind and id."""


class EdgeReloadError(RuntimeError):
    """The edge went on with what it had; the message names every fault by its place."""


def reload_edge(settings: Settings, path: Path) -> list[str]:
    """Post `path` to the admin port; return a line for each entity that is new, gone or changed.

    Raises EdgeReloadError with every fault.
    """
    admin = settings.url("edge-admin")
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeReloadError(
            f"{path} cannot be read ({error}); the edge goes on with what it had"
        ) from error
    before = in_force(admin)
    try:
        with loopback.session() as session:
            response = session.post(
                f"{admin}/config?check_hash=1",
                data=text.encode(),
                headers={"Content-Type": "text/yaml"},
                timeout=TIMEOUT_SECONDS,
            )
    except requests.RequestException as error:
        raise EdgeReloadError(
            f"the edge's admin port does not answer ({error}); see `localfaas status`"
        ) from error
    if response.status_code == 304:
        return []
    if response.status_code != 201:
        faults = _faults(text) or response.text.strip()
        raise EdgeReloadError(f"{path} was refused, the edge goes on with what it had:\n{faults}")
    return list(changes(before, in_force(admin)))


def in_force(admin: str) -> Entities:
    """What the edge serves by. Raises EdgeReloadError when it does not say."""
    try:
        with loopback.session() as session:
            response = session.get(f"{admin}/config", timeout=TIMEOUT_SECONDS)
        document = yaml.safe_load(response.json()["config"])
    except (requests.RequestException, ValueError, KeyError) as error:
        raise EdgeReloadError(
            f"the edge's admin port does not answer ({error}); see `localfaas status`"
        ) from error
    return _by_id(document)


def entities_of(text: str) -> Entities:
    """What a kong.yml would put in force. Raises KongConfigError with every fault."""
    return _by_id(yaml.safe_load(expanded(parse(text))))


def _by_id(document: Mapping[str, Any]) -> Entities:
    return {(kind, item["id"]): item for kind in COLLECTIONS for item in document.get(kind, [])}


def _faults(text: str) -> str:
    """Every fault of the file, with lines, which the admin port's answer has not."""
    try:
        parse(text)
    except KongConfigError as error:
        return str(error)
    return ""


def changes(before: Entities, after: Entities) -> Iterator[str]:
    """`+ route hello`, `- route hello`, or `~ route hello: strip_path true → false`; in the order of the file."""
    for key in before:
        if key not in after:
            yield f"- {_label(key, before)}"
    for key, entity in after.items():
        if key not in before:
            yield f"+ {_label(key, after)}"
        elif entity != before[key]:
            yield f"~ {_label(key, after)}: {', '.join(differences(before[key], entity))}"


def _label(key: tuple[str, str], entities: Entities) -> str:
    """`plugin rate-limiting of route checkout-post`: the kind, the name, and what it belongs to."""
    kind, entity = key[0].removesuffix("s"), entities[key]
    owners = (
        f" of {owner} {_name(entities.get((f'{owner}s', entity[owner]), {}))}"
        for owner in ("route", "service", "upstream")
        if kind in ("plugin", "target") and entity.get(owner)
    )
    return f"{kind} {_name(entity)}{next(owners, '')}"


def _name(entity: Mapping[str, Any]) -> str:
    return str(entity.get("name") or entity.get("target") or entity.get("id", ""))


def differences(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """`strip_path true → false` for each field, with the way to it; without values that are too long to be shown."""
    for field in {**before, **after}:
        old, new = before.get(field), after.get(field)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from differences(old, new, f"{prefix}{field}.")
        elif old != new:
            shown = f" {_value(old)} → {_value(new)}"
            yield prefix + field + (shown if len(shown) <= LONGEST_VALUE else "")


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
