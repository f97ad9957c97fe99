"""The Admin API's entities: lists in pages, one by name or id, what belongs to what, the health of upstreams."""

from __future__ import annotations

import base64
import binascii
import json
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import flask
from flask import Response, request

from localfaas.edge import observe
from localfaas.edge.admin_answers import answer
from localfaas.edge.edge import Edge, Loaded
from localfaas.edge.entities import COLLECTIONS, Entity, Target, Upstream

EMPTY_KINDS: Mapping[str, str] = {
    "consumers": "consumers",
    "consumer_groups": "consumer_groups",
    "certificates": "certificates",
    "ca_certificates": "ca_certificates",
    "snis": "snis",
    "vaults": "vaults",
    "keys": "keys",
    "key-sets": "key_sets",
    "acls": "acls",
    "basic-auths": "basicauth_credentials",
    "hmac-auths": "hmacauth_credentials",
    "jwts": "jwt_secrets",
    "key-auths": "keyauth_credentials",
    "oauth2": "oauth2_credentials",
}
"""Kong's other kinds by path and name: always empty here, but asked for by tools that list everything."""

_LISTED = ("services", "routes", "upstreams", "plugins")
_CHILDREN = (
    ("services", "routes", "service"),
    ("services", "plugins", "service"),
    ("routes", "plugins", "route"),
    ("upstreams", "targets", "upstream"),
)
_PARENTS = (("routes", "service"), ("plugins", "service"), ("plugins", "route"))
WRITABLE_PATHS: Mapping[str, str] = {
    **{path: name for name in _LISTED for path in (f"/{name}", f"/{name}/<key>")},
    **{path: name for kind, name in EMPTY_KINDS.items() for path in (f"/{kind}", f"/{kind}/<key>")},
    **{
        path: child
        for parent, child, _ in _CHILDREN
        for path in (f"/{parent}/<parent>/{child}", f"/{parent}/<parent>/{child}/<key>")
    },
    "/upstreams/<parent>/targets/<key>/<health>": "targets",
}
"""Where Kong with a database would write, and the kind of entity there."""
_VERBS = {"POST": "create", "PUT": "create or update", "PATCH": "update", "DELETE": "remove"}
_DEFAULT_SIZE = 100

View = Callable[..., Any]


def routes(edge: Edge) -> dict[str, View]:
    """Every path that reads entities."""
    table: dict[str, View] = {}
    for name in _LISTED:
        table[f"/{name}"] = _lister(edge, name)
        table[f"/{name}/<key>"] = _getter(edge, name)
    for parent, child, field in _CHILDREN:
        table[f"/{parent}/<key>/{child}"] = _child_lister(edge, parent, child, field)
        table[f"/{parent}/<key>/{child}/<own>"] = _child_getter(edge, parent, child, field)
    for child, field in _PARENTS:
        table[f"/{child}/<key>/{field}"] = _parent_getter(edge, child, field)
    for name in EMPTY_KINDS:
        table[f"/{name}"] = lambda: {"data": [], "next": None}
        table[f"/{name}/<_key>"] = lambda _key: flask.abort(404)
    table["/upstreams/<key>/health"] = lambda key: _health(edge, key)
    table["/tags"] = lambda: _page(_tagged(edge.loaded), "/tags")
    table["/tags/<tag>"] = lambda tag: _page(
        [item for item in _tagged(edge.loaded) if item["tag"] == tag], f"/tags/{tag}"
    )
    return table


def refuse_writing(name: str, **where: str) -> Response:
    """A DB-less edge is changed by `POST /config` only; `name` is the kind that the request would change."""
    if request.is_json and _unreadable(request.get_data()):
        return answer({"message": "Cannot parse JSON body"}, 400)
    if where.get("health"):
        return answer({"message": "setting a target's health is not supported by the embedded edge"}, 405)
    by_name = "" if request.method == "POST" or name == "targets" else " by 'name'"
    text = f"cannot {_VERBS[request.method]} '{name}' entities{by_name} when not using a database"
    return answer({"message": text, "code": 12, "name": "operation unsupported"}, 405)


def shown(entity: Entity, loaded: Loaded) -> dict[str, Any]:
    """An entity as Kong shows it: its fields and when it came to be."""
    at: float = round(loaded.at, 3) if isinstance(entity, Target) else int(loaded.at)
    return {**entity.fields, "created_at": at, "updated_at": at}


def _lister(edge: Edge, name: str) -> View:
    def view() -> dict[str, Any]:
        loaded = edge.loaded
        return _page([shown(item, loaded) for item in loaded.configuration.collection(name)], f"/{name}")

    return view


def _getter(edge: Edge, name: str) -> View:
    def view(key: str) -> dict[str, Any]:
        loaded = edge.loaded
        return shown(_find(loaded.configuration.collection(name), key), loaded)

    return view


def _child_lister(edge: Edge, parent: str, child: str, field: str) -> View:
    def view(key: str) -> dict[str, Any]:
        loaded = edge.loaded
        own = [shown(item, loaded) for item in _children(loaded, parent, key, child, field)]
        return _page(own, f"/{parent}/{key}/{child}")

    return view


def _child_getter(edge: Edge, parent: str, child: str, field: str) -> View:
    def view(key: str, own: str) -> dict[str, Any]:
        loaded = edge.loaded
        return shown(_find(_children(loaded, parent, key, child, field), own), loaded)

    return view


