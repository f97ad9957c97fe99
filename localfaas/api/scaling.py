"""Scaling: by hand (`/system/scale-function/<name>`) and by alerts (`/system/alert`)."""

from __future__ import annotations

import logging

from flask import Response, request

from localfaas import gojson
from localfaas.api import answers
from localfaas.api.context import ApiContext
from localfaas.deployment import MAX_REPLICAS, NAMESPACE, scale_factor, scale_max, scale_min
from localfaas.registry import Desired, NotDeployed

log = logging.getLogger(__name__)

_BAD_SCALE = "Error unmarshalling request body"


def scale(context: ApiContext, name: str) -> Response:
    """Set the replicas, lifted or cut to 1..5 as the gateway does; labels are not consulted."""
    body = answers.fields(_BAD_SCALE)
    try:
        replicas, namespace = body.count("replicas"), body.text("namespace")
    except gojson.BadJson as exc:
        raise answers.Refused(400, _BAD_SCALE) from exc
    answers.check_namespace(namespace)
    try:
        context.registry.scale(name, min(max(replicas, 1), MAX_REPLICAS))
    except NotDeployed as exc:
        raise answers.Refused(404, f"function {name!r} not found") from exc
    return answers.empty(202)


def alert(context: ApiContext) -> Response:
    """Scale every function that Alertmanager names: one step up while firing, to the minimum when resolved."""
    try:
        alerts = _alerts()
    except gojson.BadJson:
        return Response("Unable to parse alert, bad format.", status=400, content_type=answers.TEXT)
    failures = [failure for firing, name in alerts if (failure := _apply(context, firing, name))]
    if failures:
        text = "\n".join(f"[{number}] {failure}" for number, failure in enumerate(failures))
        return answers.error(500, text)
    return answers.empty(200)


def wanted_replicas(desired: Desired, firing: bool) -> int:
    """OpenFaaS' rule: a step is the factor's share of the maximum, rounded up; resolved means the minimum."""
    labels = desired.deployment.labels
    if not firing:
        return scale_min(labels)
    most = scale_max(labels)
    step = -(-most * scale_factor(labels) // 100)
    return min(desired.replicas + step, most)


def _alerts() -> list[tuple[bool, str]]:
    body = gojson.Fields(gojson.loads(request.get_data()))
    return [
        (one.text("status") == "firing", one.object("labels").text("function_name"))
        for one in body.objects("alerts")
    ]


def _apply(context: ApiContext, firing: bool, function_name: str) -> str | None:
    """Scale one function; unknown ones are skipped. Returns why it failed, if it did."""
    name, dot, namespace = function_name.rpartition(".")
    if not dot:
        name, namespace = namespace, NAMESPACE
    desired = context.registry.get(name)
    if desired is None or namespace != NAMESPACE:
        return None
    replicas = wanted_replicas(desired, firing)
    if replicas == desired.replicas:
        return None
    try:
        context.registry.scale(name, replicas)
    except NotDeployed:
        return None
    except OSError as exc:
        log.exception("scaling %s to %d failed", name, replicas)
        return f"unable to scale {name}: {exc.strerror}"
    log.info(
        "alert %s: %s from %d to %d", "firing" if firing else "resolved", name, desired.replicas, replicas
    )
    return None
