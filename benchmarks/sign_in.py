"""Reads beside a flood of sign-ins: `python -m benchmarks.sign_in`, `make bench-sign-in`.

`GET /me` of customers at one replica, calm and while five times as many sign-ins arrive as it can hash; calm is measured
twice. The blocks are interleaved in random order, so that whatever else the machine does meets all of them.
Each sign-in of the flood comes from another address for another unknown account, so that nothing is throttled
and every one that is admitted is hashed (an unknown account costs the same as a known one).
PostgreSQL and the replica are its own, the replica laid out and set as in stack.yml.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shlex
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from subprocess import DEVNULL, Popen

import psycopg2
from psycopg2 import sql
from rich.console import Console
from rich.table import Table

from benchmarks.http_client import BadAnswerError, KeepAlive, render_request
from benchmarks.quantiles import Block, Ratio, pooled, quantile, ratio_of_quantiles
from benchmarks.report import PROJECT, BenchmarkError, is_quiet, load_settings, table_console, write_result
from db.seed.secrets import make_missing
from localfaas.build import build
from localfaas.database import MigrationError, migrate
from localfaas.postgres import Cluster, PostgresError, new_password, programs_directory, wait_until_ready
from localfaas.settings import Settings, SettingsError
from localfaas.stack import load_stack

PORT_ABOVE = 7_300
"""The replica and its PostgreSQL listen this far above the platform's, so that it may run beside one."""
CLIENTS = 12
FLOOD_TIMES = 5
LEAD_SECONDS = 0.7
"""A block begins so long after its flood, and the next one so long after the flood has ended."""
READ_PAUSE_SECONDS = 0.002
CAPACITY_SECONDS = 4.0
GOAL = 1.5
START_SECONDS = 20.0
PASSWORD = "seven purple herons"  # noqa: S105 - of an account that lives as long as this benchmark

CALM, AGAIN, FLOOD = "calm", "calm again", "flood"


@dataclass(frozen=True)
class Order:
    """Send so many sign-ins a second until told to stop; 0: as many as are answered on `clients` connections."""

    rate: float
    clients: int = CLIENTS


def flood(orders: Pipe, port: int) -> None:
    """Carry orders out, each until the next message comes; the statuses of each, counted, go back."""
    while (order := orders.recv()) is not None:
        counts: Counter[int] = Counter()
        stop = threading.Event()
        threads = [
            threading.Thread(target=_send, args=(port, order, index, counts, stop))
            for index in range(order.clients)
        ]
        for thread in threads:
            thread.start()
        orders.recv()
        stop.set()
        for thread in threads:
            thread.join()
        orders.send(counts)


def _send(port: int, order: Order, index: int, counts: Counter[int], stop: threading.Event) -> None:
    interval = order.clients / order.rate if order.rate else 0.0
    due = time.monotonic() + interval * index / order.clients
    with KeepAlive(port) as client:
        while not stop.wait(max(0.0, due - time.monotonic())):
            counts[_attempt(client)] += 1
            due += interval


def _attempt(client: KeepAlive) -> int:
    body = json.dumps({"email": f"{uuid.uuid4().hex}@flood.example", "password": PASSWORD}).encode()
    address = ".".join(str(part) for part in random.choices(range(1, 255), k=4))  # noqa: S311
    try:
        headers = {"X-Real-IP": address}
        return client.send(render_request("localhost", "POST", "/sessions", body, headers)).status
    except (OSError, BadAnswerError):
        return 0


