"""Working through a plan: each step with its progress, and the three that need more than a command."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from deploy.kubernetes import plan, secrets, versions
from deploy.kubernetes.commands import Command, CommandError, Shell
from deploy.kubernetes.plan import Options, Step
from deploy.kubernetes.versions import Versions
from localfaas.progress import Steps
from localfaas.stack import load_stack


def work_through(
    steps: Iterable[Step], shell: Shell, options: Options, wanted: Versions, progress: Steps
) -> None:
    """Do each step, or print its commands in a dry run. Raises CommandError at the first that fails; run it again then."""
    special = {"secrets": apply_secrets, "version": check_version, "demo": load_demo}
    for step in steps:
        if shell.dry_run:
            shell.console.print(step.title, markup=False)
        with progress.step(step.title) if not shell.dry_run else _Nothing():
            for command in step.commands:
                shell.run(command)
            if step.special:
                special[step.special](shell, options, wanted)


def check_version(shell: Shell, options: Options, wanted: Versions) -> None:
    """Refuse a cluster in which function pods could never appear."""
    told = shell.output(*shell.kubectl("version", "--output=json"))
    if not told:
        return
    server = json.loads(told)["serverVersion"]["gitVersion"]
    if versions.parts(server)[:2] < versions.parts(wanted.kubernetes)[:2]:
        raise CommandError(
            f"this cluster is Kubernetes {server}; {wanted.kubernetes} or newer is needed, for the policy that lets "
            "the pods of OpenFaaS CE run under Pod Security 'restricted'"
        )


def apply_secrets(shell: Shell, options: Options, wanted: Versions) -> None:
    """Make what is missing, and send all of it; no value is shown or written down."""
    stack = {name: function.secrets for name, function in load_stack(_stack(shell), {}).functions.items()}
    made = secrets.complete(_present(shell), stack, options.sslmode)
    listed = {"apiVersion": "v1", "kind": "List", "items": [secret.manifest() for secret in made]}
    names = ", ".join(f"{secret.namespace}/{secret.name}" for secret in made)
    shell.feed(
        shell.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-"), json.dumps(listed), names
    )


def load_demo(shell: Shell, options: Options, wanted: Versions) -> None:
    """Through the edge, as on one machine; the key that lets it in is on disk for that long."""
    module, edge = ("-m", "db.seed.demo"), options.edge_url or "http://localhost:8000"
    if shell.dry_run:
        shell.run(Command(("python", *module), {"EDGE_URL": edge}))
        return
    with secrets.as_files(_present(shell)) as directory:
        shell.run(Command((sys.executable, *module), {"EDGE_URL": edge, "SECRETS_DIR": str(directory)}))


def run_tests(shell: Shell, options: Options, more: Sequence[str]) -> int:
    """The end-to-end suite against the cluster; pytest's exit code. The keys are on disk for that long."""
    if shell.dry_run:
        return shell.follow(plan.test(options, Path("SECRETS"), more))
    with secrets.as_files(_present(shell)) as directory:
        return shell.follow(plan.test(options, directory, more))


def _present(shell: Shell) -> secrets.Present:
    """Every namespace on its own, so that nothing else of the cluster is read."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for namespace in secrets.NAMESPACES:
        told = shell.output(*shell.kubectl("-n", namespace, "get", "secrets", "-o", "json"))
        if told:
            found |= {key: dict(data) for key, data in secrets.read(json.loads(told)).items()}
    return found


def _stack(shell: Shell) -> Path:
    return shell.project / "stack.yml"


class _Nothing:
    """In place of a step's progress where nothing is done."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None
