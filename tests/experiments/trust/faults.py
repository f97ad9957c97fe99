"""Hard faults: of the lines between the parts, of PostgreSQL's means, of every process, and of all at once."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from localfaas.database import DATABASE
from localfaas.settings import Settings
from localfaas.status import rows
from localfaas.strays import platform_processes
from localfaas.supervisor import Supervisor, SupervisorError
from localfaas.up import admin_url
from tests.experiments.common.platforms import localfaas
from tests.experiments.failover.faults import (
    CANCEL,
    CHECKOUT,
    GET_CART,
    GET_PRODUCT,
    MOVEMENT,
    PAGE,
    POST_CART,
    REPORT,
    SIGN_IN,
    TILL_SALE,
    Fault,
    Program,
)
from tests.experiments.failover.seen import BACK_SECONDS
from tests.experiments.failover.stage import all_is_well
from tests.support.bad_network import BadNetwork

MANY = (GET_CART, POST_CART, GET_PRODUCT, TILL_SALE, CHECKOUT, PAGE, MOVEMENT)
NEEDS: Mapping[str, Sequence[str]] = {
    SIGN_IN: ("customers",),
    REPORT: ("reports",),
    CANCEL: ("cart", "products", "inventory", "orders", "checkout", "payments", "calls"),
}
"""Of flows that are few and take long, so that of a p99 with others they would be all: whom each needs beside the edge, the
gateway and PostgreSQL."""
FLOWS = (*MANY, *NEEDS)
SLOW_SECONDS = 0.05
BRIEF_SECONDS, SILENT_SECONDS = 3.0, 5.0
POSTGRES, GATEWAY, PAYMENTS = "PostgreSQL", "the gateway", "the payment provider"
CALLS = "the gateway for functions"
DISK_FULL, ALL_KILLED = "disk-full", "all-killed"
UP_SECONDS = 40.0
WARM_SECONDS = 2.0
"""In which the client opens its connections; the calm comes after it."""
SETTLED_SECONDS = 1.0
"""What was due so long before the fault is calm; what came later may have met it."""


@dataclass(frozen=True)
class Hard(Fault):
    """A fault, and whom it should not concern."""

    line: str = ""
    """The server whose line it is, where it is one's."""
    others: Sequence[str] = ()
    """Flows that have no need of what falls sick: none of them fails, nor of those that it spares, and their p99 stays."""
    help_seconds: float = 0.0
    """How long making it well again may take, where that is more than a moment."""
    ends: str = "it is over"
    """When it counts as over, in words."""

    @property
    def flows(self) -> Sequence[str]:
        return FLOWS

    @property
    def goal(self) -> str:
        """What it is held to, in words."""
        return f"{self.title}: {BACK_SECONDS:g} s after {self.ends} nothing fails any more"


@dataclass(frozen=True)
class Line:
    """The way to a server."""

    network: BadNetwork
    before: int = 0
    """What it had touched earlier."""

    def is_touched(self) -> bool:
        return self.network.touched > self.before

    def returned(self) -> bool | None:
        return None

    def in_rotation(self) -> bool | None:
        return None


@dataclass(frozen=True)
class Disk:
    """The file system that PostgreSQL has to itself."""

    path: Path

    @property
    def _filler(self) -> Path:
        return self.path / "filler"

    def fill(self) -> None:
        """To the last block, though others take some meanwhile."""
        disk = os.statvfs(self.path)
        filled, blocks = 0, disk.f_bavail
        with self._filler.open("wb") as file:
            while blocks:
                try:
                    os.posix_fallocate(file.fileno(), filled * disk.f_frsize, blocks * disk.f_frsize)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    blocks //= 2
                else:
                    filled += blocks

    def is_full(self) -> bool:
        return os.statvfs(self.path).f_bavail == 0

    def empty(self) -> None:
        self._filler.unlink(missing_ok=True)

    def returned(self) -> bool | None:
        return None

    def in_rotation(self) -> bool | None:
        return None