def _children(loaded: Loaded, parent: str, key: str, child: str, field: str) -> list[Entity]:
    owner = _find(loaded.configuration.collection(parent), key)
    children = loaded.configuration.collection(child)
    return [item for item in children if (item.fields.get(field) or {}).get("id") == owner.id]


def _parent_getter(edge: Edge, child: str, field: str) -> View:
    def view(key: str) -> dict[str, Any]:
        loaded = edge.loaded
        reference = _find(loaded.configuration.collection(child), key).fields[field]
        if reference is None:
            flask.abort(404)
        return shown(_find(loaded.configuration.collection(f"{field}s"), reference["id"]), loaded)

    return view


def _find(entities: Iterable[Entity], key: str) -> Entity:
    """By id or name; targets have no name but their text."""
    for entity in entities:
        if key in (entity.id, entity.name, entity.fields.get("target")):
            return entity
    return flask.abort(404)


def _upstream(edge: Edge, key: str) -> Upstream:
    found = _find(edge.loaded.configuration.upstreams, key)
    assert isinstance(found, Upstream)
    return found


# Health


def _health(edge: Edge, key: str) -> dict[str, Any]:
    upstream = _upstream(edge, key)
    found = observe.upstream_health(edge, upstream)
    if request.args.get("balancer_health") == "1":
        return {"data": _balancer(upstream, found), "next": None, "node_id": edge.node_id}
    data = [
        {**shown(item.target, edge.loaded), "health": item.health, "data": _address_data(item)}
        for item in found
    ]
    return {"data": data, "next": None, "node_id": edge.node_id}


def _address_data(item: observe.TargetHealth) -> dict[str, Any]:
    target = item.target
    return {
        "host": target.host,
        "port": target.port,
        "dns": "A" if item.addresses else "dns server error: 3 name error",
        "nodeWeight": target.weight,
        "weight": _weights(item),
        "addresses": [
            {"ip": address[0], "port": address[1], "weight": target.weight, "health": state}
            for address, state in item.addresses
        ]
        or {},
    }


def _weights(item: observe.TargetHealth) -> dict[str, int]:
    well = sum(item.target.weight for _, state in item.addresses if state != observe.UNHEALTHY)
    total = item.target.weight * len(item.addresses)
    return {"total": total, "available": well, "unavailable": total - well}


def _balancer(upstream: Upstream, found: Sequence[observe.TargetHealth]) -> dict[str, Any]:
    weights = [_weights(item) for item in found]
    total = {key: sum(weight[key] for weight in weights) for key in ("total", "available", "unavailable")}
    healthy = total["available"] > 0
    hosts = [
        {
            "host": item.target.host,
            "port": item.target.port,
            "addresses": [
                {"ip": address[0], "port": address[1], "healthy": state != observe.UNHEALTHY}
                for address, state in item.addresses
            ],
        }
        for item in found
    ]
    checked = observe.checks_are_on(upstream)
    state = observe.HEALTHY if healthy else observe.UNHEALTHY
    return {
        "id": upstream.id,
        "health": state if checked else observe.OFF,
        "balancer_health": state,
        "details": {"healthy": healthy, "weight": total, "hosts": hosts},
    }


# Pages


def _tagged(loaded: Loaded) -> list[dict[str, Any]]:
    return [
        {"tag": tag, "entity_name": name, "entity_id": entity.id, "id": f"{tag}:{entity.id}"}
        for name in COLLECTIONS
        for entity in loaded.configuration.collection(name)
        for tag in entity.fields.get("tags") or ()
    ]


def _page(items: Sequence[Mapping[str, Any]], path: str) -> dict[str, Any]:
    """A page in order of id, as `size`, `offset` and `tags` of the query ask."""
    size = _size(request.args.get("size"))
    wanted = [item for item in items if _has_tags(item, request.args.get("tags"))]
    ordered = sorted(wanted, key=lambda item: str(item["id"]))
    start = _start(ordered, request.args.get("offset"))
    page, rest = ordered[start : start + size], ordered[start + size :]
    if not rest:
        return {"data": page, "next": None}
    token = base64.b64encode(str(rest[0]["id"]).encode()).decode()
    query = {"offset": token, **({"size": size} if "size" in request.args else {})}
    return {"data": page, "offset": token, "next": f"{path}?{urllib.parse.urlencode(query)}"}


def _has_tags(item: Mapping[str, Any], asked: str | None) -> bool:
    """`a,b` asks for all of them, `a/b` for any."""
    if not asked:
        return True
    own = set(item.get("tags") or ())
    return bool(own & set(asked.split("/"))) if "/" in asked else set(asked.split(",")) <= own


def _size(text: str | None) -> int:
    if text is None:
        return _DEFAULT_SIZE
    if text.isdecimal() and 1 <= int(text) <= 1000:
        return int(text)
    body = {"message": "size must be an integer between 1 and 1000", "code": 9, "name": "invalid size"}
    return flask.abort(answer(body, 400))


def _start(ordered: Sequence[Mapping[str, Any]], token: str | None) -> int:
    if token is None:
        return 0
    try:
        first = base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return len(ordered)
    ids = [str(item["id"]) for item in ordered]
    return ids.index(first) if first in ids else len(ordered)


def _unreadable(body: bytes) -> bool:
    try:
        json.loads(body or b"{}")
    except ValueError:
        return True
    return False
