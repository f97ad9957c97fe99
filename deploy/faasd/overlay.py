"""What faasd and Kong read on a single server, computed from stack.yml, kong/ and deploy/kubernetes.

faasd runs one replica of each function and gives functions no name on its network: only what its docker-compose.yaml
calls a service has one, in the hosts file that services and functions share. So the carts between which Kong
balances are services, made of the function's own image; other functions reach `cart` through the gateway, as ever.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.kubernetes.versions import Versions
from localfaas.stack import StackFunction

PROJECT = Path(__file__).resolve().parents[2]
KUBERNETES = PROJECT / "deploy" / "kubernetes"
GATEWAY, DATABASE = "gateway", "postgres"
BALANCED = "cart"
REPLICAS = tuple(f"{BALANCED}-{number}" for number in (1, 2, 3))
IN_CLUSTER = {
    "gateway.openfaas:8080": (f"{GATEWAY}:8080",),
    "cart-replicas.openfaas-fn:8080": tuple(f"{name}:8080" for name in REPLICAS),
}
"""Addresses of a cluster, and what stands for each here."""
GATEWAY_URL = f"http://{GATEWAY}:8080"
DATABASE_HOST = f"{DATABASE}:5432"
FUNCTION_SECRETS = "/var/openfaas/secrets"
NOT_HERE = {"KONG_PREFIX"}
"""Settings of Kong that only a read-only root asks for."""

Content = dict[str, Any]


@dataclass(frozen=True)
class Sources:
    """What the overlay is made from, as read."""

    kong: Content
    stack: Content
    functions: Mapping[str, StackFunction]
    versions: Versions
    compose: Content
    """The server's own docker-compose.yaml."""


class OverlayError(ValueError):
    """A source is not as this overlay needs it; the message says which."""


def kong(sources: Sources) -> Content:
    """kong.yml with the names of this network, and a target for each cart."""
    made = copy.deepcopy(sources.kong)
    made.pop("_ignore", None)  # parts that the services above have by now
    for service in made["services"]:
        if "url" in service:
            scheme, _, rest = service["url"].partition("://")
            host, _, path = rest.partition("/")
            (here,) = _here(host)
            service["url"] = f"{scheme}://{here}/{path}"
    for upstream in made["upstreams"]:
        upstream["targets"] = [
            {**target, "target": here} for target in upstream["targets"] for here in _here(target["target"])
        ]
    return made


def stack(sources: Sources) -> Content:
    """stack.yml with the gateway's name on this network."""
    made = copy.deepcopy(sources.stack)
    for function in made["functions"].values():
        function["environment"] = {**function["environment"], "gateway_url": GATEWAY_URL}
    return made


def compose(sources: Sources) -> Content:
    """The server's docker-compose.yaml with the shop's services, and a gateway with its part of the time budget."""
    made = copy.deepcopy(sources.compose)
    services = made.get("services") or {}
    if GATEWAY not in services:
        raise OverlayError(f"the server's docker-compose.yaml has no service {GATEWAY}")
    if clash := sorted(set(services) & set(_services(sources)) - {GATEWAY}):
        raise OverlayError(
            f"the server's docker-compose.yaml has services of these names: {', '.join(clash)}"
        )
    gateway = services[GATEWAY]
    gateway["environment"] = {**_settings(gateway.get("environment") or {}), **_budget()}
    gateway["ports"] = ["127.0.0.1:8080:8080"]  # everybody but operators comes through the edge
    made["services"] = {**services, **_services(sources)}
    return made


def dump(content: Content, origin: str) -> str:
    """YAML that says where it comes from. The same content, the same text."""
    head = f"# Made by `python -m deploy.faasd` from {origin}; change that, and make this again.\n"
    return head + yaml.dump(content, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)


