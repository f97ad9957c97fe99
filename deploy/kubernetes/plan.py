"""What `up`, `down` and `test` do, step by step: options in, commands out. Nothing is run here.

The order matters: namespaces and the policy before any pod, secrets before what mounts them, the database and its
migrations before functions, and the gateway before functions are sent to it.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.kubernetes.commands import Command, Forward, SecretKey
from deploy.kubernetes.versions import Versions

HERE = "deploy/kubernetes"
KIND = "kind"
EXISTING = "existing"
KIND_CLUSTER = "magasin"
PUSHED_TO = "localhost:5001/magasin"
PULLED_FROM = "registry.registry.svc.cluster.local:5000/magasin"
"""On kind the same registry has two names: this machine's port, and the cluster's name for it."""
GATEWAY_PORT = 31112
"""Where the gateway is forwarded to while functions are deployed; not 8080, which the first home may be using."""
OPENFAAS_CHARTS = "https://openfaas.github.io/faas-netes/"
OPERATOR_CHARTS = "https://cloudnative-pg.github.io/charts"
OPERATOR_NAMESPACE = "cnpg-system"
BUILT_FROM = ("functions", "template", "stack.yml")


class OptionsError(ValueError):
    """The options contradict each other; the message says what to change."""


@dataclass(frozen=True)
class Options:
    """Which cluster, which database, where images go, and under which tag."""

    cluster: str = KIND
    context: str = ""
    database: str = "statefulset"
    edge: str = ""
    registry: str = ""
    tag: str = ""
    edge_url: str = ""
    build: bool = True
    demo: bool = True

    @property
    def on_kind(self) -> bool:
        return self.cluster == KIND

    @property
    def edge_overlay(self) -> str:
        return self.edge or ("kind" if self.on_kind else "loadbalancer")

    @property
    def pushed_to(self) -> str:
        return self.registry or PUSHED_TO

    @property
    def pulled_from(self) -> str:
        return self.registry or PULLED_FROM

    @property
    def kube_context(self) -> str:
        """The context of kubectl's configuration; empty for the present one."""
        return self.context or (f"kind-{KIND_CLUSTER}" if self.on_kind else "")

    @property
    def sslmode(self) -> str:
        """The plain PostgreSQL has no TLS; CloudNativePG's always has."""
        return "require" if self.database == "cloudnativepg" else "disable"

    def tools(self) -> list[str]:
        """The programs that are needed."""
        return [
            *(["docker"] if self.build or self.on_kind else []),
            *(["kind"] if self.on_kind else []),
            "kubectl",
            "helm",
            "faas-cli",
        ]

    def check(self) -> None:
        """Raise OptionsError."""
        if not self.on_kind and not self.registry:
            raise OptionsError(
                "CLUSTER=existing needs REGISTRY: a registry and a path from which images can be pulled without a password, "
                "as OpenFaaS CE asks, such as REGISTRY=ghcr.io/you/magasin"
            )
        if not self.on_kind and self.demo and not self.edge_url:
            raise OptionsError(
                "demonstration data goes through the edge: give its address with EDGE_URL, or --no-demo"
            )


@dataclass(frozen=True)
class Step:
    """A title, and the commands below it; `secrets`, `version` and `demo` are done by cluster.py."""

    title: str
    commands: tuple[Command, ...] = ()
    special: str = ""


