"""`/schemas`: what entities and plugins may hold, in the form that Kong's tools read, and one entity checked against it.

Fields that the edge refuses are left out, so that a tool does not fill them in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flask
from flask import Response, request

from localfaas.edge.admin_answers import answer
from localfaas.edge.errors import Fault, fault_tree
from localfaas.edge.kinds import plugin
from localfaas.edge.parse import ENTITIES, check_entity
from localfaas.edge.plugins import KINDS
from localfaas.edge.schema import Flag, ListOf, MapOf, Number, Opaque, Record, Reference, Text, Type

_VALIDATED = "schema validation successful"


def routes() -> dict[str, Callable[..., Any]]:
    return {"/schemas/<entity>": _entity, "/schemas/plugins/<name>": _plugin}


def validate(entity: str) -> Response:
    """`POST /schemas/<entity>/validate`: the posted entity, on its own, without what it refers to."""
    if entity not in ENTITIES:
        flask.abort(404)
    values = request.get_json(silent=True) if request.is_json else dict(request.form)
    if not isinstance(values, dict):
        return answer({"message": "Cannot parse JSON body"}, 400)
    faults = check_entity(entity, values)
    if not faults:
        return answer({"message": _VALIDATED}, 200)
    body = {"code": 2, "name": "schema violation", "message": _summary(faults), "fields": fault_tree(faults)}
    return answer(body, 400)


def _summary(faults: list[Fault]) -> str:
    texts = "; ".join(str(fault) for fault in faults)
    count = f"{len(faults)} schema violations" if len(faults) > 1 else "schema violation"
    return f"{count} ({texts})"


def _entity(entity: str) -> dict[str, Any]:
    if entity not in ENTITIES:
        flask.abort(404)
    return {"fields": _fields(ENTITIES[entity].fields)}


def _plugin(name: str) -> dict[str, Any]:
    kind = KINDS.get(name)
    if kind is None:
        return flask.abort(answer({"message": f"No plugin named '{name}'"}, 404))
    return {"fields": _fields(plugin(kind.config, kind.protocols).fields)}


def _fields(fields: Mapping[str, Type]) -> list[dict[str, Any]]:
    return [{name: _told(kind, name)} for name, kind in fields.items() if not isinstance(kind, Opaque)]


def _told(kind: Type, name: str) -> dict[str, Any]:
    """One type as Kong describes it: `{"type": "integer", "default": 5, "between": [0, 32767]}`."""
    told: dict[str, Any] = {**_shape(kind, name)}
    if kind.required or isinstance(kind, Record):
        told["required"] = True
    if kind.default is not None:
        told["default"] = kind.default
    return told


def _shape(kind: Type, name: str) -> dict[str, Any]:
    if isinstance(kind, Text):
        return {"type": "string", **_if(one_of=list(kind.supported or kind.one_of))}
    if isinstance(kind, Number):
        bounds = _if(between=list(kind.between or ()), one_of=list(kind.one_of))
        return {"type": "number" if kind.fraction else "integer", **bounds, **_if(gt=kind.above)}
    if isinstance(kind, Flag):
        return {"type": "boolean"}
    if isinstance(kind, Reference):
        return {"type": "foreign", "reference": f"{name}s"}
    return _container(kind, name)


def _container(kind: Type, name: str) -> dict[str, Any]:
    if isinstance(kind, ListOf):
        return {"type": "set" if kind.as_set else "array", "elements": _told(kind.of, name)}
    if isinstance(kind, MapOf):
        return {"type": "map", "keys": {"type": "string"}, "values": _told(kind.of, name)}
    assert isinstance(kind, Record)
    return {"type": "record", "fields": _fields(kind.fields)}


def _if(**found: Any) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value not in (None, [])}