class _Plain(yaml.SafeDumper):
    """Writes what several places share where each of them is."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _here(host: str) -> tuple[str, ...]:
    if host not in IN_CLUSTER:
        raise OverlayError(f"kong.yml names {host}, for which there is no address on a server with faasd")
    return IN_CLUSTER[host]


def _services(sources: Sources) -> Content:
    return {
        DATABASE: _postgres(sources),
        **{name: _cart(name, sources) for name in REPLICAS},
        "kong": _kong(sources),
        "cron-connector": _cron_connector(sources),
    }


def _postgres(sources: Sources) -> Content:
    container = _container("database/statefulset/postgres.yaml")
    environment = _settings(container["env"])
    password = "database-admin-password"  # noqa: S105 - the name of its file
    environment["POSTGRES_PASSWORD_FILE"] = f"/run/secrets/{password}"
    return {
        "image": sources.versions.images["postgres"],
        "user": "999",
        # faasd puts a command in the place of the image's entrypoint.
        "command": ["docker-entrypoint.sh", "postgres", *container["args"]],
        "environment": environment,
        "volumes": [
            _bind("postgres", "/var/lib/postgresql", writable=True),
            _bind(f"secrets/{password}", environment["POSTGRES_PASSWORD_FILE"]),
        ],
        "ports": ["127.0.0.1:5432:5432"],
    }


def _cart(name: str, sources: Sources) -> Content:
    function = sources.functions[BALANCED]
    return {
        "image": function.image,
        # What docker and Kubernetes set by themselves: replicas are told apart by it.
        "environment": {**function.environment, "gateway_url": GATEWAY_URL, "HOSTNAME": name},
        "volumes": [
            _bind(f"secrets/{secret}", f"{FUNCTION_SECRETS}/{secret}") for secret in function.secrets
        ],
        "depends_on": [DATABASE, GATEWAY],
    }


def _kong(sources: Sources) -> Content:
    environment = _settings(_container("edge/base/kong.yaml")["env"])
    mounts = {environment[name]: name for name in ("KONG_SSL_CERT", "KONG_SSL_CERT_KEY")}
    return {
        "image": sources.versions.images["kong"],
        "environment": {name: value for name, value in environment.items() if name not in NOT_HERE},
        "volumes": [
            _bind("kong.yml", environment["KONG_DECLARATIVE_CONFIG"]),
            _bind("kong.conf", "/etc/kong/kong.conf"),
            *(_bind(f"secrets/{Path(target).name}", target) for target in mounts),
        ],
        "ports": ["8000:8000", "8443:8443"],
        # Kong reads the hosts file when it starts, so those it names come first.
        "depends_on": [GATEWAY, *REPLICAS],
    }


def _cron_connector(sources: Sources) -> Content:
    environment = _settings(_container("openfaas/cron-connector.yaml")["env"])
    folder = environment["secret_mount_path"]
    return {
        "image": sources.versions.images["ghcr.io/openfaas/cron-connector"],
        "environment": {**environment, "gateway_url": GATEWAY_URL},
        "volumes": [
            _bind(f"secrets/{name}", f"{folder}/{name}")
            for name in ("basic-auth-user", "basic-auth-password")
        ],
        "depends_on": [GATEWAY],
    }


def _bind(source: str, target: str, *, writable: bool = False) -> Content:
    return {"type": "bind", "source": f"./{source}", "target": target, "read_only": not writable}


def _container(file: str) -> Content:
    """The only container of the only workload of a cluster's manifest."""
    objects = yaml.safe_load_all((KUBERNETES / file).read_text())
    (template,) = [one["spec"]["template"] for one in objects if one["kind"] in {"Deployment", "StatefulSet"}]
    (container,) = template["spec"]["containers"]
    found: Content = container
    return found


def _settings(environment: Iterable[Any] | Mapping[str, Any]) -> dict[str, str]:
    """An environment as names and values; compose files and manifests write it in three ways."""
    if isinstance(environment, Mapping):
        return {name: "" if value is None else str(value) for name, value in environment.items()}
    pairs = [
        (entry["name"], entry["value"]) if isinstance(entry, Mapping) else entry.partition("=")[::2]
        for entry in environment
    ]
    return dict(pairs)


def _budget() -> dict[str, str]:
    gateway = yaml.safe_load((KUBERNETES / "openfaas" / "values.yaml").read_text())["gateway"]
    return {
        "read_timeout": gateway["readTimeout"],
        "write_timeout": gateway["writeTimeout"],
        "upstream_timeout": gateway["upstreamTimeout"],
    }