def up(options: Options, versions: Versions, functions: Sequence[str]) -> list[Step]:
    """From nothing, or from any state in between, to a shop that answers; `functions` are those of stack.yml."""
    kubectl, helm = _kubectl(options), _helm(options)
    return [
        *_cluster(options, versions),
        Step("Kubernetes' version", special="version"),
        Step("Namespaces, policy", (kubectl.apply("cluster"),)),
        *([_registry(kubectl)] if options.on_kind else []),
        Step("Secrets", special="secrets"),
        Step(
            "OpenFaaS",
            (
                helm(
                    *("upgrade", "--install", "openfaas", "openfaas", "--repo", OPENFAAS_CHARTS),
                    *("--version", versions.charts["openfaas"], "--namespace", "openfaas"),
                    *("--values", f"{HERE}/openfaas/values.yaml"),
                ),
                kubectl.apply("openfaas"),
            ),
        ),
        *_database(options, versions),
        Step(
            "Migrations, passwords of the roles",
            (
                kubectl("-n", "database", "delete", "job", "migrations", "--ignore-not-found"),
                kubectl.apply("database/migrations"),
                kubectl(
                    "-n", "database", "wait", "--for=condition=complete", "job/migrations", "--timeout=600s"
                ),
            ),
        ),
        Step(
            "Edge, functions' surroundings, Grafana",
            (
                kubectl.apply(f"edge/{options.edge_overlay}"),
                kubectl.apply("openfaas-fn"),
                kubectl.apply("monitoring"),
            ),
        ),
        Step(
            "Function gateway",
            (
                kubectl.rollout("openfaas", "deployment/gateway"),
                kubectl.rollout("openfaas", "deployment/prometheus"),
            ),
        ),
        *([_images(options, versions)] if options.build else []),
        Step("Functions deployed", tuple(_deploy(options))),
        Step(
            "Functions, edge and the others ready",
            (
                *(kubectl.rollout("openfaas-fn", f"deployment/{name}") for name in functions),
                kubectl.rollout("openfaas", "deployment/alertmanager"),
                kubectl.rollout("openfaas", "deployment/cron-connector"),
                kubectl.rollout("database", "deployment/postgres-exporter"),
                kubectl.rollout("monitoring", "deployment/grafana"),
                kubectl.rollout("edge", "deployment/kong"),
            ),
        ),
        *([Step("Demonstration data", special="demo")] if options.demo else []),
    ]


def down(options: Options, *, data: bool = False) -> list[Step]:
    """A kind cluster goes as a whole; of another one everything of ours, the database and its claims only with `data`."""
    if options.on_kind:
        return [
            Step(
                "The cluster, with its data",
                (Command(("kind", "delete", "cluster", "--name", KIND_CLUSTER)),),
            )
        ]
    kubectl, helm = _kubectl(options), _helm(options)
    namespaces = ["edge", "monitoring", "openfaas-fn", "openfaas", *(["database"] if data else [])]
    return [
        Step("OpenFaaS", (helm("uninstall", "openfaas", "--namespace", "openfaas", "--ignore-not-found"),)),
        Step(
            "Namespaces",
            (kubectl("delete", "namespace", *namespaces, "--ignore-not-found", "--timeout=300s"),),
        ),
        Step(
            "Policy and roles",
            tuple(
                kubectl("delete", kind, name, "--ignore-not-found")
                for kind, name in (
                    ("mutatingadmissionpolicybinding", "restrict-function-pods"),
                    ("mutatingadmissionpolicy", "restrict-function-pods"),
                    ("clusterrolebinding", "magasin-prometheus-nodes"),
                    ("clusterrole", "magasin-prometheus-nodes"),
                    ("clusterrole", "magasin-prometheus"),
                )
            ),
        ),
    ]


