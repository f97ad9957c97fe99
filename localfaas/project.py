"""What a project asks of `localfaas up` beyond stack.yml: `localfaas.yml`, all of it optional.

| key | meaning |
|---|---|
| `secrets` | a command that writes missing secret files into `$SECRETS_DIR`, before anything is deployed |
| `after_deploy` | a command run when every function is ready, for example to load demonstration data |
| `check` | a path that must answer 200 through the edge before `up` is done |
| `doctor` | a file with what must be so in the project's data, asked by `localfaas doctor` (doctor/books.py) |
| `try` | lines shown at the end: what to try next |

Commands run in the project's directory with `STATE_DIR`, `SECRETS_DIR`, `PORT_OFFSET`, `EDGE_URL`, `GATEWAY_URL`.
A leading `python` is the interpreter that runs localfaas.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from localfaas.settings import Settings


class ProjectError(ValueError):
    """localfaas.yml cannot be used, or one of its commands failed."""


@dataclass(frozen=True)
class Hooks:
    secrets: str = ""
    after_deploy: str = ""
    check: str = ""
    doctor: str = ""
    try_next: tuple[str, ...] = ()


def load_hooks(project: Path) -> Hooks:
    """Read localfaas.yml; none is an empty one. Raises ProjectError naming the key at fault."""
    path = project / "localfaas.yml"
    if not path.exists():
        return Hooks()
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as exc:
        raise ProjectError(f"{path}: {exc}") from exc
    if not isinstance(content, dict):
        raise ProjectError(f"{path}: expected a map of settings")
    lines = content.pop("try", [])
    known = {field.name for field in fields(Hooks)} - {"try_next"}
    for key, value in content.items():
        if key not in known or not isinstance(value, str):
            raise ProjectError(f"{path}: {key}: expected one of {', '.join(sorted(known))}, with a text")
    if not isinstance(lines, list):
        raise ProjectError(f"{path}: try: expected a list of lines")
    return Hooks(**content, try_next=tuple(str(line) for line in lines))


def run_hook(settings: Settings, name: str, command: str) -> None:
    """Run one hook's command with its output on ours. Raises ProjectError when it fails, or cannot be run."""
    environment = {
        **os.environ,
        "STATE_DIR": str(settings.state),
        "SECRETS_DIR": str(settings.secrets),
        "PORT_OFFSET": str(settings.port_offset),
        "EDGE_URL": settings.url("edge"),
        "GATEWAY_URL": settings.url("gateway"),
    }
    try:
        words = shlex.split(command)
        if words[:1] == ["python"]:
            words[0] = sys.executable
        result = subprocess.run(words, cwd=settings.project, env=environment, check=False)
    except (OSError, ValueError) as exc:
        raise ProjectError(f"the {name} command of localfaas.yml cannot be run ({exc}): {command}") from exc
    if result.returncode != 0:
        raise ProjectError(
            f"the {name} command of localfaas.yml failed (exit {result.returncode}): {command}"
        )