@dataclass(frozen=True)
class Everything:
    """All processes of a platform."""

    settings: Settings

    def kill(self) -> None:
        """With whoever would bring them back first."""
        found: dict[int, psutil.Process] = {}
        for process in platform_processes(self.settings):
            with contextlib.suppress(psutil.NoSuchProcess):
                found |= {one.pid: one for one in (process, *process.children(recursive=True))}
        for process in sorted(found.values(), key=lambda one: one.pid != supervisor_of(self.settings)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def kill_supervisor(self) -> None:
        os.kill(supervisor_of(self.settings), signal.SIGKILL)

    def up(self) -> None:
        localfaas(self.settings, "up")
        Supervisor(self.settings).stop("alertmanager")

    def is_away(self) -> bool:
        return not self.returned()

    def returned(self) -> bool | None:
        with contextlib.suppress(OSError):
            return all_is_well(self.settings)
        return False

    def in_rotation(self) -> bool | None:
        return None


def supervisor_of(settings: Settings) -> int:
    return int((settings.run / "supervisord.pid").read_text())


def family(program: Program) -> list[int]:
    """Its process and their children: PostgreSQL answers by those."""
    parent = psutil.Process(program.row.pid)
    return [parent.pid, *(child.pid for child in parent.children(recursive=True))]


def _all_of(number: int) -> Callable[[Program], None]:
    def act(program: Program) -> None:
        for pid in family(program):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    return act


def let_nobody_in(program: Program) -> None:
    """Every connection of a function is ended, and none is given: what a client is told is SQLSTATE 53300, as when all are taken."""
    _as_superuser(
        program.settings,
        f"ALTER DATABASE {DATABASE} CONNECTION LIMIT 0",
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{DATABASE}' AND usename <> 'postgres'",
    )


def let_all_in(program: Program) -> None:
    _as_superuser(program.settings, f"ALTER DATABASE {DATABASE} CONNECTION LIMIT -1")


def nobody_is_in(program: Program) -> bool:
    """Whether no function has a connection."""
    found = _as_superuser(
        program.settings,
        f"SELECT FROM pg_stat_activity WHERE datname = '{DATABASE}' AND usename <> 'postgres'",
    )
    return not found


def _as_superuser(settings: Settings, *statements: str) -> Sequence[Any]:
    """The rows of the last one."""
    with closing(psycopg2.connect(admin_url(settings))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description is not None else ()


def all_but(*flows: str) -> tuple[str, ...]:
    return tuple(flow for flow in MANY if flow not in flows)


def without_need_of(part: str) -> tuple[str, ...]:
    """The flows of NEEDS that do without it."""
    return tuple(flow for flow, needs in NEEDS.items() if part not in {"edge", "gateway", "postgres", *needs})


def _on_lines() -> Iterator[Hard]:
    """Each line slow, cut, reset and silent."""
    for server, short, others in (
        (POSTGRES, "postgres", (PAGE,)),
        (GATEWAY, "gateway", (GET_CART, POST_CART)),
        (CALLS, "calls", (GET_PRODUCT, PAGE, MOVEMENT)),
        (PAYMENTS, "payments", all_but(CHECKOUT)),
    ):
        for word, title, begin, seconds in (
            ("slow", f"{SLOW_SECONDS * 1000:g} ms slower each way", _slow, BRIEF_SECONDS),
            ("cut", "cut in the middle of answers", _cut, BRIEF_SECONDS),
            ("reset", "reset", _reset, BRIEF_SECONDS),
            ("silent", "silent", _silent, SILENT_SECONDS),
        ):
            yield Hard(
                f"{short}-{word}", f"the line to {server} {title} for {seconds:g} s", short, begin, _mend,
                hold_seconds=seconds, spares=without_need_of(short), replaced=False, line=server, others=others,
                shows=Line.is_touched,
            )  # fmt: skip


def _slow(line: Line) -> None:
    line.network.delay(SLOW_SECONDS)


def _cut(line: Line) -> None:
    line.network.cut()


def _reset(line: Line) -> None:
    line.network.reset()


def _silent(line: Line) -> None:
    line.network.blackhole()


def _mend(line: Line) -> None:
    line.network.mend()


def _on_processes() -> Iterator[Hard]:
    """Each frozen for a while, ended in order, and killed; those that nobody waits for are killed alone."""
    for program, title, others in (
        ("cart-", "one of three carts", all_but(GET_CART, POST_CART, CHECKOUT)),
        # Carts are shown at prices that products is asked for, within a time.
        ("products-", "the only replica of products", (PAGE,)),
        ("inventory-", "the only replica of inventory", (GET_CART, POST_CART, GET_PRODUCT, PAGE)),
        ("sales-", "the only replica of sales", all_but(TILL_SALE)),
        ("orders-", "the only replica of orders", all_but(CHECKOUT)),
        ("checkout-", "the only replica of checkout", all_but(CHECKOUT)),
        ("payments-", "the payment provider", all_but(CHECKOUT)),
        ("site-", "the only replica of site", all_but(PAGE)),
        ("customers-", "the only replica of customers", MANY),
        ("reports-", "the only replica of reports", MANY),
        ("gateway", "function gateway", ()),
        ("edge", "edge", ()),
        ("postgres", "PostgreSQL", (PAGE,)),
        ("api", "API", MANY),
        ("prometheus", "Prometheus", MANY),
    ):
        name = program.removesuffix("-")
        spares = without_need_of(name)
        yield Hard(
            f"{name}-frozen", f"{title} frozen for {BRIEF_SECONDS:g} s (SIGSTOP)", program,
            _all_of(signal.SIGSTOP), _all_of(signal.SIGCONT), hold_seconds=BRIEF_SECONDS, spares=spares, replaced=False,
            others=others, shows=Program.is_frozen,
        )  # fmt: skip
        # SIGTERM has PostgreSQL wait until the last client has left; what ends it in order is SIGINT.
        ends = signal.SIGINT if program == "postgres" else signal.SIGTERM
        ended = f"{title} ended ({ends.name})"
        yield Hard(f"{name}-ended", ended, program, _given(ends), spares=spares, others=others)
        yield _killed(program, title, others)
    for program, title in (
        ("maintenance-", "the only replica of maintenance"),
        ("dashboards", "dashboards"),
        ("postgres-exporter", "the exporter of PostgreSQL's metrics"),
    ):
        yield _killed(program, title, MANY)


def _killed(program: str, title: str, others: Sequence[str]) -> Hard:
    name = program.removesuffix("-")
    return Hard(
        f"{name}-killed", f"{title} killed (SIGKILL)", program, _given(signal.SIGKILL), spares=without_need_of(name),
        others=others,
    )  # fmt: skip


def _given(number: signal.Signals) -> Callable[[Program], None]:
    return lambda program: program.signal(number)


FAULTS: Sequence[Hard] = (
    *_on_lines(),
    Hard(
        "connections-gone", f"PostgreSQL without a free connection for {BRIEF_SECONDS:g} s", "postgres", let_nobody_in, let_all_in,
        hold_seconds=BRIEF_SECONDS, replaced=False, others=(PAGE,), shows=nobody_is_in,
    ),
    Hard(
        DISK_FULL, f"PostgreSQL's disk full for {SILENT_SECONDS:g} s", "postgres", Disk.fill, Disk.empty,
        hold_seconds=SILENT_SECONDS, replaced=False, others=(PAGE,), shows=Disk.is_full,
    ),
    Hard(
        "postgres-stopped-10", "PostgreSQL stopped for 10 s", "postgres", Program.stop, Program.start,
        hold_seconds=10.0, others=(PAGE,),
    ),
    *_on_processes(),
    # Everything runs on without it, until `up` begins anew.
    Hard(
        "supervisord-killed", f"supervisord alone killed (SIGKILL), and `up` {BRIEF_SECONDS:g} s later", "supervisord",
        Everything.kill_supervisor, Everything.up, hold_seconds=BRIEF_SECONDS, help_seconds=UP_SECONDS,
        ends="`up` has returned", shows=Everything.is_away,
    ),
    # After a second, so that nothing of it is left running.
    Hard(
        ALL_KILLED, "every process killed at once, and `up` a second later", "all", Everything.kill, Everything.up,
        hold_seconds=1.0, help_seconds=UP_SECONDS, ends="`up` has returned", shows=Everything.is_away,
    ),
)  # fmt: skip
BY_NAME: dict[str, Hard] = {fault.name: fault for fault in FAULTS}


def replicas(settings: Settings) -> list[Any]:
    """The rows of all replicas."""
    try:
        return [row for row in rows(settings) if row.traffic]
    except SupervisorError:
        return []
