"""Deploying a stack: build each function, send each, and list at the end what failed, as `faas-cli up` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from localfaas.build import BuildError
from localfaas.client import ClientError, GatewayClient
from localfaas.images import prepare
from localfaas.settings import Settings
from localfaas.stack import Stack, StackError, StackFunction


class DeployError(RuntimeError):
    """Some functions were not deployed; the message has one line for each, with the reason."""


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
