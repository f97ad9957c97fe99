"""`/config`: the configuration as text, and a new one in whatever body Kong takes it."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

import flask
import yaml
from flask import Response, request

from localfaas.edge.admin_answers import answer
from localfaas.edge.admin_entities import shown
from localfaas.edge.edge import Edge, Loaded
from localfaas.edge.entities import COLLECTIONS, Configuration
from localfaas.edge.errors import KongConfigError

_YAML_TYPES = ("text/yaml", "application/yaml")
_REFUSED_TYPE = (
    "<html>\r\n<head><title>415 Unsupported Media Type</title></head>\r\n<body>\r\n"
    "<center><h1>415 Unsupported Media Type</h1></center>\r\n</body>\r\n</html>\r\n"
)


def get(edge: Edge) -> dict[str, str]:
    """The configuration in force, everything expanded, absent values as `~`."""
    return {"config": expanded(edge.loaded.configuration)}


def expanded(configuration: Configuration) -> str:
    document: dict[str, Any] = {"_format_version": "3.0", "_transform": False}
    for name in COLLECTIONS:
        entities = [_with_plain_references(dict(item.fields)) for item in configuration.collection(name)]
        if entities:
            document[name] = entities
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _data: Any) -> bool:
        return True


_Dumper.add_representer(type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "~"))


def _with_plain_references(fields: dict[str, Any]) -> dict[str, Any]:
    for name in ("service", "route", "upstream"):
        if isinstance(fields.get(name), dict):
            fields[name] = fields[name]["id"]
    return fields


def post(edge: Edge) -> Response:
    """Put the posted configuration into force: 201 with its entities, 304 for the same text, 400 with all faults."""
    text = _posted_text()
    if "1" in request.args.getlist("check_hash") and text == edge.loaded.text:
        return Response(status=304)
    try:
        loaded = edge.load(text)
    except KongConfigError as error:
        flat = request.args.get("flatten_errors") == "1"
        return answer(error.flattened_body() if flat else error.body(), 400)
    return answer(_entities(loaded), 201)


def _entities(loaded: Loaded) -> dict[str, Any]:
    found = {
        name: {item.id: shown(item, loaded) for item in loaded.configuration.collection(name)}
        for name in COLLECTIONS
    }
    return {name: entities for name, entities in found.items() if entities}


def _posted_text() -> str:
    """The declarative text out of YAML, JSON, a form or a multipart field; aborts with Kong's answers."""
    kind = request.mimetype
    if kind == "multipart/form-data":
        text = _multipart()
    else:
        body = _decoded(request.get_data(cache=True))
        if kind in _YAML_TYPES:
            text = body
        elif kind == "application/json":
            text = _from_json(body)
        elif kind == "application/x-www-form-urlencoded":
            text = _from_form(body)
        else:
            flask.abort(Response(_REFUSED_TYPE, status=415, content_type="text/html"))
    if not text.strip():
        flask.abort(answer({"message": "expected a declarative configuration"}, 400))
    return text


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        error = {"message": "expected a declarative configuration in UTF-8"}
        flask.abort(answer(error, 400))


def _multipart() -> str:
    file = request.files.get("config")
    return _decoded(file.read()) if file else request.form.get("config", "")


def _from_form(body: str) -> str:
    """`config=…`, or a bare file that curl labelled as a form."""
    if body.startswith("config="):
        return urllib.parse.parse_qs(body, keep_blank_values=True)["config"][0]
    return body


def _from_json(body: str) -> str:
    if not body.strip():
        return ""
    try:
        value = json.loads(body)
    except ValueError:
        flask.abort(answer({"message": "Cannot parse JSON body"}, 400))
    wrapped = value.get("config") if isinstance(value, dict) else None
    return wrapped if isinstance(wrapped, str) else body
