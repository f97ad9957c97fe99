"""The programs that a cluster is made with: which are missing or too old, and where to get them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.kubernetes.versions import parts

ANSWER_SECONDS = 20


@dataclass(frozen=True)
class Tool:
    """A program, how it tells its version, and how to get it (`{version}` is the one that is wanted)."""

    name: str
    version: tuple[str, ...]
    get: str


TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            "docker",
            ("version", "--format", "{{.Server.Version}}"),
            "install it (https://docs.docker.com/engine/install/) and see that it runs: docker info",
        ),
        Tool(
            "kind",
            ("version", "--quiet"),
            "go install sigs.k8s.io/kind@v{version}, or https://kind.sigs.k8s.io/docs/user/quick-start/",
        ),
        Tool(
            "kubectl",
            ("version", "--client", "--output=yaml"),
            "https://kubernetes.io/docs/tasks/tools/#kubectl",
        ),
        Tool("helm", ("version", "--short"), "https://helm.sh/docs/intro/install/"),
        Tool("faas-cli", ("version", "--short-version"), "https://docs.openfaas.com/cli/install/"),
    )
}


class ToolsMissingError(RuntimeError):
    """Tools are missing or too old; the message has one line for each, with where to get it."""


def search_path() -> str:
    """The programs beside this interpreter, then PATH: a kubectl is among the project's own packages."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def find(name: str) -> str | None:
    return shutil.which(name, path=search_path())


def check(
    names: Iterable[str],
    wanted: Mapping[str, str],
    find: Callable[[str], str | None] = find,
    ask: Callable[[list[str]], str | None] | None = None,
) -> None:
    """Raise ToolsMissingError, naming every tool of `names` that is missing, does not answer or is older than `wanted`."""
    ask = ask or _ask
    faults = []
    for name in names:
        tool, version = TOOLS[name], wanted[name]
        get = tool.get.format(version=version)
        path = find(name)
        if path is None:
            faults.append(f"{name} is missing: {get}")
            continue
        told = ask([path, *tool.version])
        if told is None:
            faults.append(f"{name} does not answer: {get}")
        elif parts(_version_line(told)) < parts(version):
            faults.append(f"{name} is older than {version} ({_version_line(told)}): {get}")
    if faults:
        raise ToolsMissingError("\n".join(faults))


def _version_line(told: str) -> str:
    """The line that says the version: kubectl has several, the others one."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return next((line for line in lines if line.startswith("gitVersion")), lines[0] if lines else "")


def _ask(command: list[str]) -> str | None:
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS, env=os.environ
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else None
