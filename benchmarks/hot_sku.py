"""Reservations of one SKU that everybody wants: `python -m benchmarks.hot_sku`, `make bench-hot-sku`.

Three ways to promise one unit, each a whole transaction that also writes the reservation with its line:

- conditional update: inventory's own statement (functions/inventory/store_reservations.py)
- select for update: lock the row, look, decide, write
- serializable: look, decide, write; PostgreSQL refuses those that would not have been in turn, and they begin again

All statements are prepared. What the function does beside them is the same for all of them and left out: HTTP, the token, the idempotency key.
The PostgreSQL is one of its own, with the platform's settings; none of the commits waits for the disk, as in inventory.
A few processes take turns at the row; more than these only wait longer. The ways are measured in short
blocks, interleaved in random order, so that whatever else the machine does meets all of them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import psycopg2
import psycopg2.extensions
from rich.console import Console
from rich.table import Table

from benchmarks.quantiles import Block, Ratio, pooled, quantile, ratio_of_quantiles
from benchmarks.report import PROJECT, BenchmarkError, is_quiet, load_settings, write_result
from functions.inventory import store_reservations as reservations
from functions.inventory.domain import Line
from functions.shared import Connection, Prepared
from localfaas.database import MigrationError, migrate
from localfaas.postgres import Cluster, PostgresError, new_password, programs_directory, wait_until_ready
from localfaas.settings import Settings, SettingsError

UNITS = 1_000_000
TTL_SECONDS = 600
LOCATION = "W1"
START_DELAY_SECONDS = 0.05
"""Between the order and the start of a block, so that every process has heard it."""

CONDITIONAL, FOR_UPDATE, SERIALIZABLE = "conditional update", "select for update", "serializable"


@dataclass(frozen=True)
class Goal:
    """How many times as many reservations as `other` the conditional update is to make."""

    other: str
    times: float


GOALS = (Goal(FOR_UPDATE, 1.5), Goal(SERIALIZABLE, 2.0))


class SoldOutError(RuntimeError):
    """There were not enough units, which there always are in this benchmark."""


def reserve_conditionally(connection: Connection, line: Line) -> None:
    _, lacks = reservations.promise_stock(
        connection, [line], reservation_id=uuid.uuid4(), location=line.location, reference=None,
        ttl_seconds=TTL_SECONDS,
    )  # fmt: skip
    if lacks:
        raise SoldOutError


def reserve_for_update(connection: Connection, line: Line) -> None:
    _look_and_reserve(connection, line, _LOCK_AND_LOOK)


def reserve_serializably(connection: Connection, line: Line) -> None:
    _look_and_reserve(connection, line, _LOOK)


def _look_and_reserve(connection: Connection, line: Line, look: Prepared) -> None:
    row = look.fetch_one(connection, line.location, line.sku)
    if row is None or row["available"] < line.quantity:
        raise SoldOutError
    _RESERVE.fetch_one(connection, line.location, line.sku, line.quantity)
    _WRITE_RESERVATION.fetch_one(
        connection, str(uuid.uuid4()), line.location, TTL_SECONDS, line.sku, line.quantity
    )


_LOOK = Prepared(
    "look", "SELECT on_hand - reserved AS available FROM stock WHERE location = $1::text AND sku = $2::text"
)
_LOCK_AND_LOOK = Prepared("lock_and_look", f"{_LOOK.statement} FOR UPDATE")
_RESERVE = Prepared(
    "reserve",
    """
UPDATE stock
SET reserved = reserved + $3::integer, changed_at = now()
WHERE location = $1::text AND sku = $2::text
RETURNING sku
""",
)
_WRITE_RESERVATION = Prepared(
    "write_reservation",
    """
WITH added AS (
    INSERT INTO reservations (reservation_id, location, expires_at)
    VALUES ($1::uuid, $2::text, clock_timestamp() + make_interval(secs => $3::integer))
)
INSERT INTO reservation_lines (reservation_id, sku, quantity)
VALUES ($1::uuid, $4::text, $5::integer)
RETURNING reservation_id
""",
)


@dataclass(frozen=True)
class Way:
    """One way to reserve: what it does in its transaction, and at which isolation level."""

    reserve: Callable[[Connection, Line], None]
    isolation: int = psycopg2.extensions.ISOLATION_LEVEL_READ_COMMITTED


WAYS = {
    CONDITIONAL: Way(reserve_conditionally),
    FOR_UPDATE: Way(reserve_for_update),
    SERIALIZABLE: Way(reserve_serializably, psycopg2.extensions.ISOLATION_LEVEL_SERIALIZABLE),
}


@dataclass(frozen=True)
class Order:
    """Reserve in this way from `start` to `end`, moments of the clock that all processes share."""

    way: str
    start: float
    end: float


@dataclass
class Count:
    """What one process did in a block; deadlocks are PostgreSQL's, repeats include them."""

    made: int = 0
    repeated: int = 0
    deadlocks: int = 0


