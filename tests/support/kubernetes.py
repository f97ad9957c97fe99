"""What the manifests of deploy/kubernetes come to, without a cluster: rendered, and joined with what others add.

`world("kind")` is every object of one way to run the shop: ours as kubectl renders them, the gateway as OpenFaaS' chart
makes it, and each function as its provider makes it of stack.yml. What can be wrong with it: kubernetes_faults.py.
"""

from __future__ import annotations

import copy
import functools
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.kubernetes import secrets, tools
from localfaas.stack import load_stack

PROJECT = Path(__file__).resolve().parents[2]
HERE = PROJECT / "deploy" / "kubernetes"
STACK = load_stack(PROJECT / "stack.yml", {})
COMMON = ("cluster", "openfaas", "openfaas-fn", "monitoring", "database/migrations")
WORLDS = {
    "kind": (*COMMON, "edge/kind", "database/statefulset", "registry"),
    "existing": (*COMMON, "edge/loadbalancer", "database/cloudnativepg"),
}
FOLDERS = sorted({folder for folders in WORLDS.values() for folder in folders})
SHARED = (
    "kong",
    "db/migrations",
    "monitoring/prometheus",
    "monitoring/alertmanager",
    "monitoring/grafana",
    "monitoring/postgres_exporter",
)
ELSEWHERE = (
    ("kube-system", {"k8s-app": "kube-dns"}),
    ("cnpg-system", {"app.kubernetes.io/name": "cloudnative-pg"}),
    ("registry", {"app.kubernetes.io/name": "registry"}),
)
"""Pods that are not ours, or not in every world, and that policies may name."""
WORKLOADS = ("Deployment", "StatefulSet", "Job")

Object = dict[str, Any]
Pod = tuple[str, Mapping[str, str]]
"""A namespace and labels: all that a selector sees."""

# -- What is there ------------------------------------------------------------------------------------------------


@functools.cache
def rendered(folder: str) -> tuple[Object, ...]:
    """The objects of `kubectl kustomize`, of a folder below the project."""
    kubectl = tools.find("kubectl")
    assert kubectl is not None
    told = subprocess.run(
        [kubectl, "kustomize", PROJECT / folder], capture_output=True, text=True, check=False, timeout=30
    )
    assert told.returncode == 0, told.stderr
    return tuple(yaml.load_all(told.stdout, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


@functools.cache
def _world(name: str) -> tuple[Object, ...]:
    ours = [item for folder in WORLDS[name] for item in rendered(f"deploy/kubernetes/{folder}")]
    operated = [_as_the_operator_makes(item) for item in ours if item["kind"] == "Cluster"]
    return (*ours, *(item for items in operated for item in items), *chart(), *functions(), *made_secrets())


def world(name: str) -> list[Object]:
    """A copy of one's own."""
    return copy.deepcopy(list(_world(name)))


def find(objects: Iterable[Object], kind: str, name: str, namespace: str | None = None) -> Object:
    """The only one; raises ValueError when there are more or none."""
    (found,) = [
        item
        for item in objects
        if (item["kind"], item["metadata"]["name"]) == (kind, name)
        and namespace in (None, item["metadata"].get("namespace"))
    ]
    return found


def made_secrets() -> list[Object]:
    """Those of the script, with values of no meaning."""
    stack = {name: function.secrets for name, function in STACK.functions.items()}
    return [secret.manifest() for secret in secrets.complete({}, stack, "disable")]


def chart() -> list[Object]:
    """What of OpenFaaS' chart others refer to: chart 15.0.6 with our values renders these names, labels and ports."""
    container = _restricted({"name": "gateway", "image": "ghcr.io/openfaas/gateway:0.27.13"})
    container["ports"] = [
        {"name": "http", "containerPort": 8080},
        {"name": "gw-metrics", "containerPort": 8082},
    ]
    template = {
        "metadata": {
            "labels": {"app": "gateway"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8082"},
        },
        "spec": {**_pod_context(), "serviceAccountName": "openfaas-controller", "containers": [container]},
    }
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _named("openfaas-controller", "openfaas")},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": _named("gateway", "openfaas"),
            "spec": {"selector": {"matchLabels": {"app": "gateway"}}, "template": template},
        },
        _service("gateway", "openfaas", {"app": "gateway"}, 8080, "http"),
    ]


def functions() -> list[Object]:
    """What OpenFaaS CE's provider makes of stack.yml, after our policy has completed its pods."""
    made: list[Object] = []
    for name, function in STACK.functions.items():
        container = _restricted({"name": name, "image": f"registry.example/magasin/{name}:content"})
        container["ports"] = [{"name": "http", "containerPort": 8080}]
        container["resources"] = {"limits": dict(function.limits), "requests": dict(function.requests)}
        container["env"] = [
            {"name": key, "value": value} for key, value in sorted(function.environment.items())
        ]
        container["securityContext"]["runAsUser"] = 12000
        container["volumeMounts"] = [
            {"name": "temp", "mountPath": "/tmp"},
            {"name": f"{name}-projected-secrets", "mountPath": "/var/openfaas/secrets", "readOnly": True},
        ]
        sources = [
            {"secret": {"name": secret, "items": [{"key": secret, "path": secret}]}}
            for secret in function.secrets
        ]
        volumes = [
            {"name": "temp", "emptyDir": {}},
            {"name": f"{name}-projected-secrets", "projected": {"sources": sources}},
        ]
        made.append(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {
                    **_named(name, "openfaas-fn", faas_function=name),
                    "annotations": dict(function.annotations),
                },
                "spec": {
                    "replicas": int(function.labels["com.openfaas.scale.min"]),
                    "selector": {"matchLabels": {"faas_function": name}},
                    "template": {
                        "metadata": {
                            "labels": {"faas_function": name, **function.labels},
                            "annotations": dict(function.annotations),
                        },
                        "spec": {
                            **_pod_context(),
                            "serviceAccountName": "default",
                            "containers": [container],
                            "volumes": volumes,
                        },
                    },
                },
            }
        )
        made.append(_service(name, "openfaas-fn", {"faas_function": name}, 8080, 8080))
    return made


