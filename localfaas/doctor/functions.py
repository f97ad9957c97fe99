"""The functions: each has all its replicas, of what is deployed, and what is deployed is what stack.yml says."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from localfaas.build import BuildError, present_digest
from localfaas.deployment import DeploymentRefused, validate
from localfaas.doctor.finding import Finding, shortened, verdict, wrong
from localfaas.doctor.installation import Installation
from localfaas.edge_reload import differences
from localfaas.registry import Desired, Registry, RegistryError
from localfaas.replicas import is_ready, lacking
from localfaas.stack import Stack, StackError, StackFunction


def replicas(installation: Installation) -> list[Finding]:
    """Every replica that is wanted runs what is deployed, takes traffic, and says that it is ready."""
    _ = installation.processes
    try:
        desired = installation.registry.all()
    except RegistryError as exc:
        return [wrong(str(exc), "remove that file, then `localfaas up`, which deploys the function again")]
    faults = [fault for one in desired for fault in _replica_faults(installation, one)]
    count = sum(one.replicas for one in desired)
    return verdict(faults, f"{len(desired)} functions, {count} replicas, ready and as deployed")


def _replica_faults(installation: Installation, desired: Desired) -> Iterator[Finding]:
    again = f"`localfaas deploy {desired.name}`"
    if not desired.layout.is_dir():
        yield wrong(f"{desired.name} is deployed from {desired.layout}, which is gone", again)
        return
    missing = lacking(installation.settings, desired)
    for name, reason in missing.items():
        yield wrong(
            f"{name} {reason}",
            f"a deployment takes seconds: ask again; if it stays, `localfaas logs {name}`, then {again}",
        )
    names = [f"{desired.name}-{slot}" for slot in range(1, desired.replicas + 1)]
    serving = [name for name in names if name not in missing and name in installation.abouts]
    with ThreadPoolExecutor(max_workers=5) as pool:
        ready = pool.map(is_ready, [installation.abouts[name]["port"] for name in serving])
        for name, is_it in zip(serving, ready, strict=True):
            if not is_it:
                yield wrong(
                    f"{name} does not say that it is ready; its log ends: {installation.log_end(name)}",
                    f"`localfaas logs {name}` says why; it asks for what it needs until it has it",
                )


def deployed(installation: Installation) -> list[Finding]:
    """stack.yml, the code it names, and what is deployed are the same; only what runs can differ from it."""
    _, stack = installation.processes, installation.stack
    try:
        registry = installation.registry
    except RegistryError as exc:
        return [wrong(str(exc), "remove that file, then `localfaas up`, which deploys the function again")]
    faults = (
        fault
        for function in stack.functions.values()
        for fault in _deployment_faults(installation, stack, function, registry)
    )
    return verdict(faults, f"{len(stack.functions)} functions as in stack.yml")


def _deployment_faults(
    installation: Installation, stack: Stack, function: StackFunction, registry: Registry
) -> Iterator[Finding]:
    name, known = function.name, registry.get(function.name)
    deploy = f"`localfaas deploy {name}`"
    if known is None:
        yield wrong(f"{name} is in stack.yml and is not deployed", deploy)
        return
    try:
        wanted = validate(function.deployment()).to_json()
        digest = present_digest(function, stack, installation.settings.project) if function.is_built else ""
    except (DeploymentRefused, BuildError, StackError) as exc:
        yield wrong(str(exc), f"mend stack.yml or functions/{name}, then {deploy}")
        return
    changed = list(differences(known.deployment.to_json(), wanted))
    if changed:
        yield wrong(f"{name} is deployed otherwise than in stack.yml: {shortened(changed)}", deploy)
    if digest and digest != known.layout.name:
        yield wrong(f"the code of {name} has changed since it was deployed", deploy)
