"""`/system/secrets`: names are listed, values are only ever written."""

from __future__ import annotations

import base64
import binascii

from flask import Response

from localfaas import gojson
from localfaas.api import answers
from localfaas.api.context import ApiContext
from localfaas.api.secret_store import SecretStore, is_valid_name
from localfaas.deployment import NAMESPACE


def list_all(context: ApiContext) -> Response:
    answers.check_namespace(with_text=False)
    names = SecretStore(context.settings.secrets).names()
    return answers.as_json([{"name": name, "namespace": NAMESPACE} for name in names])


def create(context: ApiContext) -> Response:
    name, value = _read()
    if not name:
        raise answers.Refused(500)
    if not is_valid_name(name):
        raise answers.Refused(422)
    try:
        SecretStore(context.settings.secrets).create(name, value)
    except FileExistsError as exc:
        raise answers.Refused(409) from exc
    return answers.empty(202)


def replace(context: ApiContext) -> Response:
    name, value = _read()
    try:
        SecretStore(context.settings.secrets).replace(name, value)
    except FileNotFoundError as exc:
        raise answers.Refused(404) from exc
    return answers.empty(202)


def delete(context: ApiContext) -> Response:
    name, _ = _read()
    try:
        SecretStore(context.settings.secrets).delete(name)
    except FileNotFoundError as exc:
        raise answers.Refused(404) from exc
    return answers.empty(202)


def _read() -> tuple[str, bytes]:
    """Name and exact bytes; `rawValue` (base64) wins over `value` when it is not empty."""
    body = answers.fields()
    try:
        name, namespace, value = body.text("name"), body.text("namespace"), body.text("value")
        raw = base64.b64decode(body.text("rawValue"), validate=True)
    except (gojson.BadJson, binascii.Error, ValueError) as exc:
        raise answers.Refused(400) from exc
    answers.check_namespace(namespace, with_text=False)
    return name, raw or value.encode()