def work(orders: Pipe, url: str) -> None:
    """Carry orders out on one connection until there is none; the count of each goes back."""
    connection = psycopg2.connect(
        url, connection_factory=Connection, application_name="bench", options="-c synchronous_commit=off"
    )
    with closing(connection):
        while (order := orders.recv()) is not None:
            orders.send(_carry_out(connection, order))


def _carry_out(connection: Connection, order: Order) -> Count:
    way, count = WAYS[order.way], Count()
    connection.set_session(isolation_level=way.isolation)
    line = Line(LOCATION, order.way, 1)
    time.sleep(max(0.0, order.start - time.monotonic()))
    while time.monotonic() < order.end:
        try:
            _transact(connection, way, line)
        except psycopg2.extensions.TransactionRollbackError as exc:
            connection.rollback()
            count.repeated += 1
            count.deadlocks += isinstance(exc, psycopg2.errors.DeadlockDetected)
        else:
            count.made += 1
    return count


def _transact(connection: Connection, way: Way, line: Line) -> None:
    way.reserve(connection, line)
    connection.commit()


@contextmanager
def own_postgres(settings: Settings) -> Iterator[str]:
    """A PostgreSQL as the platform runs it, with the shop's tables and plenty of each SKU; yields inventory's address."""
    directory = Path(tempfile.mkdtemp(prefix="hot-sku-", dir=_scratch(settings)))
    cluster = Cluster(programs_directory(settings), directory / "data", settings.port("postgres") + 1)
    password = new_password()
    cluster.create(password)
    server = Popen(cluster.command(), stdout=DEVNULL, stderr=DEVNULL)
    try:
        wait_until_ready(cluster.url(password))
        admin = cluster.url(password, "magasin")
        migrate(admin, PROJECT / "db" / "migrations", Path(sys.executable).parent / "dbmate")
        _prepare(admin, password)
        yield cluster.url(password, "magasin", "inventory")
    finally:
        server.send_signal(2)  # SIGINT: a fast, clean stop
        server.wait(30)
        shutil.rmtree(directory, ignore_errors=True)


def _scratch(settings: Settings) -> Path:
    """On the disk that the platform's own data is on."""
    settings.state.mkdir(parents=True, exist_ok=True)
    return settings.state


def _prepare(admin: str, password: str) -> None:
    with closing(psycopg2.connect(admin)) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER ROLE inventory PASSWORD %s", (password,))
        cursor.execute(
            "INSERT INTO inventory.stock (location, sku, on_hand) SELECT %s, unnest(%s), %s",
            (LOCATION, list(WAYS), UNITS),
        )
        connection.commit()


@contextmanager
def workers(count: int, url: str) -> Iterator[list[Pipe]]:
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for _ in range(count):
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, url), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)
    try:
        yield pipes
    finally:
        for pipe, process in zip(pipes, processes, strict=True):
            if process.is_alive():
                pipe.send(None)
            process.join(10)


@dataclass
class Taken:
    """Reservations a second, by way and block, and what PostgreSQL sent back."""

    rates: dict[str, list[Block]]
    made: dict[str, int]
    repeated: dict[str, int]
    deadlocks: int = 0


def measure(pipes: Sequence[Pipe], rounds: int, seconds: float, progress: Callable[[int], None]) -> Taken:
    """`rounds` blocks of each way, in another order each time, after one whose rates are not counted."""
    taken = Taken({way: [] for way in WAYS}, dict.fromkeys(WAYS, 0), dict.fromkeys(WAYS, 0))
    chance = random.Random(0)  # noqa: S311  an order, nothing secret
    for done in range(rounds + 1):
        for way in chance.sample(list(WAYS), len(WAYS)):
            counts = _block(pipes, way, seconds)
            made = sum(count.made for count in counts)
            taken.made[way] += made
            taken.repeated[way] += sum(count.repeated for count in counts)
            taken.deadlocks += sum(count.deadlocks for count in counts)
            if done:
                taken.rates[way].append([made / seconds])
        progress(done)
    return taken


