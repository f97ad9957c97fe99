"""deploy/kubernetes, checked without a cluster: it renders, fits its schemas, hangs together, and keeps to its policies."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.kubernetes import tools
from deploy.kubernetes.versions import load
from tests.support import kubernetes, kubernetes_faults
from tests.support.kubernetes import FOLDERS, PROJECT, SHARED, WORLDS, Flow, Object, find, world

pytestmark = pytest.mark.skipif(
    tools.find("kubectl") is None, reason="no kubectl: neither on PATH nor among the project's packages"
)
WITHOUT_SCHEMA = {"Cluster"}
"""Kinds of operators; their own API server checks them."""
SCHEMAS = "1.37"


@pytest.mark.parametrize("folder", [*(f"deploy/kubernetes/{folder}" for folder in FOLDERS), *SHARED])
def test_folder_renders(folder: str) -> None:
    assert kubernetes.rendered(folder)


def test_every_kustomization_is_rendered_by_some_test() -> None:
    bases = {"deploy/kubernetes/edge/base", "deploy/kubernetes/database/base", "deploy/kubernetes/versions"}
    known = {*(f"deploy/kubernetes/{folder}" for folder in FOLDERS), *SHARED, *bases}
    found = {
        str(path.parent.relative_to(PROJECT))
        for top in ("deploy", "kong", "db", "monitoring")
        for path in (PROJECT / top).rglob("kustomization.yaml")
    }
    assert found == known


@pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None, reason="kubernetes-validate is not installed"
)
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_object_fits_the_schema_of_its_kind(folder: str) -> None:
    import kubernetes_validate

    for item in kubernetes.rendered(f"deploy/kubernetes/{folder}"):
        if item["kind"] not in WITHOUT_SCHEMA:
            kubernetes_validate.validate(item, SCHEMAS, strict=True)


@pytest.mark.parametrize("name", WORLDS)
def test_everything_hangs_together(name: str) -> None:
    assert kubernetes_faults.faults(world(name)) == []


@pytest.mark.parametrize("name", WORLDS)
def test_every_image_is_one_of_the_versions(name: str) -> None:
    pinned = set(load().images.values())
    ours = [
        container["image"]
        for folder in WORLDS[name]
        for _, _, containers in kubernetes.workloads(kubernetes.rendered(f"deploy/kubernetes/{folder}"))
        for container in containers
    ]
    assert set(ours) <= pinned


def test_no_object_is_too_large_for_a_cluster() -> None:
    sizes = {
        kubernetes.label_of(item): sum(len(value) for value in item["data"].values())
        for item in world("kind")
        if item["kind"] == "ConfigMap"
    }
    assert max(sizes.values()) < 1_000_000, sizes


def test_a_change_of_shared_files_rolls_what_reads_them() -> None:
    """Every ConfigMap's name ends in its content's hash, which kubectl puts there and into what refers to it."""
    plain = [
        item["metadata"]["name"]
        for item in world("kind")
        if item["kind"] == "ConfigMap" and not item["metadata"]["name"].rpartition("-")[2].isalnum()
    ]
    assert plain == []


@pytest.mark.parametrize(
    "dockerfile",
    sorted(PROJECT.glob("template/*/Dockerfile")),
    ids=lambda path: path.parent.name,
)
@pytest.mark.skipif(
    shutil.which("hadolint", path=tools.search_path()) is None, reason="hadolint is not installed"
)
def test_dockerfile_has_no_fault_that_hadolint_knows(dockerfile: Path) -> None:
    program = shutil.which("hadolint", path=tools.search_path())
    assert program is not None
    told = subprocess.run([program, dockerfile], capture_output=True, text=True, check=False, timeout=60)
    assert (told.returncode, told.stdout) == (0, "")


# -- Who may talk to whom --------------------------------------------------------------------------------------------

MAY: dict[str, dict[str, set[int]]] = {
    "Deployment edge/kong": {"Deployment openfaas/gateway": {8080}, "Deployment openfaas-fn/cart": {8080}},
    "Deployment openfaas/gateway": {
        "Deployment openfaas/prometheus": {9090},
        "Deployment registry/registry": {5000},
        **{f"Deployment openfaas-fn/{name}": {8080} for name in kubernetes.STACK.functions},
    },
    "Deployment openfaas/prometheus": {
        "Deployment openfaas/gateway": {8082},
        "Deployment openfaas/alertmanager": {9093},
        "Deployment edge/kong": {8100},
        "Deployment database/postgres-exporter": {9187},
        **{f"Deployment openfaas-fn/{name}": {8080} for name in kubernetes.STACK.functions},
    },
    "Deployment openfaas/alertmanager": {"Deployment openfaas/gateway": {8080}},
    "Deployment openfaas/cron-connector": {"Deployment openfaas/gateway": {8080}},
    "Deployment monitoring/grafana": {"Deployment openfaas/prometheus": {9090}},
    "Job database/migrations": {"StatefulSet database/postgres": {5432}},
    "Deployment database/postgres-exporter": {"StatefulSet database/postgres": {5432}},
    **{
        f"Deployment openfaas-fn/{name}": {
            "Deployment openfaas/gateway": {8080},
            "StatefulSet database/postgres": {5432},
        }
        for name in kubernetes.STACK.functions
    },
}
OPEN_TO_ALL_WHO_MAY_LEAVE = {("Deployment edge/kong", 8000), ("Deployment edge/kong", 8443)}
PORTS = (5000, 5432, 8000, 8080, 8081, 8082, 8100, 8443, 9090, 9093, 9187, 3000, 443)


def test_exactly_the_connections_that_are_needed_are_allowed() -> None:
    objects = world("kind")
    there = kubernetes.pods(objects)
    found: dict[str, dict[str, set[int]]] = {}
    for source, source_pod, _ in there:
        for target, target_pod, _ in there:
            if source_pod == target_pod:
                continue
            open_ports = {
                port for port in PORTS if kubernetes.allowed(objects, Flow(source_pod, target_pod, port))
            }
            if open_ports:
                found.setdefault(source, {})[target] = open_ports
    assert found == MAY


def test_the_edge_is_open_to_strangers_and_nothing_else_is() -> None:
    objects = world("kind")
    stranger = ("elsewhere", {"app": "stranger"})
    reached = {
        (target, port)
        for target, pod, _ in kubernetes.pods(objects)
        for port in PORTS
        if kubernetes.allowed(objects, Flow(stranger, pod, port))
    }
    assert reached == OPEN_TO_ALL_WHO_MAY_LEAVE | {("Deployment registry/registry", 5000)}


@pytest.mark.parametrize("name", WORLDS)
def test_every_pod_that_opens_connections_may_ask_for_names(name: str) -> None:
    objects = world(name)
    silent = {
        source
        for source, pod, _ in kubernetes.pods(objects)
        if not kubernetes.allowed(objects, Flow(pod, kubernetes.ELSEWHERE[0], 53))
    }
    assert silent <= {"StatefulSet database/postgres", "Deployment registry/registry"}


# -- The checks themselves: each of these faults was put there, and must be found ------------------------------------


def _pod(objects: list[Object], name: str = "kong", kind: str = "Deployment") -> Object:
    spec: Object = find(objects, kind, name)["spec"]["template"]["spec"]
    return spec


def _kong(objects: list[Object]) -> Object:
    container: Object = _pod(objects)["containers"][0]
    return container


def _rename(objects: list[Object], kind: str, name: str, new: str) -> None:
    find(objects, kind, name)["metadata"]["name"] = new


PLANTED: dict[str, tuple[Callable[[list[Object]], object], str]] = {
    "selector": (
        lambda o: find(o, "Deployment", "kong")["spec"]["selector"]["matchLabels"].update(tier="edge"),
        "its selector is not that of its pods",
    ),
    "service": (
        lambda o: find(o, "Service", "kong-proxy")["spec"]["selector"].update(tier="edge"),
        "selects no pod",
    ),
    "budget": (
        lambda o: find(o, "PodDisruptionBudget", "cart").update(
            spec={"selector": {"matchLabels": {"faas_function": "kart"}}}
        ),
        "selects no pod",
    ),
    "policy": (
        lambda o: find(o, "NetworkPolicy", "kong")["spec"]["egress"][1]["to"][0]["podSelector"].update(
            matchLabels={"app": "gate"}
        ),
        "no pod is",
    ),
    "volume": (lambda o: _pod(o)["volumes"].pop(), "there is no volume tmp"),
    "mount": (lambda o: _kong(o)["volumeMounts"].pop(), "volume tmp is mounted nowhere"),
    "mounted twice": (
        lambda o: _kong(o)["volumeMounts"].append({"name": "tmp", "mountPath": "/kong_prefix"}),
        "is mounted twice",
    ),
    "secret": (lambda o: _rename(o, "Secret", "edge-tls", "edge"), "there is no Secret edge-tls"),
    "secret's key": (
        lambda o: find(o, "Secret", "role-passwords")["data"].pop("monitoring"),
        "has no monitoring",
    ),
    "function's secret": (lambda o: _rename(o, "Secret", "cart-db", "kart-db"), "there is no Secret cart-db"),
    "account": (lambda o: _rename(o, "ServiceAccount", "grafana", "grafanas"), "there is no ServiceAccount"),
    "role": (lambda o: _rename(o, "ClusterRole", "magasin-prometheus", "other"), "there is no ClusterRole"),
    "claim": (
        lambda o: _rename(o, "PersistentVolumeClaim", "alertmanager", "other"),
        "there is no PersistentVolumeClaim",
    ),
    "memory": (lambda o: _kong(o)["resources"]["limits"].update(memory="12zz"), "is no quantity"),
    "no limit": (lambda o: _kong(o)["resources"].pop("limits"), "memory has no limit"),
    "no request": (lambda o: _kong(o)["resources"].pop("requests"), "asks for no processor"),
    "request": (
        lambda o: _kong(o)["resources"]["requests"].update(memory="1Gi"),
        "asks for more memory than its limit",
    ),
    "quota": (
        lambda o: find(o, "ResourceQuota", "functions")["spec"]["hard"].update(pods="x"),
        "is no quantity",
    ),
    "name": (lambda o: _rename(o, "Deployment", "kong", "Kong"), "the name is not legal"),
    "label": (
        lambda o: find(o, "Deployment", "kong")["metadata"]["labels"].update(about="the edge"),
        "is no legal label",
    ),
    "twice": (lambda o: o.append(find(o, "Service", "grafana")), "is there twice"),
    "namespace": (
        lambda o: find(o, "Service", "grafana")["metadata"].update(namespace="grafana"),
        "no such namespace",
    ),
    "port": (lambda o: _kong(o)["ports"][0].update(containerPort=99999), "out of range"),
    "port's name": (lambda o: _kong(o)["ports"][2].update(name="metrics"), "which it has not"),
    "target port": (
        lambda o: find(o, "Service", "kong-proxy")["spec"]["ports"][0].update(targetPort="prox"),
        "no pod has port prox",
    ),
    "node port": (
        lambda o: find(o, "Service", "kong-proxy")["spec"]["ports"][0].update(nodePort=30500),
        "is taken or out of range",
    ),
    "root": (lambda o: _pod(o)["securityContext"].pop("runAsNonRoot"), "may run as root"),
    "user 0": (lambda o: _pod(o)["securityContext"].update(runAsUser=0), "is root"),
    "root's files": (
        lambda o: _kong(o)["securityContext"].update(readOnlyRootFilesystem=False),
        "its root can be written",
    ),
    "capabilities": (lambda o: _kong(o)["securityContext"].pop("capabilities"), "keeps capabilities"),
    "privileges": (
        lambda o: _kong(o)["securityContext"].pop("allowPrivilegeEscalation"),
        "may gain privileges",
    ),
    "seccomp": (lambda o: _pod(o)["securityContext"].pop("seccompProfile"), "no seccomp profile"),
    "token": (
        lambda o: find(o, "ServiceAccount", "kong").pop("automountServiceAccountToken"),
        "has a token",
    ),
    "security level": (
        lambda o: find(o, "Namespace", "edge")["metadata"]["labels"].update(
            {"pod-security.kubernetes.io/enforce": "baseline"}
        ),
        "not held to 'restricted'",
    ),
    "latest": (lambda o: _kong(o).update(image="kong:latest"), "is not pinned"),
    "no tag": (lambda o: _kong(o).update(image="localhost:5001/kong"), "is not pinned"),
    "password": (
        lambda o: _kong(o)["env"].append({"name": "KONG_PG_PASSWORD", "value": "hunter2"}),
        "may be a secret in plain text",
    ),
    "address with a password": (
        lambda o: _kong(o)["env"].append({"name": "URL", "value": "postgresql://a:b@c/d"}),
        "may be a secret in plain text",
    ),
    "secret in a file": (
        lambda o: o.append(
            {"kind": "Secret", "metadata": {"name": "mine", "namespace": "edge", "labels": {}}, "data": {}}
        ),
        "is in a file",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_fault_is_found(name: str) -> None:
    plant, words = PLANTED[name]
    objects = world("kind")
    plant(objects)
    assert [fault for fault in kubernetes_faults.faults(objects) if words in fault]


def test_planted_hole_in_the_network_is_found() -> None:
    objects = world("kind")
    find(objects, "NetworkPolicy", "postgresql")["spec"]["ingress"].append({})
    find(objects, "NetworkPolicy", "kong")["spec"]["egress"].append({})
    kong, postgres = (
        next(pod for title, pod, _ in kubernetes.pods(objects) if title == wanted)
        for wanted in ("Deployment edge/kong", "StatefulSet database/postgres")
    )
    assert kubernetes.allowed(objects, Flow(kong, postgres, 5432))


@pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None, reason="kubernetes-validate is not installed"
)
@pytest.mark.parametrize(
    ("where", "what"), [("replica", 2), ("replicas", "two")], ids=["unknown field", "wrong type"]
)
def test_planted_fault_of_schema_is_found(where: str, what: object) -> None:
    import kubernetes_validate

    kong = find(world("kind"), "Deployment", "kong")
    kong["spec"][where] = what
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(kong, SCHEMAS, strict=True)


def test_planted_fault_of_kustomize_is_found(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    kubectl = tools.find("kubectl")
    assert kubectl is not None
    told = subprocess.run([kubectl, "kustomize", tmp_path], capture_output=True, check=False, timeout=30)
    assert told.returncode != 0
