"""What OpenFaaS calls a function deployment: read, checked and written in its JSON form.

The checks, their order and their messages are those of OpenFaaS Community Edition's Kubernetes provider, so that
what is accepted on one machine is accepted on a cluster. Ours alone: a scale factor outside 1..100, a minimum
above the maximum, and a `localfaas/port` that is no port are refused, where OpenFaaS would accept the first two
and then stop invoking or scale the wrong way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from localfaas.gojson import BadJson, Fields, whole_number

NAMESPACE = "openfaas-fn"
MAX_FUNCTIONS = 15
MAX_REPLICAS = 5
"""Limits of the Community Edition."""

SCALE_MIN = "com.openfaas.scale.min"
SCALE_MAX = "com.openfaas.scale.max"
SCALE_FACTOR = "com.openfaas.scale.factor"
DEFAULT_SCALE_FACTOR = 10
"""Per cent of the maximum; what the gateway does (its documentation says 20)."""

PORT_ANNOTATION = "localfaas/port"
_HIGHEST_BASE_PORT = 65535 - 10 * MAX_REPLICAS
"""A replacement has one replica more."""

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_QUANTITY = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
_QUALIFIED_NAME = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_NOT_IN_CE = ("com.openfaas.scale.zero-duration", "com.openfaas.scale.target", "com.openfaas.scale.type")


class DeploymentRefused(ValueError):
    """The deployment cannot be accepted; the message is the one line that the client is shown (status 400)."""


@dataclass(frozen=True)
class FunctionDeployment:
    """The desired state of one function, as `faas-cli deploy` sends it."""

    service: str
    image: str
    namespace: str = NAMESPACE
    env_process: str = ""
    env_vars: Mapping[str, str] = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)
    read_only_root_filesystem: bool = False

    def to_json(self) -> dict[str, Any]:
        """The OpenFaaS JSON object, in its order; what is empty or false is left out."""
        everything: dict[str, Any] = {
            "service": self.service,
            "image": self.image,
            "namespace": self.namespace,
            "envProcess": self.env_process,
            "envVars": dict(self.env_vars),
            "constraints": list(self.constraints),
            "secrets": list(self.secrets),
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "limits": dict(self.limits),
            "requests": dict(self.requests),
            "readOnlyRootFilesystem": self.read_only_root_filesystem,
        }
        return {key: value for key, value in everything.items() if value or key in ("service", "image")}

    @property
    def max_inflight(self) -> int:
        """Requests that one replica takes at once before the watchdog answers 429; 0 is no limit."""
        return max(0, whole_number(self.env_vars.get("max_inflight")) or 0)

    @property
    def scraped(self) -> bool:
        """Whether Prometheus is asked to scrape each replica, in either spelling of the annotation."""
        spellings = ("prometheus.io.scrape", "prometheus.io/scrape")
        return any(self.annotations.get(name) == "true" for name in spellings)


def validate(body: object, namespace: str = "") -> FunctionDeployment:
    """Make a deployment of a decoded JSON body, or raise DeploymentRefused with the provider's message.

    `namespace` is the one of the query string; it wins over the body's. Whether secrets and image exist is for
    the caller to check, between `read` and `check_spec` if the order of complaints matters.
    """
    deployment = read(body, namespace)
    check_spec(deployment)
    return deployment


def read(body: object, namespace: str = "") -> FunctionDeployment:
    """The first half of `validate`: types, name, image, scaling labels and namespace."""
    try:
        deployment = _parse(body, namespace)
    except BadJson as exc:
        raise DeploymentRefused(f"failed to unmarshal request: {exc}") from exc
    problem = _name_problem(deployment) or _label_problem(deployment.labels)
    if problem:
        raise DeploymentRefused(f"validation failed: {problem}")
    if deployment.namespace != NAMESPACE:
        raise DeploymentRefused(f"namespace must be: {NAMESPACE}")
    return deployment


def check_spec(deployment: FunctionDeployment) -> None:
    """The second half of `validate`: what Kubernetes or this platform could not run."""
    problem = (
        _resource_problem(deployment)
        or _annotation_problem(deployment.annotations)
        or _metadata_problem(deployment)
        or _environment_problem(deployment.env_vars)
    )
    if problem:
        raise DeploymentRefused(f"failed create Deployment spec: {problem}")


def scale_min(labels: Mapping[str, str]) -> int:
    """The fewest replicas; 1 when the label is absent, not a number, or below 1."""
    return max(1, whole_number(labels.get(SCALE_MIN)) or 1)


def scale_max(labels: Mapping[str, str]) -> int:
    """The most replicas that an alert may ask for, never above the Community Edition's limit."""
    given = whole_number(labels.get(SCALE_MAX))
    return MAX_REPLICAS if given is None else min(given, MAX_REPLICAS)


