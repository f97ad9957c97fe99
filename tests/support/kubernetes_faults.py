"""What is wrong with a world of kubernetes.py: what an API server would refuse or, worse, accept.

A selector that selects nothing, a mount without a volume, a name that nobody has; and what our own policies forbid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tests.support.kubernetes import (
    ELSEWHERE,
    WORKLOADS,
    Object,
    is_peer,
    label_of,
    made_secrets,
    pods,
    selects,
    workloads,
)

_SUBDOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_UNITS = {
    "": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40,
}  # fmt: skip
_SECRET_NAMES = re.compile(r"PASSWORD|SECRET|TOKEN|DATABASE_URL|PASS$", re.IGNORECASE)


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number; raises ValueError for what the API server would refuse."""
    found = _QUANTITY.fullmatch(str(text))
    if not found:
        raise ValueError(f"{text!r} is no quantity")
    return float(found[1]) * _UNITS[found[2] or ""]


def faults(objects: list[Object]) -> list[str]:
    """Everything that is wrong with a world, as sentences."""
    checks: tuple[Callable[[list[Object]], Iterator[str]], ...] = (
        names,
        selectors,
        references,
        ports,
        resources,
        restricted,
        private,
        images,
        plain_secrets,
    )
    return [fault for check in checks for fault in check(objects)]


def names(objects: list[Object]) -> Iterator[str]:
    """Legal, and each but once."""
    seen = set()
    spaces = {item["metadata"]["name"] for item in objects if item["kind"] == "Namespace"}
    for item in objects:
        name, namespace = item["metadata"]["name"], item["metadata"].get("namespace")
        legal = _LABEL if item["kind"] in {"Service", "Namespace", *WORKLOADS} else _SUBDOMAIN
        if not legal.fullmatch(name):
            yield f"{label_of(item)}: the name is not legal"
        if (item["kind"], namespace, name) in seen:
            yield f"{label_of(item)} is there twice"
        seen.add((item["kind"], namespace, name))
        if namespace is not None and namespace not in spaces:
            yield f"{label_of(item)}: there is no such namespace"
        for value in item["metadata"].get("labels", {}).values():
            if not _LABEL_VALUE.fullmatch(value):
                yield f"{label_of(item)}: {value!r} is no legal label"
    for item, template, containers in workloads(objects):
        for value in template["metadata"]["labels"].values():
            if not _LABEL_VALUE.fullmatch(value):
                yield f"{label_of(item)}: {value!r} is no legal label"
        for container in containers:
            if not _LABEL.fullmatch(container["name"]):
                yield f"{label_of(item)}: container {container['name']!r} is not legal"


def selectors(objects: list[Object]) -> Iterator[str]:
    """Each selects something: a workload its own pods, Services, budgets and policies some pods of their namespace."""
    there = [(space, labels) for _, (space, labels), _ in pods(objects)]
    for item, template, _ in workloads(objects):
        if item["kind"] != "Job" and not selects(item["spec"]["selector"], template["metadata"]["labels"]):
            yield f"{label_of(item)}: its selector is not that of its pods"
    for item in objects:
        kind, space = item["kind"], item["metadata"].get("namespace")
        chosen: Mapping[str, Any] | None = None
        if kind == "Service":
            chosen = {"matchLabels": item["spec"]["selector"]}
        elif kind == "PodDisruptionBudget":
            chosen = item["spec"]["selector"]
        elif kind == "NetworkPolicy":
            chosen = item["spec"]["podSelector"]
        if chosen is not None and not any(
            other == space and selects(chosen, labels) for other, labels in there
        ):
            yield f"{label_of(item)}: selects no pod"
        if kind == "NetworkPolicy":
            for peer in _peers(item):
                if "ipBlock" not in peer and not any(
                    is_peer(peer, space or "", pod) for pod in [*there, *ELSEWHERE]
                ):
                    yield f"{label_of(item)}: no pod is {peer}"


def _peers(policy: Object) -> Iterator[Object]:
    for way, key in (("ingress", "from"), ("egress", "to")):
        for rule in policy["spec"].get(way, []):
            yield from rule.get(key, [])