def _block(pipes: Sequence[Pipe], way: str, seconds: float) -> list[Count]:
    start = time.monotonic() + START_DELAY_SECONDS
    for pipe in pipes:
        pipe.send(Order(way, start, start + seconds))
    try:
        return [pipe.recv() for pipe in pipes]
    except EOFError as exc:
        raise BenchmarkError("a process of the benchmark has died; its traceback is above") from exc


def check_books(url: str, made: dict[str, int]) -> None:
    """Raises BenchmarkError unless every way has promised what it said it did: a fast way that loses some is none."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT sku, reserved FROM stock")
        reserved = dict(cursor.fetchall())
        cursor.execute("SELECT sku, sum(quantity) FROM reservation_lines GROUP BY sku")
        promised = {sku: int(quantity) for sku, quantity in cursor.fetchall()}
    if not made == reserved == promised:
        raise BenchmarkError(f"the books are wrong: made {made}, reserved {reserved}, promised {promised}")


def judge(taken: Taken) -> list[tuple[Goal, Ratio]]:
    """Median rate of the conditional update over that of each other way."""
    return [
        (goal, ratio_of_quantiles(taken.rates[CONDITIONAL], taken.rates[goal.other], 0.5)) for goal in GOALS
    ]


def verdict(goal: Goal, ratio: Ratio) -> str:
    """Whether the ratio is at least the goal, as far as the measurement can tell."""
    if ratio.value >= goal.times:
        return "met" if ratio.low >= goal.times else "met, within the noise"
    return "missed" if ratio.high < goal.times else "missed, within the noise"


def show(console: Console, taken: Taken, judged: Sequence[tuple[Goal, Ratio]]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("way")
    for title in ("reservations/s, median", "quarter to quarter", "repeated per reservation"):
        table.add_column(title, justify="right")
    for way, blocks in taken.rates.items():
        rates = pooled(blocks)
        low, middle, high = (quantile(rates, share) for share in (0.25, 0.50, 0.75))
        repeated = taken.repeated[way] / max(1, taken.made[way])
        table.add_row(way, f"{middle:,.0f}", f"{low:,.0f}–{high:,.0f}", f"{repeated:.2f}")
    for goal, ratio in judged:
        interval = f"{ratio.value:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"
        table.add_row(f"{CONDITIONAL} / {goal.other}", interval, f"≥ {goal.times}", verdict(goal, ratio))
    console.print(table)
    console.print(f"Deadlocks: {taken.deadlocks}. Every reservation that was counted is in the tables.")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hot_sku", description="Reservations a second of one SKU, three ways."
    )
    parser.add_argument("--rounds", type=int, default=25, help="blocks of each way (25)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a block (0.5)")
    parser.add_argument("--buyers", type=int, default=6, help="processes that reserve at once (6)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    console = Console(highlight=False)
    try:
        settings = load_settings()
        quiet = is_quiet()
        with own_postgres(settings) as url, workers(options.buyers, url) as pipes:
            with console.status("measuring") as status:
                taken = measure(
                    pipes,
                    options.rounds,
                    options.seconds,
                    lambda done: status.update(f"measuring: round {done} of {options.rounds}"),
                )
            check_books(url, taken.made)
    except (BenchmarkError, SettingsError, PostgresError, MigrationError) as exc:
        print(f"bench-hot-sku: {exc}", file=sys.stderr)
        return 1
    judged = judge(taken)
    show(console, taken, judged)
    if not quiet:
        console.print("The machine was busy before the run: the rates say less than their ratios.")
    path = write_result(settings, "hot-sku", as_result(taken, judged, options))
    console.print(f"Written to {path}", soft_wrap=True)
    return 0


def as_result(
    taken: Taken, judged: Sequence[tuple[Goal, Ratio]], options: argparse.Namespace
) -> dict[str, Any]:
    return {
        "buyers": options.buyers,
        "block_seconds": options.seconds,
        "rates": {way: pooled(blocks) for way, blocks in taken.rates.items()},
        "repeated": taken.repeated,
        "deadlocks": taken.deadlocks,
        "ratios": [
            {**asdict(ratio), "over": goal.other, "goal": goal.times, "verdict": verdict(goal, ratio)}
            for goal, ratio in judged
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