@contextmanager
def flooding(port: int) -> Iterator[Pipe]:
    """A process of its own: what it costs to send must not be waited for by the reader."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=flood, args=(theirs, port), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        ours.send(None)
        process.join(10)


@contextmanager
def own_replica(settings: Settings) -> Iterator[int]:
    """A replica of customers on a PostgreSQL of its own; yields its port."""
    settings.state.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="sign-in-", dir=settings.state))
    cluster = Cluster(
        programs_directory(settings), directory / "data", settings.port("postgres") + PORT_ABOVE
    )
    password = new_password()
    cluster.create(password)
    server = Popen(cluster.command(), stdout=DEVNULL, stderr=DEVNULL)
    try:
        wait_until_ready(cluster.url(password))
        admin = cluster.url(password, "magasin")
        migrate(admin, PROJECT / "db" / "migrations", Path(sys.executable).parent / "dbmate")
        with closing(psycopg2.connect(admin)) as connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("ALTER ROLE customers PASSWORD {}").format(sql.Literal(password)))
            connection.commit()
        with _replica(settings, directory, cluster.url(password, "magasin", "customers")) as port:
            yield port
    finally:
        server.send_signal(2)  # SIGINT: a fast, clean stop
        server.wait(30)
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _replica(settings: Settings, directory: Path, database_url: str) -> Iterator[int]:
    make_missing(directory / "secrets", [])
    (directory / "secrets" / "customers-db").write_text(database_url)
    stack = load_stack(PROJECT / "stack.yml", {})
    layout = build(stack.functions["customers"], stack, PROJECT, directory / "build")
    deployment = stack.functions["customers"].deployment()
    port = 8006 + settings.port_offset + PORT_ABOVE
    environment = {
        **deployment["envVars"],
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOST": "127.0.0.1", "PORT": str(port), "port": str(port), "HOSTNAME": "customers-1", "LOCALFAAS": "1",
        "secret_mount_path": str(directory / "secrets"),
    }  # fmt: skip
    process = Popen(
        shlex.split(deployment["envProcess"]),
        cwd=layout.path,
        env=environment,
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        _wait_until_ready(process, port)
        yield port
    finally:
        process.terminate()
        process.wait(15)


def _wait_until_ready(process: Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    request = render_request("localhost", "GET", "/_/ready")
    with KeepAlive(port) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if client.send(request).status == 200:
                    return
            except (OSError, BadAnswerError):
                pass
            time.sleep(0.05)
    raise BenchmarkError("the replica of customers did not start")


def sign_in(port: int) -> str:
    """The access token of a customer who has just registered."""
    account = {"email": "reader@shop.example", "password": PASSWORD}
    with KeepAlive(port) as client:
        register = json.dumps({**account, "name": "Reader"}).encode()
        client.send(render_request("localhost", "POST", "/", register))
        reply = client.send(render_request("localhost", "POST", "/sessions", json.dumps(account).encode()))
    if reply.status != 201:
        raise BenchmarkError(f"signing in answered {reply.status} {reply.body[:200]!r}")
    return str(json.loads(reply.body)["access_token"])


def read_block(client: KeepAlive, request: bytes, count: int) -> list[float]:
    """Seconds of `count` reads, one at a time. Raises BenchmarkError at the first that fails."""
    seconds = []
    for _ in range(count):
        reply = client.send(request)
        if reply.status != 200:
            raise BenchmarkError(f"GET /me answered {reply.status} {reply.body[:200]!r}")
        seconds.append(reply.seconds)
        time.sleep(READ_PAUSE_SECONDS)
    return seconds


@dataclass
class Taken:
    """Seconds of reads by arm and block, and what became of the flood."""

    capacity: float
    blocks: dict[str, list[Block]]
    answered: Counter[int]
    flood_seconds: float = 0.0


def measure(port: int, rounds: int, reads: int, console: Console) -> Taken:
    token = sign_in(port)
    request = render_request("localhost", "GET", "/me", headers={"Authorization": f"Bearer {token}"})
    chance = random.Random(0)  # noqa: S311  an order, nothing secret
    with flooding(port) as pipe, KeepAlive(port) as client:
        read_block(client, request, reads)
        taken = Taken(_capacity(pipe), {CALM: [], FLOOD: [], AGAIN: []}, Counter())
        console.print(f"{taken.capacity:.1f} sign-ins a second are hashed when nothing else is asked for.")
        for _ in range(rounds):
            for arm in chance.sample(list(taken.blocks), len(taken.blocks)):
                began = time.monotonic()
                if arm == FLOOD:
                    pipe.send(Order(FLOOD_TIMES * taken.capacity))
                time.sleep(LEAD_SECONDS)
                taken.blocks[arm].append(read_block(client, request, reads))
                if arm == FLOOD:
                    taken.answered.update(_stop(pipe))
                    taken.flood_seconds += time.monotonic() - began
    return taken


def _capacity(pipe: Pipe) -> float:
    """Sign-ins a second that one replica hashes, from as many connections as it lets wait."""
    pipe.send(Order(0.0, clients=3))
    time.sleep(CAPACITY_SECONDS)
    counts = _stop(pipe)
    if set(counts) - {401, 503}:
        raise BenchmarkError(f"signing in answered {dict(counts)}")
    return counts[401] / CAPACITY_SECONDS


def _stop(pipe: Pipe) -> Counter[int]:
    pipe.send("stop")
    counts: Counter[int] = pipe.recv()
    return counts


def show(console: Console, taken: Taken, ratios: Sequence[tuple[str, Ratio, float | None]]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("GET /me")
    for title in ("p50 ms", "p99 ms", "samples"):
        table.add_column(title, justify="right")
    for arm, blocks in taken.blocks.items():
        samples = pooled(blocks)
        p50, p99 = (f"{quantile(samples, share) * 1000:.2f}" for share in (0.50, 0.99))
        table.add_row(arm, p50, p99, f"{len(samples):,}")
    for name, ratio, goal in ratios:
        interval = f"{ratio.value:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"
        table.add_row(name, interval, f"≤ {goal}" if goal else "", ratio.holds(goal) if goal else "")
    console.print(table)
    sent = sum(taken.answered.values())
    rates = ", ".join(
        f"{count / taken.flood_seconds:.1f}/s {status}" for status, count in sorted(taken.answered.items())
    )
    console.print(f"The flood: {sent / taken.flood_seconds:.0f} sign-ins a second, answered {rates}.")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sign_in", description="Reads beside a flood of sign-ins."
    )
    parser.add_argument("--rounds", type=int, default=20, help="blocks of each arm (20)")
    parser.add_argument("--reads", type=int, default=250, help="reads in a block (250)")
    options = parser.parse_args(arguments)
    console = table_console()
    try:
        settings, quiet = load_settings(), is_quiet()
        with own_replica(settings) as port:
            taken = measure(port, options.rounds, options.reads, console)
    except (BenchmarkError, SettingsError, PostgresError, MigrationError, OSError) as exc:
        print(f"bench-sign-in: {exc}", file=sys.stderr)
        return 1
    ratios = [
        (f"{arm} / {CALM}, p{share:.0%}".rstrip("%"), _ratio(taken, arm, share), goal)
        for arm, share, goal in ((FLOOD, 0.99, GOAL), (FLOOD, 0.5, None), (AGAIN, 0.99, None))
    ]
    show(console, taken, ratios)
    if not quiet:
        console.print("The machine was busy before the run; the p99 figures say much about its other work.")
    result = {
        "capacity_per_second": taken.capacity,
        "answered": {str(status): count for status, count in taken.answered.items()},
        "milliseconds": {
            arm: {
                f"p{share:.0%}".rstrip("%"): quantile(pooled(blocks), share) * 1000 for share in (0.5, 0.99)
            }
            for arm, blocks in taken.blocks.items()
        },
        "ratios": {name: asdict(ratio) for name, ratio, _ in ratios},
    }
    console.print(f"[dim]{write_result(settings, 'sign-in', result)}[/dim]")
    return 0


def _ratio(taken: Taken, arm: str, share: float) -> Ratio:
    return ratio_of_quantiles(taken.blocks[arm], taken.blocks[CALM], share)


if __name__ == "__main__":
    sys.exit(main())