def references(objects: list[Object]) -> Iterator[str]:
    """What one object takes from another is there: mounts, ConfigMaps, Secrets and their keys, claims, accounts, roles."""
    held = {
        (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]): set(item.get("data", {}))
        for item in objects
    }

    def lacks(kind: str, space: str | None, name: str, keys: Iterable[str] = ()) -> list[str]:
        found = held.get((kind, space, name))
        if found is None:
            return [f"there is no {kind} {name}"]
        return [f"{kind} {name} has no {key}" for key in keys if key not in found]

    for item, template, containers in workloads(objects):
        spec, space = template["spec"], item["metadata"]["namespace"]
        missing = lacks("ServiceAccount", space, spec.get("serviceAccountName", "default"))
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        claimed = {claim["metadata"]["name"] for claim in item["spec"].get("volumeClaimTemplates", [])}
        for volume in volumes.values():
            for kind, name, keys in _volume_sources(volume):
                missing += lacks(kind, space, name, keys)
        mounted: set[str] = set()
        for container in containers:
            places = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
            missing += [f"{place} is mounted twice" for place in set(places) if places.count(place) > 1]
            used = {mount["name"] for mount in container.get("volumeMounts", [])}
            missing += [f"there is no volume {name}" for name in sorted(used - set(volumes) - claimed)]
            mounted |= used
            for entry in container.get("env", []):
                if "valueFrom" in entry:
                    source = entry["valueFrom"]["secretKeyRef"]
                    missing += lacks("Secret", space, source["name"], [source["key"]])
        missing += [f"volume {name} is mounted nowhere" for name in sorted({*volumes, *claimed} - mounted)]
        yield from (f"{label_of(item)}: {fault}" for fault in missing)
    for item in objects:
        if item["kind"] in {"RoleBinding", "ClusterRoleBinding"}:
            faults = lacks(item["roleRef"]["kind"], None, item["roleRef"]["name"])
            for subject in item["subjects"]:
                faults += lacks(subject["kind"], subject["namespace"], subject["name"])
            yield from (f"{label_of(item)}: {fault}" for fault in faults)


def _volume_sources(volume: Object) -> Iterator[tuple[str, str, list[str]]]:
    def keys(source: Object) -> list[str]:
        return [entry["key"] for entry in source.get("items", [])]

    if "configMap" in volume:
        yield "ConfigMap", volume["configMap"]["name"], keys(volume["configMap"])
    if "secret" in volume:
        yield "Secret", volume["secret"]["secretName"], keys(volume["secret"])
    if "persistentVolumeClaim" in volume:
        yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"], []
    for source in volume.get("projected", {}).get("sources", []):
        yield "Secret", source["secret"]["name"], keys(source["secret"])


def ports(objects: list[Object]) -> Iterator[str]:
    """Named where they are used, in range, and each node port but once."""
    taken: set[int] = set()
    for item, _, containers in workloads(objects):
        for container in containers:
            own = {port.get("name"): port["containerPort"] for port in container.get("ports", [])}
            for name, number in own.items():
                if name is not None and not _PORT_NAME.fullmatch(name):
                    yield f"{label_of(item)}: port {name!r} is not legal"
                if not 0 < number < 65536:
                    yield f"{label_of(item)}: port {number} is out of range"
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                asked = container.get(probe, {})
                target = (asked.get("httpGet") or asked.get("tcpSocket") or {}).get("port")
                if target is not None and target not in own and target not in own.values():
                    yield f"{label_of(item)}: its {probe} asks port {target}, which it has not"
    for item in objects:
        if item["kind"] != "Service":
            continue
        chosen = {"matchLabels": item["spec"]["selector"]}
        open_ports = [
            {
                value
                for port in container.get("ports", [])
                for value in (port.get("name"), port["containerPort"])
            }
            for _, (space, labels), containers in pods(objects)
            if space == item["metadata"]["namespace"] and selects(chosen, labels)
            for container in containers
        ]
        for port in item["spec"]["ports"]:
            if not any(port["targetPort"] in numbers for numbers in open_ports):
                yield f"{label_of(item)}: no pod has port {port['targetPort']}"
            node = port.get("nodePort")
            if node is not None and (node in taken or not 30000 <= node <= 32767):
                yield f"{label_of(item)}: node port {node} is taken or out of range"
            taken.add(node)


