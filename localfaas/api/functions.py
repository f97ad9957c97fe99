"""`/system/functions`: list, deploy, update, remove. Each stores what is wanted and answers at once."""

from __future__ import annotations

from pathlib import Path

from flask import Response, request

from localfaas import deployment as rules
from localfaas import gojson
from localfaas.api import answers, status
from localfaas.api.context import ApiContext
from localfaas.api.secret_store import SecretStore
from localfaas.build import BuildError
from localfaas.commands import as_typed
from localfaas.deployment import MAX_FUNCTIONS, DeploymentRefused, FunctionDeployment
from localfaas.registry import AlreadyDeployed, NotDeployed, TooManyFunctions


def list_all(context: ApiContext) -> Response:
    """Every function, with its finished invocations."""
    answers.check_namespace()
    counts = context.counts()
    return answers.as_json(
        [status.of(context, one, counts.get(one.name, 0)) for one in context.registry.all()]
    )


def deploy(context: ApiContext) -> Response:
    """Create a function; the checks are made in OpenFaaS' order."""
    deployment = _read()
    layout = _checked_layout(context, deployment)
    try:
        context.registry.create(deployment, layout)
    except TooManyFunctions as exc:
        text = f"unable to create function, maximum: {MAX_FUNCTIONS}, remove one that is not needed"
        raise answers.Refused(400, text) from exc
    except AlreadyDeployed as exc:
        text = f'unable create Deployment: deployments.apps "{deployment.service}" already exists'
        raise answers.Refused(500, text) from exc
    return answers.empty(202)


def update(context: ApiContext) -> Response:
    """Replace a function's deployment whole; 404 when there is none (faas-cli then deploys)."""
    deployment = _read()
    if context.registry.get(deployment.service) is None:
        raise _unknown(deployment.service)
    layout = _checked_layout(context, deployment)
    try:
        context.registry.update(deployment, layout)
    except NotDeployed as exc:
        raise _unknown(deployment.service) from exc
    return answers.empty(202)


def remove(context: ApiContext) -> Response:
    """Delete a function; its name is free at once."""
    body = answers.fields()
    try:
        name, namespace = body.text("functionName"), body.text("namespace")
    except gojson.BadJson as exc:
        raise answers.Refused(400) from exc
    if not name:
        raise answers.Refused(400)
    answers.check_namespace(namespace)
    try:
        context.registry.delete(name)
    except NotDeployed as exc:
        raise _unknown(name) from exc
    return answers.empty(202)


def _read() -> FunctionDeployment:
    try:
        return rules.read(gojson.loads(request.get_data()), request.args.get("namespace", ""))
    except gojson.BadJson as exc:
        raise answers.Refused(400, f"failed to unmarshal request: {exc}") from exc
    except DeploymentRefused as exc:
        raise answers.Refused(400, str(exc)) from exc


def _checked_layout(context: ApiContext, deployment: FunctionDeployment) -> Path:
    """The layout to run, once secrets, image and the rest of the specification have been found good."""
    store = SecretStore(context.settings.secrets)
    for secret in deployment.secrets:
        if not store.has(secret):
            raise answers.Refused(400, f"unable to fetch secrets: secrets {secret!r} not found")
    try:
        layout = context.resolve_image(deployment.image)
    except BuildError as exc:
        raise answers.Refused(400, str(exc)) from exc
    if layout is None:
        text = f"image {deployment.image!r} is not known here: run `localfaas build` first"
        raise answers.Refused(400, as_typed(text, context.settings.project))
    try:
        rules.check_spec(deployment)
    except DeploymentRefused as exc:
        raise answers.Refused(400, str(exc)) from exc
    return layout


def _unknown(name: str) -> answers.Refused:
    return answers.Refused(404, f"function {name!r} not found")
