"""`python -m deploy.kubernetes <verb>`: the shop on a cluster, up, down and its state."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.kubernetes import connections, plan, status, tools, versions
from deploy.kubernetes.cluster import run_tests, work_through
from deploy.kubernetes.commands import CommandError, Shell
from deploy.kubernetes.plan import EXISTING, KIND, Options, OptionsError
from deploy.kubernetes.secrets import SecretsError
from deploy.kubernetes.tools import ToolsMissingError
from localfaas.progress import Steps
from localfaas.stack import StackError, load_stack

PROJECT = Path(__file__).resolve().parents[2]
EXPECTED = (CommandError, OptionsError, SecretsError, StackError, ToolsMissingError)
"""Errors whose message is all a user needs; anything else is a defect and shows its traceback."""
DATABASES = ("statefulset", "cloudnativepg")
EDGES = ("kind", "loadbalancer")


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; return the exit code: 0 done, 1 failed (the reason is on stderr), 2 wrong usage."""
    given = parser(os.environ).parse_args(arguments)
    try:
        code: int = given.run(given)
    except EXPECTED as exc:
        Console(stderr=True, highlight=False, markup=False).print(
            f"cluster-{given.verb}: {exc}", soft_wrap=True
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    """Every verb with its flags; each has its default from the environment, so that `make` can pass it on."""
    top = argparse.ArgumentParser(
        prog="python -m deploy.kubernetes",
        description="Run the shop on Kubernetes with OpenFaaS CE and Kong, from the files that one machine runs it from.",
        epilog="Flags in capitals can also be set in the environment, as in: CLUSTER=existing REGISTRY=ghcr.io/you/magasin make cluster-up",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="verb")
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--cluster",
        choices=(KIND, EXISTING),
        default=environ.get("CLUSTER") or KIND,
        help="CLUSTER: one in Docker that is made and deleted, or the one that kubectl's configuration names (%(default)s)",
    )
    where.add_argument(
        "--context",
        default=environ.get("KUBE_CONTEXT") or "",
        help="KUBE_CONTEXT: the context of kubectl's configuration (the present one; on kind, kind's)",
    )
    doing = argparse.ArgumentParser(add_help=False)
    doing.add_argument("--dry-run", action="store_true", help="print the commands and run none of them")

    up = verbs.add_parser("up", parents=[where, doing], help="start everything (again, if need be)")
    up.set_defaults(run=run_up)
    up.add_argument(
        "--database",
        choices=DATABASES,
        default=environ.get("DATABASE") or DATABASES[0],
        help="DATABASE: one PostgreSQL, or three with an operator that replaces the first (%(default)s)",
    )
    up.add_argument(
        "--edge", choices=EDGES, help="how Kong gets an address (kind's ports; else a load balancer)"
    )
    up.add_argument(
        "--registry",
        default=environ.get("REGISTRY") or "",
        help="REGISTRY: where images are pushed and pulled, without a password to pull (on kind its own)",
    )
    up.add_argument(
        "--tag", default=environ.get("TAG") or "", help="TAG of the images (follows what they are built from)"
    )
    up.add_argument(
        "--edge-url",
        default=environ.get("EDGE_URL") or "",
        help="EDGE_URL: the shop's address for visitors (http://localhost:8000 on kind)",
    )
    up.add_argument("--no-build", dest="build", action="store_false", help="the images are in the registry")
    up.add_argument("--no-demo", dest="demo", action="store_false", help="load no demonstration data")

    down = verbs.add_parser(
        "down", parents=[where, doing], help="delete the kind cluster, or ours of another"
    )
    down.set_defaults(run=run_down)
    down.add_argument("--data", action="store_true", help="of another cluster, the database as well")
    test = verbs.add_parser(
        "test", parents=[where, doing], help="run the end-to-end suite against the edge; it trades there"
    )
    test.set_defaults(run=run_test)
    test.add_argument(
        "--edge-url",
        default=environ.get("EDGE_URL") or "",
        help="EDGE_URL: the shop's address (http://localhost:8000 on kind)",
    )
    test.add_argument("more", nargs="*", help="options of pytest, after --")
    verbs.add_parser("status", parents=[where], help="show every workload and how to reach it").set_defaults(
        run=run_status
    )
    verbs.add_parser(
        "connections", help="how many connections to PostgreSQL are needed, and why"
    ).set_defaults(run=run_connections)
    return top


def run_up(given: argparse.Namespace) -> int:
    options = Options(
        cluster=given.cluster,
        context=given.context,
        database=given.database,
        edge=given.edge or "",
        registry=given.registry,
        tag=given.tag or plan.content_tag(PROJECT),
        edge_url=given.edge_url,
        build=given.build,
        demo=given.demo,
    )
    options.check()
    wanted = versions.load()
    console = Console(highlight=False)
    if not given.dry_run:
        tools.check(options.tools(), wanted.tools)
        if not options.kube_context:
            current = Shell(PROJECT, "", console).output("kubectl", "config", "current-context").strip()
            console.print(f"kubectl's present context: {current}", markup=False)
            options = replace(options, context=current)
    shell = Shell(PROJECT, options.kube_context, console, dry_run=given.dry_run)
    functions = list(load_stack(PROJECT / "stack.yml", {}).functions)
    work_through(plan.up(options, wanted, functions), shell, options, wanted, Steps(console))
    if not given.dry_run:
        console.print(status.addresses())
    return 0


def run_down(given: argparse.Namespace) -> int:
    options = Options(cluster=given.cluster, context=given.context)
    if not options.on_kind and not options.context:
        raise OptionsError("name the cluster from which the shop is to be deleted: KUBE_CONTEXT=…")
    wanted = versions.load()
    needed = ["kind"] if options.on_kind else ["kubectl", "helm"]
    if not given.dry_run:
        tools.check(needed, wanted.tools)
    console = Console(highlight=False)
    shell = Shell(PROJECT, options.kube_context, console, dry_run=given.dry_run)
    work_through(
        plan.down(options, data=given.data), shell, replace(options, demo=False), wanted, Steps(console)
    )
    return 0


def run_test(given: argparse.Namespace) -> int:
    """pytest's exit code."""
    options = Options(cluster=given.cluster, context=given.context, edge_url=given.edge_url)
    if not options.on_kind and not options.edge_url:
        raise OptionsError("give the address of the edge: EDGE_URL=https://shop.example")
    if not given.dry_run:
        tools.check(["kubectl"], versions.load().tools)
    shell = Shell(PROJECT, options.kube_context, Console(highlight=False), dry_run=given.dry_run)
    return run_tests(shell, options, given.more)


def run_status(given: argparse.Namespace) -> int:
    """0 when everything that is wanted is ready."""
    options = Options(cluster=given.cluster, context=given.context)
    tools.check(["kubectl"], versions.load().tools)
    console = Console(highlight=False)
    found = status.rows(Shell(PROJECT, options.kube_context, console))
    console.print(status.table(found))
    console.print(status.addresses())
    return 0 if found and all(row.is_well for row in found) else 1


def run_connections(given: argparse.Namespace) -> int:
    stack = load_stack(PROJECT / "stack.yml", {})
    made = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("who", "replicas, rolling", "pool", "connections"):
        made.add_column(title)
    for share in connections.shares(stack):
        made.add_row(
            share.function, f"{share.replicas} + {connections.SURGE}", str(share.pool), str(share.connections)
        )
    for who, number in connections.OTHERS.items():
        made.add_row(who, "", "", str(number))
    made.add_row("all", "", "", str(connections.needed(stack)))
    Console(highlight=False).print(made)
    return 0