def resources(objects: list[Object]) -> Iterator[str]:
    """Every container asks for processor and memory, has a limit of memory, and asks for no more than its limits."""
    for item, _, containers in workloads(objects):
        for container in containers:
            told, where = container.get("resources", {}), f"{label_of(item)}, {container['name']}"
            limits, requests = told.get("limits", {}), told.get("requests", {})
            try:
                most = {name: quantity(value) for name, value in limits.items()}
                asked = {name: quantity(value) for name, value in requests.items()}
            except ValueError as error:
                yield f"{where}: {error}"
                continue
            if "memory" not in most:
                yield f"{where}: memory has no limit"
            if not {"cpu", "memory"} <= set(asked):
                yield f"{where}: asks for no processor or no memory"
            yield from (
                f"{where}: asks for more {name} than its limit"
                for name in asked
                if name in most and asked[name] > most[name]
            )
    for item in objects:
        if item["kind"] == "ResourceQuota":
            for value in item["spec"]["hard"].values():
                try:
                    quantity(value)
                except ValueError as error:
                    yield f"{label_of(item)}: {error}"


def restricted(objects: list[Object]) -> Iterator[str]:
    """What Pod Security "restricted" asks for, a read-only root, and a number for the user."""
    for item in objects:
        if item["kind"] == "Namespace":
            level = item["metadata"]["labels"].get("pod-security.kubernetes.io/enforce")
            if level != "restricted":
                yield f"{label_of(item)}: pods are not held to 'restricted'"
    for item, template, containers in workloads(objects):
        where, context = label_of(item), template["spec"].get("securityContext", {})
        if context.get("runAsNonRoot") is not True:
            yield f"{where}: may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{where}: has no seccomp profile"
        yield from (
            f"{where}: {key}" for key in ("hostNetwork", "hostPID", "hostIPC") if template["spec"].get(key)
        )
        for container in containers:
            own = container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False:
                yield f"{where}: may gain privileges"
            if own.get("capabilities", {}).get("drop") != ["ALL"]:
                yield f"{where}: keeps capabilities"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{where}: its root can be written"
            if not own.get("runAsUser", context.get("runAsUser")):
                yield f"{where}: its user has no number, or is root"


def private(objects: list[Object]) -> Iterator[str]:
    """Nobody has a token of the API server but who asks it, nor variables that it did not ask for."""
    tokens = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item.get(
            "automountServiceAccountToken", True
        )
        for item in objects
        if item["kind"] == "ServiceAccount"
    }
    for item, template, _ in workloads(objects):
        spec, where = template["spec"], label_of(item)
        if spec.get("enableServiceLinks", True):
            yield f"{where}: gets a variable for every Service of its namespace"
        account = (item["metadata"]["namespace"], spec.get("serviceAccountName", "default"))
        has_token = spec.get("automountServiceAccountToken", tokens.get(account, True))
        if has_token and where != "Deployment openfaas/prometheus":
            yield f"{where}: has a token of the API server"


def images(objects: list[Object]) -> Iterator[str]:
    """Every image has a version that says something."""
    for item, _, containers in workloads(objects):
        for container in containers:
            name, _, _ = container["image"].partition("@")
            tag = name.rpartition("/")[2].partition(":")[2]
            if tag in {"", "latest"}:
                yield f"{label_of(item)}: image {container['image']} is not pinned"


def plain_secrets(objects: list[Object]) -> Iterator[str]:
    """No manifest of ours holds a secret: neither as a Secret nor as a variable."""
    made = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in made_secrets()}
    for item in objects:
        if (
            item["kind"] == "Secret"
            and (item["metadata"].get("namespace"), item["metadata"]["name"]) not in made
        ):
            yield f"{label_of(item)} is in a file"
    for item, _, containers in workloads(objects):
        for container in containers:
            for entry in container.get("env", []):
                value = entry.get("value")
                if (
                    value
                    and not value.startswith("/")
                    and (_SECRET_NAMES.search(entry["name"]) or ("://" in value and "@" in value))
                ):
                    yield f"{label_of(item)}: {entry['name']} may be a secret in plain text"
