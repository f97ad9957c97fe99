"""One replica as a supervisord program: the process that the watchdog would start in the function's image, or a
watchdog where the image's would start one for each request."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

from localfaas import private_mount, watchdog
from localfaas.build import BuildError, interpreter_for
from localfaas.deployment import MAX_REPLICAS, PORT_ANNOTATION
from localfaas.images import FORK, SEARCHED, workload
from localfaas.registry import Desired, Registry
from localfaas.settings import LOOPBACK, PORTS, REPLICA_PORT_STEP, Settings
from localfaas.supervisor import Program, abouts
from localfaas.whole_files import write_whole

FREE_PORTS_FROM = 8200
FREE_PORTS = range(FREE_PORTS_FROM, FREE_PORTS_FROM + REPLICA_PORT_STEP)
PRIORITY = 500
SECRETS = "/var/openfaas/secrets"
"""Where OpenFaaS puts a function's secrets, and what most functions read."""


def base_port(settings: Settings, desired: Desired) -> int:
    """The annotated port, or a free one that stays the function's own while it is deployed; with the offset."""
    annotated = desired.deployment.annotations.get(PORT_ANNOTATION)
    if annotated:
        return int(annotated) + settings.port_offset
    record = settings.state / "ports.json"
    ports: dict[str, int] = json.loads(record.read_text()) if record.exists() else {}
    if desired.name not in ports:
        deployed = {one.name: one.deployment.annotations for one in Registry(settings.deployments).all()}
        needed = {*deployed, *(about.get("function") for about in abouts(settings).values())}
        ports = {name: port for name, port in ports.items() if name in needed}
        annotations = [found[PORT_ANNOTATION] for found in deployed.values() if found.get(PORT_ANNOTATION)]
        ports[desired.name] = _free_base({*ports.values(), *map(int, annotations)})
        write_whole(record, json.dumps(ports))
    return ports[desired.name] + settings.port_offset


def _free_base(bases: set[int]) -> int:
    """A base port whose replicas meet neither a part of the platform nor those of functions on `bases`."""
    taken = set(PORTS.values()).union(*map(_of_replicas, bases))
    candidates = (base + 100 * hundred for hundred in range(20) for base in FREE_PORTS)
    return next(base for base in candidates if not taken & _of_replicas(base))


def _of_replicas(base: int) -> set[int]:
    """The ports of a function's replicas, of the extra one of a replacement too."""
    return {base + REPLICA_PORT_STEP * number for number in range(MAX_REPLICAS + 1)}


def replica_program(settings: Settings, desired: Desired, slot: int, port: int) -> Program:
    """The supervisord program of one replica: the process that the watchdog would start in the image.

    Raises BuildError when there is no image, or nothing in it to start.
    """
    if not desired.layout.is_dir():
        raise BuildError(f"{desired.layout} is gone: build and deploy again")
    deployment = desired.deployment
    name = f"{desired.name}-{slot}"
    interpreter = interpreter_for(desired.layout, settings)
    work, secrets = workload(desired.layout, deployment), _link_secrets(settings, desired)
    command = work.at(port)
    if work.mode == FORK:
        command = watchdog.command_line(command)
    if deployment.secrets:
        command = private_mount.command_line(str(secrets), SECRETS, command)
    return Program(
        name=name,
        command=command,
        directory=desired.layout,
        environment={
            **deployment.env_vars,
            "PATH": f"{interpreter.parent}:{SEARCHED}",
            "fprocess": deployment.env_process or shlex.join(work.command),
            "PORT": str(port),
            "port": str(port),
            "HOST": LOOPBACK,
            "HOSTNAME": name,
            "LOCALFAAS": "1",
            "gateway_url": settings.url("gateway"),
            "secret_mount_path": str(secrets),
        },
        about={
            "function": desired.name,
            "generation": desired.generation,
            "port": port,
            "image": deployment.image,
        },
        priority=PRIORITY,
    )


def _link_secrets(settings: Settings, desired: Desired) -> Path:
    """A directory with links to this deployment's secrets; those of deployments of which no replica is left go."""
    of_function = settings.state / "secrets-of" / desired.name
    directory = of_function / desired.generation
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    needed = {desired.generation, *(about.get("generation") for about in abouts(settings).values())}
    for folder in of_function.iterdir():
        if folder.name not in needed:
            shutil.rmtree(folder, ignore_errors=True)
    for secret in desired.deployment.secrets:
        link = directory / secret
        if not link.is_symlink():
            link.symlink_to(settings.secrets / secret)
    return directory