def _as_the_operator_makes(cluster: Object) -> list[Object]:
    """The pods of a CloudNativePG Cluster, and the Service of its primary."""
    name, namespace = cluster["metadata"]["name"], cluster["metadata"]["namespace"]
    labels = {
        "cnpg.io/cluster": name,
        "cnpg.io/instanceRole": "primary",
        **cluster["spec"]["inheritedMetadata"]["labels"],
    }
    container = _restricted({"name": "postgres", "image": cluster["spec"]["imageName"]})
    container["resources"] = cluster["spec"]["resources"]
    container["ports"] = [
        {"name": "postgresql", "containerPort": 5432},
        {"name": "metrics", "containerPort": 9187},
    ]
    container["securityContext"]["runAsUser"] = 26
    pods = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _named(f"{name}-as-made-by-the-operator", namespace),
        "spec": {
            "selector": {"matchLabels": {"cnpg.io/cluster": name}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {**_pod_context(), "serviceAccountName": name, "containers": [container]},
            },
        },
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _named(name, namespace)}
    primary = {"cnpg.io/cluster": name, "cnpg.io/instanceRole": "primary"}
    return [pods, account, _service(f"{name}-rw", namespace, primary, 5432, "postgresql")]


def _named(name: str, namespace: str, **labels: str) -> Object:
    return {"name": name, "namespace": namespace, **({"labels": labels} if labels else {})}


def _restricted(container: Object) -> Object:
    context = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsUser": 10001,
        "capabilities": {"drop": ["ALL"]},
    }
    limits = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}
    return {**container, "securityContext": context, "resources": limits}


def _pod_context() -> Object:
    context = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"securityContext": context, "automountServiceAccountToken": False, "enableServiceLinks": False}


def _service(name: str, namespace: str, selector: Object, port: int, target: int | str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _named(name, namespace),
        "spec": {"selector": selector, "ports": [{"name": "http", "port": port, "targetPort": target}]},
    }


# -- Looking at it ------------------------------------------------------------------------------------------------


def label_of(item: Object) -> str:
    where = item["metadata"].get("namespace", "")
    return f"{item['kind']} {where + '/' if where else ''}{item['metadata']['name']}"


def workloads(objects: Iterable[Object]) -> Iterator[tuple[Object, Object, list[Object]]]:
    """Each with its pod template and all of its containers."""
    for item in objects:
        if item["kind"] in WORKLOADS:
            template = item["spec"]["template"]
            yield (
                item,
                template,
                [*template["spec"].get("initContainers", []), *template["spec"]["containers"]],
            )


def pods(objects: Iterable[Object]) -> list[tuple[str, Pod, list[Object]]]:
    """Name, namespace with labels, and containers of one pod of each workload."""
    return [
        (label_of(item), (item["metadata"]["namespace"], template["metadata"]["labels"]), containers)
        for item, template, containers in workloads(objects)
    ]


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector (matchLabels, matchExpressions) holds for `labels`; an empty one always does."""
    if selector is None:
        return True
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_expression(expression, labels) for expression in selector.get("matchExpressions", []))


def _expression(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator = expression["key"], expression["operator"]
    if operator == "Exists":
        return key in labels
    if operator == "In":
        return labels.get(key) in expression["values"]
    raise ValueError(f"the operator {operator} is not read here")


@dataclass(frozen=True)
class Flow:
    """One connection that might be opened."""

    source: Pod
    target: Pod
    port: int


def allowed(objects: list[Object], flow: Flow) -> bool:
    """Whether NetworkPolicies let it through: out of its source, and into its target."""
    (source_space, source), (target_space, target) = flow.source, flow.target
    out = _rules(objects, "Egress", source_space, source)
    into = _rules(objects, "Ingress", target_space, target)
    return _passes(out, "to", source_space, flow.target, flow.port) and _passes(
        into, "from", target_space, flow.source, flow.port
    )


def _rules(objects: list[Object], way: str, namespace: str, labels: Mapping[str, str]) -> list[Object] | None:
    """What is allowed in this direction; None when no policy speaks of it, which allows all."""
    policies = [
        item["spec"]
        for item in objects
        if item["kind"] == "NetworkPolicy"
        and item["metadata"]["namespace"] == namespace
        and way in item["spec"]["policyTypes"]
        and selects(item["spec"]["podSelector"], labels)
    ]
    if not policies:
        return None
    return [rule for policy in policies for rule in policy.get(way.lower(), [])]


def _passes(rules: list[Object] | None, peers: str, own: str, other: Pod, port: int) -> bool:
    if rules is None:
        return True
    return any(
        port in {entry["port"] for entry in rule.get("ports", [{"port": port}])}
        and (peers not in rule or any(is_peer(peer, own, other) for peer in rule[peers]))
        for rule in rules
    )


def is_peer(peer: Mapping[str, Any], own: str, other: Pod) -> bool:
    if "ipBlock" in peer:  # for what no selector names; of pods these tests ask by selectors alone
        return False
    namespace, labels = other
    space = peer.get("namespaceSelector")
    in_space = (
        namespace == own if space is None else selects(space, {"kubernetes.io/metadata.name": namespace})
    )
    return in_space and selects(peer.get("podSelector"), labels)
