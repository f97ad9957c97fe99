"""The command line: `python -m localfaas <verb>`, which `make` wraps."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from localfaas import __version__, monitoring, request_log
from localfaas.backup import backup
from localfaas.build import BuildError
from localfaas.client import ClientError
from localfaas.commands import as_typed
from localfaas.dashboards import serve as serve_dashboards
from localfaas.database import MigrationError
from localfaas.deploy import DeployError, deploy_stack, wait_until_served
from localfaas.doctor import run as look_over
from localfaas.down import down, reset
from localfaas.edge import CertificateError, KongConfError
from localfaas.edge_reload import EdgeReloadError, reload_edge
from localfaas.images import prepare
from localfaas.locks import locked
from localfaas.manifest import BackupError
from localfaas.ports import PortTakenError
from localfaas.postgres import PostgresError
from localfaas.progress import Steps
from localfaas.project import ProjectError, load_hooks
from localfaas.registry import RegistryError
from localfaas.restore import RestoreError, restore
from localfaas.scaffold import KONG_FILE, ScaffoldError, new_function
from localfaas.serve import serve
from localfaas.settings import Settings, SettingsError
from localfaas.stack import Stack, StackError, StackFunction, load_stack, stack_file
from localfaas.status import rows, show, traces_sent
from localfaas.supervisor import SupervisorError
from localfaas.up import UpError, gateway_client, up

EXPECTED = (
    BackupError,
    BuildError,
    CertificateError,
    ClientError,
    DeployError,
    EdgeReloadError,
    KongConfError,
    MigrationError,
    PortTakenError,
    PostgresError,
    ProjectError,
    RegistryError,
    RestoreError,
    ScaffoldError,
    SettingsError,
    StackError,
    SupervisorError,
    UpError,
)
"""Errors whose message is all a user needs; anything else is a defect and shows its traceback."""


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; return the exit code: 0 done, 1 failed (the reason is on stderr), 2 wrong usage."""
    options = parser().parse_args(arguments)
    try:
        settings = Settings.load(os.environ, options.project)
        code: int = options.run(settings, options)
    except EXPECTED as exc:
        Console(stderr=True, highlight=False, markup=False).print(
            f"localfaas {options.verb}: {as_typed(str(exc), options.project.resolve())}", soft_wrap=True
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def parser() -> argparse.ArgumentParser:
    """Every verb with its flags; each verb's `run` is one function below."""
    top = argparse.ArgumentParser(
        prog="localfaas",
        description="Run OpenFaaS functions, a function gateway and an embedded edge on this machine, without containers.",
        epilog="Settings from the environment: STATE_DIR (.local), PORT_OFFSET (0), BIND (127.0.0.1), PG_BIN, DATABASE_URL, RATE_LIMITS (on), TRACES (off), TRACES_URL, TRACES_RATIO (1).",
    )
    top.add_argument("--version", action="version", version=f"localfaas {__version__}")
    top.add_argument(
        "--project", type=Path, default=Path.cwd(), help="directory with stack.yml (default: here)"
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="verb")

    def verb(name: str, run: object, text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        added.set_defaults(run=run)
        return added

    verb("up", run_up, "start the platform and deploy stack.yml; harmless when it is up")
    verb("down", run_down, "stop everything gracefully; data stays")
    status = verb("status", run_status, "show every process and replica")
    status.add_argument("--json", action="store_true", help="print JSON")
    doctor = verb("doctor", run_doctor, "say what is wrong with this installation, and what to do next")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    for name, run, text in (
        ("build", run_build, "lay out functions as `faas-cli build --shrinkwrap` does"),
        (
            "deploy",
            run_deploy,
            "build functions, replace their replicas one by one, and give the edge the present kong.yml",
        ),
    ):
        verb(name, run, text).add_argument("function", nargs="*", help="which (default: all of stack.yml)")
    remove = verb("remove", run_remove, "remove functions")
    remove.add_argument("function", nargs="+")
    scale = verb("scale", run_scale, "set a function's number of replicas")
    scale.add_argument("function")
    scale.add_argument("replicas", type=int)
    logs = verb(
        "logs",
        run_logs,
        "show the log of a function's replicas or of a part such as postgres or edge, or one request in all logs",
    )
    shown = logs.add_mutually_exclusive_group(required=True)
    shown.add_argument("name", nargs="?", help="whose log")
    shown.add_argument("--request", metavar="ID", help="a request's id (X-Request-Id) or its trace's")
    logs.add_argument("--follow", "-f", action="store_true", help="go on as lines are written")
    logs.add_argument(
        "--tail", type=int, default=50, metavar="N", help="begin with the last N lines (default 50)"
    )
    invoke = verb("invoke", run_invoke, "call a function through the gateway; standard input is the body")
    invoke.add_argument("function")
    verb("edge-reload", run_edge_reload, "give the edge the present kong/kong.yml and show what changed")
    new = verb("new", run_new, "make a function from a template, with its entries in stack.yml and kong.yml")
    new.add_argument("name")
    new.add_argument("--lang", default="python3-flask-granian", help="template (default: %(default)s)")
    page = verb("dashboards", run_dashboards, "draw the project's dashboards (run by supervisord)")
    page.add_argument("--port", type=int, help="where to listen (default: 8011 with the offset)")
    copy = verb("backup", run_backup, "copy the whole database into a new folder, while the shop trades")
    copy.add_argument(
        "folder", nargs="?", type=Path, help="where to (default: backups/<time> in the state directory)"
    )
    back = verb("restore", run_restore, "put a backup in the place of the database, which is deleted")
    back.add_argument("folder", type=Path, help="a folder that backup made")
    back.add_argument("--yes", action="store_true", required=True, help="confirm that data is to be replaced")
    wipe = verb("reset", run_reset, "stop everything and delete all state")
    wipe.add_argument("--yes", action="store_true", required=True, help="confirm that data is to be deleted")
    verb("serve", run_serve, "run the API process (supervisord does this)")
    return top


def run_up(settings: Settings, options: argparse.Namespace) -> int:
    console = Console(highlight=False)
    with _alone(settings):
        up(settings, dict(os.environ), Steps(console))
    console.print(_addresses(settings))
    hooks = load_hooks(settings.project)
    if hooks.try_next:
        console.print("\nTry next:")
        for line in hooks.try_next:
            shown = line.replace("http://localhost:8000", settings.url("edge"))
            console.print(f"  {shown}", markup=False, soft_wrap=True)
    return 0


def run_down(settings: Settings, options: argparse.Namespace) -> int:
    with _alone(settings), Steps(Console()).step("Draining, then stopping"):
        strays = down(settings)
    if strays:
        print(f"{strays} processes ran without supervisord and were ended.")
    return 0


def run_status(settings: Settings, options: argparse.Namespace) -> int:
    return show(settings, Console(highlight=False), as_json=options.json)


def run_doctor(settings: Settings, options: argparse.Namespace) -> int:
    return look_over(settings, os.environ, Console(highlight=False), as_json=options.json)


def run_build(settings: Settings, options: argparse.Namespace) -> int:
    stack = _stack(settings)
    for function in _chosen(stack, options.function):
        layout = prepare(function, stack, settings.project, settings.builds)
        if layout is None:
            print(f"{function.name} is not built here: it is the image {function.image}")
        else:
            print(f"{layout.image} is {layout.path}")
    return 0


def run_deploy(settings: Settings, options: argparse.Namespace) -> int:
    stack = _stack(settings)
    chosen, client = _chosen(stack, options.function), gateway_client(settings)
    deploy_stack(chosen, stack, settings, client, print)
    with Steps(Console()).step("Every replica is of this deployment"):
        wait_until_served(settings, client, [function.name for function in chosen])
    if (settings.project / KONG_FILE).exists():
        run_edge_reload(settings, options)
    return 0


def run_remove(settings: Settings, options: argparse.Namespace) -> int:
    client = gateway_client(settings)
    for name in options.function:
        client.remove(name)
        print(f"Removed {name}.")
    return 0


def run_scale(settings: Settings, options: argparse.Namespace) -> int:
    client = gateway_client(settings)
    client.scale(options.function, options.replicas)
    count = client.describe(options.function)["replicas"]  # from 1 to 5, whatever was asked for
    _say(settings, f"{options.function} goes to {count} replicas; see `localfaas status`.")
    return 0


def run_logs(settings: Settings, options: argparse.Namespace) -> int:
    if options.request is not None:
        console = Console(highlight=False)
        wanted = options.request.strip()
        return 0 if request_log.show(settings.logs, wanted, console, settings.project) else 1
    files = [settings.logs / f"{options.name}.log", *sorted(settings.logs.glob(f"{options.name}-[0-9].log"))]
    files = [file for file in files if file.exists()]
    if not files:
        known = sorted({file.stem for file in settings.logs.glob("*.log")})
        print(f"No log of {options.name}; there are: {', '.join(known) or 'none yet'}.", file=sys.stderr)
        return 1
    follow = ["-F"] if options.follow else []
    return subprocess.run(["tail", "-n", str(options.tail), *follow, *files], check=False).returncode


def run_invoke(settings: Settings, options: argparse.Namespace) -> int:
    client = gateway_client(settings)
    body = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    sys.stdout.buffer.write(client.invoke(options.function, body))
    return 0


def run_edge_reload(settings: Settings, options: argparse.Namespace) -> int:
    changed = reload_edge(settings, settings.project / KONG_FILE)
    print(f"The edge serves the present kong.yml; {'changed:' if changed else 'nothing changed.'}")
    for line in changed:
        print(f"  {line}")
    return 0


def run_new(settings: Settings, options: argparse.Namespace) -> int:
    for line in new_function(settings.project, options.name, options.lang):
        _say(settings, line)
    return 0


def run_backup(settings: Settings, options: argparse.Namespace) -> int:
    folder, manifest = backup(settings, options.folder, Steps(Console()))
    print(f"The database of {manifest.made_at} is in {folder}.")
    _say(settings, f"To bring it back: `localfaas down`, `localfaas restore --yes {folder}`, `localfaas up`.")
    return 0


def run_restore(settings: Settings, options: argparse.Namespace) -> int:
    with _alone(settings):
        manifest = restore(settings, options.folder.resolve(), Steps(Console()))
    _say(settings, f"The database is that of {manifest.made_at} again; `localfaas up` serves it.")
    return 0


def run_reset(settings: Settings, options: argparse.Namespace) -> int:
    title = f"Stopping, then deleting the state in {settings.state}"
    with _alone(settings), Steps(Console()).step(title):
        reset(settings)
    return 0


def run_serve(settings: Settings, options: argparse.Namespace) -> int:
    serve(settings)
    return 0


def run_dashboards(settings: Settings, options: argparse.Namespace) -> int:
    serve_dashboards(settings, options.port or settings.port("dashboards"))
    return 0


def _alone(settings: Settings) -> AbstractContextManager[None]:
    """What starts or stops a platform does so alone; `reset` leaves the lock, which others may be waiting for."""
    waiting = "Waiting for another command that starts or stops this platform."
    return locked(settings.state / "up.lock", lambda: print(waiting, flush=True))


def _say(settings: Settings, line: str) -> None:
    print(as_typed(line, settings.project))


def _stack(settings: Settings) -> Stack:
    """stack.yml as the running platform reads it: `up` alone decides whether and where spans are sent."""
    settings = replace(settings, traces=traces_sent(settings))
    stack = load_stack(stack_file(settings.project), settings.stack_variables(os.environ))
    for warning in stack.warnings:
        print(warning, file=sys.stderr)
    return stack


def _chosen(stack: Stack, names: list[str]) -> list[StackFunction]:
    unknown = [name for name in names if name not in stack.functions]
    if unknown:
        raise StackError(f"stack.yml has no {', '.join(unknown)}; it has {', '.join(stack.functions)}")
    return [stack.functions[name] for name in names or stack.functions]


def _addresses(settings: Settings) -> Table:
    """What runs where."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("what")
    table.add_column("where")
    programs = {row.program for row in rows(settings)}
    table.add_row("embedded edge", settings.url("edge"))
    table.add_row("the same over TLS", settings.url("edge-tls").replace("http:", "https:"))
    table.add_row("its admin API", settings.url("edge-admin"))
    table.add_row("function gateway (localfaas)", settings.url("gateway"))
    table.add_row("its metrics", settings.url("gateway-metrics") + "/metrics")
    for part in monitoring.PARTS:
        if part.name in programs:
            table.add_row(part.title, settings.url(part.name) + part.path)
    for function in gateway_client(settings).list():
        replicas = f"{function.get('availableReplicas', 0)} of {function.get('replicas', 0)} replicas"
        table.add_row(
            f"{function['name']}, {replicas}", f"{settings.url('gateway')}/function/{function['name']}"
        )
    return table
