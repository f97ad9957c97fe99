"""What the platform says of itself: namespaces, version, health; and what the Community Edition lacks."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from pathlib import Path

from flask import Response

import localfaas
from localfaas import __version__
from localfaas.api import answers
from localfaas.api.context import ApiContext
from localfaas.deployment import NAMESPACE


def namespaces(_: ApiContext) -> Response:
    return answers.as_json([NAMESPACE])


def read_namespace(_: ApiContext, namespace: str = "") -> Response:
    """Several namespaces are not in the Community Edition."""
    raise answers.Refused(501, "Feature not implemented in this version of OpenFaaS")


def change_namespace(_: ApiContext, namespace: str = "") -> Response:
    raise answers.Refused(405)


def telemetry(_: ApiContext) -> Response:
    raise answers.Refused(404, "404 page not found")


def info(_: ApiContext) -> Response:
    version = {"commit_message": f"localfaas {__version__}", "sha": _source_digest(), "release": __version__}
    provider = {"provider": "localfaas", "version": version, "orchestration": "processes"}
    return answers.as_json({"provider": provider, "version": version, "arch": platform.machine()})


def health(_: ApiContext) -> Response:
    return answers.empty(200)


def home(_: ApiContext) -> Response:
    response = answers.empty(307)
    response.headers["Location"] = "/ui/"
    return response


@cache
def _source_digest() -> str:
    """Names the code that runs, where there need not be a repository around it."""
    digest = hashlib.sha256()
    for path in sorted(Path(localfaas.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:40]