def content_tag(project: Path) -> str:
    """A tag that follows what images are built from: the same files, the same tag."""
    digest = hashlib.sha256()
    for path in _sources(project):
        digest.update(f"{path.relative_to(project)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def stack_variables(options: Options) -> Mapping[str, str]:
    """What stack.yml is read with when functions are deployed. Prometheus and Grafana are where docs/kubernetes.md says to forward them."""
    return {
        "OPENFAAS_URL": f"http://127.0.0.1:{GATEWAY_PORT}",
        "REGISTRY": options.pulled_from,
        "TAG": options.tag,
        "EDGE_URL": options.edge_url or "http://localhost:8000",
    }


def test(options: Options, secrets: Path, more: Sequence[str] = ()) -> Command:
    """The end-to-end suite against the cluster's edge, and its gateway where a test looks behind it."""
    return Command(
        (sys.executable, "-m", "pytest", "tests/e2e", "-rs", "--timeout", "600", *more),
        {
            "E2E_EDGE_URL": options.edge_url or "http://localhost:8000",
            "E2E_GATEWAY_URL": f"http://127.0.0.1:{GATEWAY_PORT}",
            "E2E_SECRETS": str(secrets),
        },
        behind=Forward("openfaas", "gateway", GATEWAY_PORT, 8080),
    )


class _Kubectl:
    """Makes kubectl's commands for one context."""

    def __init__(self, context: str) -> None:
        self._words = ("kubectl", *(("--context", context) if context else ()))

    def __call__(self, *arguments: str) -> Command:
        return Command((*self._words, *arguments))

    def apply(self, folder: str) -> Command:
        """Server-side: dashboards are larger than what the other way can remember."""
        return self("apply", "--server-side", "--force-conflicts", "-k", f"{HERE}/{folder}")

    def rollout(self, namespace: str, what: str) -> Command:
        return self("-n", namespace, "rollout", "status", what, "--timeout=600s")


def _kubectl(options: Options) -> _Kubectl:
    return _Kubectl(options.kube_context)


def _helm(options: Options) -> _Helm:
    return _Helm(options.kube_context)


class _Helm:
    def __init__(self, context: str) -> None:
        self._context = ("--kube-context", context) if context else ()

    def __call__(self, *arguments: str) -> Command:
        return Command(("helm", *self._context, *arguments))


def _cluster(options: Options, versions: Versions) -> list[Step]:
    if not options.on_kind:
        return []
    return [
        Step(
            "Cluster in Docker",
            (
                Command(
                    (
                        *("kind", "create", "cluster", "--config", f"{HERE}/kind/cluster.yaml"),
                        *("--image", versions.images["kindest/node"], "--wait", "180s"),
                    ),
                    unless=("kind", "get", "kubeconfig", "--name", KIND_CLUSTER),
                ),
            ),
        )
    ]


def _registry(kubectl: _Kubectl) -> Step:
    return Step("Registry", (kubectl.apply("registry"), kubectl.rollout("registry", "deployment/registry")))


def _database(options: Options, versions: Versions) -> list[Step]:
    kubectl, helm = _kubectl(options), _helm(options)
    apply = kubectl.apply(f"database/{options.database}")
    if options.database == "statefulset":
        return [Step("PostgreSQL", (apply, kubectl.rollout("database", "statefulset/postgres")))]
    operator = helm(
        *("upgrade", "--install", "cloudnative-pg", "cloudnative-pg", "--repo", OPERATOR_CHARTS),
        *("--version", versions.charts["cloudnative-pg"], "--namespace", OPERATOR_NAMESPACE),
        # Its webhooks refuse a Cluster until it is up.
        *("--create-namespace", "--wait", "--timeout", "300s"),
    )
    ready = kubectl(
        "-n",
        "database",
        "wait",
        "--for=condition=Ready",
        "clusters.postgresql.cnpg.io/shop",
        "--timeout=900s",
    )
    return [Step("PostgreSQL's operator", (operator,)), Step("PostgreSQL, three instances", (apply, ready))]


def _images(options: Options, versions: Versions) -> Step:
    bases = (
        *("--build-arg", f"BASE={versions.images['docker.io/library/python']}"),
        *("--build-arg", f"WATCHDOG={versions.images['ghcr.io/openfaas/of-watchdog']}"),
    )
    names = {"REGISTRY": options.pushed_to, "TAG": options.tag}
    return Step(
        "Images built and pushed",
        (
            Command(("faas-cli", "build", "-f", "stack.yml", "--parallel", "2", *bases), names),
            Command(("faas-cli", "push", "-f", "stack.yml", "--parallel", "2"), names),
        ),
    )


def _deploy(options: Options) -> Iterator[Command]:
    gateway = f"http://127.0.0.1:{GATEWAY_PORT}"
    forward = Forward("openfaas", "gateway", GATEWAY_PORT, 8080)
    yield Command(
        ("faas-cli", "login", "--gateway", gateway, "--username", "admin", "--password-stdin"),
        stdin=SecretKey("openfaas", "basic-auth", "basic-auth-password"),
        behind=forward,
    )
    yield Command(
        ("faas-cli", "deploy", "-f", "stack.yml", "--gateway", gateway),
        stack_variables(options),
        behind=forward,
    )


def _sources(project: Path) -> list[Path]:
    found = []
    for name in BUILT_FROM:
        top = project / name
        found += [top] if top.is_file() else [path for path in top.rglob("*") if path.is_file()]
    return sorted(path for path in found if "__pycache__" not in path.parts)
