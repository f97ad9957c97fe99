"""`/system/function/<name>`, and the status object that the list shares."""

from __future__ import annotations

from typing import Any

from flask import Response

from localfaas.api import answers
from localfaas.api.context import ApiContext
from localfaas.registry import Desired

_ALWAYS = ("name", "image", "createdAt")


def show(context: ApiContext, name: str) -> Response:
    """One function, without a count of invocations, as the provider answers."""
    answers.check_namespace()
    desired = context.registry.get(name)
    if desired is None:
        raise answers.Refused(404)
    return answers.as_json(of(context, desired, 0))


def of(context: ApiContext, desired: Desired, invocations: int) -> dict[str, Any]:
    """OpenFaaS' FunctionStatus: everything that was deployed and the label `faas_function`; what is empty is left out."""
    deployed = desired.deployment.to_json()
    everything: dict[str, Any] = {
        "name": desired.name,
        "image": deployed["image"],
        "namespace": deployed["namespace"],
        "envProcess": deployed.get("envProcess"),
        "envVars": deployed.get("envVars"),
        "constraints": deployed.get("constraints"),
        "secrets": sorted(desired.deployment.secrets),
        "labels": {"faas_function": desired.name, **desired.deployment.labels},
        "annotations": deployed.get("annotations"),
        "limits": deployed.get("limits"),
        "requests": deployed.get("requests"),
        "readOnlyRootFilesystem": deployed.get("readOnlyRootFilesystem"),
        "invocationCount": invocations,
        "replicas": desired.replicas,
        "availableReplicas": context.available(desired.name),
        "createdAt": desired.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return {key: value for key, value in everything.items() if value or key in _ALWAYS}
