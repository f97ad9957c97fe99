"""Deploying a stack: build each function, send each, list at the end what failed, and wait until each is served."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterable
from http import HTTPStatus

from localfaas.build import BuildError
from localfaas.client import ClientError, GatewayClient, Status
from localfaas.images import prepare
from localfaas.registry import Registry
from localfaas.replicas import lacking
from localfaas.settings import Settings
from localfaas.stack import Stack, StackError, StackFunction
from localfaas.supervisor import Supervisor, abouts, restarts

READY_SECONDS = 60.0
MOST_ENDS = 3
"""A replica that has ended so often while it is waited for will not do otherwise the next time."""


class DeployError(RuntimeError):
    """Some functions were not deployed, or are not served; the message says which and why."""


def deploy_stack(
    functions: Iterable[StackFunction],
    stack: Stack,
    settings: Settings,
    client: GatewayClient,
    report: Callable[[str], None],
) -> None:
    """Build and send `functions` of `stack`, telling `report` of each; one that fails does not stop the others.

    Raises DeployError at the end when any failed.
    """
    failures: list[str] = []
    for function in functions:
        try:
            prepare(function, stack, settings.project, settings.builds)
            client.deploy(function.deployment())
        except (BuildError, StackError, ClientError) as exc:
            failures.append(f"{function.name}: {exc}")
        else:
            report(f"Deployed {function.name}: {client.url}/function/{function.name}")
    if failures:
        raise DeployError("\n".join([f"{len(failures)} not deployed", *failures]))


def wait_until_served(settings: Settings, client: GatewayClient, functions: Collection[str]) -> None:
    """Return when each function has all its replicas, as it is deployed now.

    Raises DeployError with the end of a log when a replica ends whenever it is started, or when nothing has come nearer
    for a minute: replacing all replicas of many functions may take longer on a machine that is busy.
    """
    fewest, deadline, starts = sys.maxsize, 0.0, dict[str, int]()
    while left := _steps_left(settings, client, functions):
        for name in _present(settings, left):
            count = restarts(settings, name)
            if count - starts.setdefault(name, count) >= MOST_ENDS:
                raise DeployError(f"{name} ends whenever it is started\n{_log_end(settings, name)}")
        steps = sum(left.values())
        if steps < fewest:
            fewest, deadline = steps, time.monotonic() + READY_SECONDS
        elif time.monotonic() > deadline:
            if not Supervisor(settings).is_running():
                raise DeployError("supervisord is away, so nothing is started; `localfaas up` brings it back")
            ends = [_log_end(settings, f"{name}-[0-9]") for name in sorted(left)]
            raise DeployError(
                "\n".join([f"not ready after {READY_SECONDS:.0f} s: {', '.join(sorted(left))}", *ends])
            )
        time.sleep(0.1)


def _steps_left(settings: Settings, client: GatewayClient, functions: Collection[str]) -> dict[str, int]:
    """How far each function is from being served as it is deployed; those that are there are left out.

    One more than what its replicas lack until both Envoys have been told of as many as are wanted.
    """
    registry, left = Registry(settings.deployments), {}
    statuses, programs = _statuses(client), abouts(settings)
    for name in functions:
        status, desired = statuses.get(name, {}), registry.get(name)
        if desired is None:
            raise DeployError(f"{name} was removed meanwhile")
        told = status.get("availableReplicas", 0) >= status.get("replicas", 1)
        lacks = lacking(settings, desired, programs).values()
        left[name] = sum(lack.steps for lack in lacks) + (0 if told else 1)
    return {name: steps for name, steps in left.items() if steps}


def _statuses(client: GatewayClient) -> dict[str, Status]:
    """By name; of none while the API or the gateway is being started again, which is waited for like anything else."""
    try:
        return {status["name"]: status for status in client.list()}
    except ClientError as exc:
        if exc.status not in (0, HTTPStatus.BAD_GATEWAY):
            raise
        return {}


def _present(settings: Settings, functions: Collection[str]) -> list[str]:
    """The programs of these functions' present deployments."""
    registry = Registry(settings.deployments)
    present = {(name, one.generation) for name in functions if (one := registry.get(name))}
    return [
        program
        for program, about in abouts(settings).items()
        if (about.get("function"), about.get("generation")) in present
    ]


def _log_end(settings: Settings, programs: str) -> str:
    """The last lines of the newest log of programs whose names are like this."""
    logs = settings.logs.glob(f"{programs}.log")
    path = max(logs, key=lambda log: log.stat().st_mtime, default=None)
    if path is None:
        return "there is no log"
    return "\n".join([f"the end of {path}:", *path.read_text(errors="replace").splitlines()[-8:]])