def scale_factor(labels: Mapping[str, str]) -> int:
    """How much of the maximum one alert adds, in per cent."""
    given = whole_number(labels.get(SCALE_FACTOR))
    return DEFAULT_SCALE_FACTOR if given is None else given


def asked_replicas(labels: Mapping[str, str]) -> int | None:
    """The replicas that a deploy sets by its minimum label, or None when it names no usable one."""
    given = whole_number(labels.get(SCALE_MIN))
    return given if given and given > 0 else None


def is_dns_label(name: str) -> bool:
    """Whether `name` can name a function: lower case, digits and inner hyphens, at most 63."""
    return len(name) <= 63 and _DNS_LABEL.fullmatch(name) is not None


def _parse(body: object, namespace: str) -> FunctionDeployment:
    fields = Fields(body)
    return FunctionDeployment(
        service=fields.text("service"),
        image=fields.text("image"),
        namespace=namespace or fields.text("namespace") or NAMESPACE,
        env_process=fields.text("envProcess"),
        env_vars=fields.text_map("envVars"),
        constraints=fields.texts("constraints"),
        secrets=fields.texts("secrets"),
        labels=fields.text_map("labels"),
        annotations=fields.text_map("annotations"),
        limits=_filled(fields.text_map("limits")),
        requests=_filled(fields.text_map("requests")),
        read_only_root_filesystem=fields.flag("readOnlyRootFilesystem"),
    )


def _filled(resources: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): quantity for name, quantity in resources.items() if quantity}


def _name_problem(deployment: FunctionDeployment) -> str | None:
    if not deployment.service:
        return "service: is required"
    if not is_dns_label(deployment.service):
        return f"service: ({_one_line(deployment.service)}) is invalid, must be a valid DNS entry"
    if not deployment.image:
        return "image: is required"
    return None


def _label_problem(labels: Mapping[str, str]) -> str | None:
    if labels.get("com.openfaas.scale.zero") == "true":
        return "com.openfaas.scale.zero not available for Community Edition"
    for name in _NOT_IN_CE:
        if name in labels:
            return f"{name} not available for Community Edition"
    for name in (SCALE_MAX, SCALE_MIN):
        if (whole_number(labels.get(name)) or 0) > MAX_REPLICAS:
            return f"{name} is set too high for Community Edition"
    if not 1 <= scale_factor(labels) <= 100:
        return f"{SCALE_FACTOR} must be from 1 to 100"
    if scale_min(labels) > scale_max(labels):
        return f"{SCALE_MIN} must not be above {SCALE_MAX}"
    return None


def _resource_problem(deployment: FunctionDeployment) -> str | None:
    for name in ("memory", "cpu"):
        for quantities in (deployment.limits, deployment.requests):
            if name in quantities and not _QUANTITY.fullmatch(quantities[name]):
                return f"quantities must match a number with an optional unit, not {quantities[name]!r}"
    return None


def _annotation_problem(annotations: Mapping[str, str]) -> str | None:
    if "," in annotations.get("topic", ""):
        return "the topic annotation may only support one value in the Community Edition"
    for name in annotations:
        if "amazonaws.com" in name or "gke.io" in name:
            return f'annotation "{_one_line(name)}" is not supported in the Community Edition'
    port = annotations.get(PORT_ANNOTATION)
    if port is not None and not 1024 <= (whole_number(port) or 0) <= _HIGHEST_BASE_PORT:
        return f"annotation {PORT_ANNOTATION} must be a port from 1024 to {_HIGHEST_BASE_PORT}, not {port!r}"
    return None


def _metadata_problem(deployment: FunctionDeployment) -> str | None:
    for name in (*deployment.labels, *deployment.annotations):
        if not _QUALIFIED_NAME.fullmatch(name):
            return f"{name!r} is not a valid label or annotation name"
    for name, value in deployment.labels.items():
        if not _LABEL_VALUE.fullmatch(value):
            return f"label {name}: {value!r} is not a valid label value"
    return None


def _environment_problem(env_vars: Mapping[str, str]) -> str | None:
    for name, value in env_vars.items():
        if not name or "=" in name or not name.isprintable() or not name.isascii():
            return f"{name!r} is not a valid environment variable name"
        if "\0" in value:
            return f"environment variable {name} contains a NUL character"
    return None


def _one_line(text: str) -> str:
    return text if text.isprintable() else repr(text)
