"""What hard faults happen to: a platform whose PostgreSQL has a small disk, and lines that can be made bad."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.own_platform import own_platform
from benchmarks.report import BenchmarkError
from localfaas.database import write_secret
from localfaas.envoy import EnvoyFiles, admin_request
from localfaas.settings import LOOPBACK, Settings
from localfaas.status import rows
from localfaas.supervisor import Supervisor
from localfaas.up import admin_url
from tests.experiments.common.driving import Kept, Request
from tests.experiments.common.platforms import is_back
from tests.experiments.common.shop import JSON, PASSWORD, WAREHOUSE, Shop
from tests.experiments.failover.faults import (
    CANCEL,
    CHECKOUT,
    MOVEMENT,
    PAGE,
    REPORT,
    SIGN_IN,
    TILL_SALE,
    Program,
    Victim,
    targets,
)
from tests.experiments.failover.stage import CARTS, INSIST_SECONDS, all_is_well, cart, of_the_shop, until
from tests.experiments.soak import reckoning
from tests.experiments.trust.counts import GATEWAY_CLUSTER
from tests.experiments.trust.faults import (
    CALLS,
    DISK_FULL,
    GATEWAY,
    PAYMENTS,
    POSTGRES,
    Disk,
    Everything,
    Hard,
    Line,
    replicas,
)
from tests.support.bad_network import BadNetwork, bad_network

KEPT = (TILL_SALE, CHECKOUT, CANCEL, MOVEMENT)
"""Flows whose acknowledged documents are held to the tables."""
MOVED = "experiment-trust"
"""The reference of every movement that is asked for."""
DISK_BYTES = 600 * 1024 * 1024
"""PostgreSQL needs 50 MB, and up to 300 MB of log ahead of it."""
ACCOUNTS = 20


@dataclass
class Stage:
    shop: Shop
    lines: Mapping[str, BadNetwork]
    """By the server to which they lead."""
    disk: Path | None
    carts: Sequence[str]
    emails: Sequence[str] = ()
    """Of people with an account."""
    kept: list[Kept] = field(default_factory=list)
    """Of all runs: the books are those of all."""
    asked: Counter[str] = field(default_factory=Counter)

    @property
    def settings(self) -> Settings:
        return self.shop.settings

    @contextmanager
    def victim(self, fault: Hard) -> Iterator[tuple[Victim, str]]:
        """Who it is, once all is well, and its name; the way leads past it again afterwards."""
        self._lead_functions(fault.line)
        until(lambda: all_is_well(self.settings), "the platform")
        with self._led(fault.line):
            yield self._victim(fault), fault.program

    def is_led(self, fault: Hard) -> bool:
        """Whether the way still leads through the fault's line, where it has one."""
        node, cluster, _ = self._way(fault.line)
        return not node or _knows(self.settings, node, cluster, self.lines[fault.line].port)

    def _victim(self, fault: Hard) -> Victim:
        if fault.line:
            return Line(self.lines[fault.line], self.lines[fault.line].touched)
        if fault.help_seconds:
            return Everything(self.settings)
        if fault.name == DISK_FULL:
            if not self.disk:
                raise BenchmarkError("no file system was mounted for PostgreSQL")
            return Disk(self.disk)
        found = targets(rows(self.settings), fault.program)
        if not found:
            raise BenchmarkError(f"{fault.program} does not run here")
        return Program(self.settings, found[0])

    def requests(self) -> dict[str, Request]:
        """What each flow asks for."""
        page = Request(f"{self.settings.url('edge')}/", contains="</html>")
        bought = replace(self.shop.action("checkout"), keep="order_id", insist=INSIST_SECONDS)
        return {
            **of_the_shop(self.shop, self.carts),
            CHECKOUT: bought,
            CANCEL: cancel(self.shop, bought),
            PAGE: page,
            MOVEMENT: movement(self.shop),
            SIGN_IN: sign_in(self.shop, self.emails),
            REPORT: self.shop.action("report"),
        }

    def books(self, its: Sequence[Kept], asked: Mapping[str, int]) -> dict[str, Any]:
        """What the tables say of all runs so far, with this one, once all is well: every difference in words."""
        until(lambda: all_is_well(self.settings), "the platform")
        self.kept += its
        self.asked.update(asked)
        by_arm = {arm: [one for one in self.kept if one.arm == arm] for arm in KEPT}
        unknown = {
            arm: self.asked[arm] - sum(one.status not in reckoning.PASSING for one in by_arm[arm])
            for arm in by_arm
        }
        # Of what was not cancelled in the end it is not known whether it was bought before.
        cancels = [one for one in by_arm[CANCEL] if one.value is not None]
        uncertain = self.asked[CANCEL] - len(cancels)
        found = reckoning.differences(
            by_arm[TILL_SALE],
            [*by_arm[CHECKOUT], *cancels],
            {"sales": unknown[TILL_SALE], "orders": unknown[CHECKOUT] + uncertain},
            reckoning.read(self.settings),
        )
        told = self.shop.done("GET", "/inventory/invariants", token=self.shop.head)
        return {
            "acknowledged": sum(one.value is not None for one in its),
            "insisted": sum(one.tries > 1 for one in its if one.value is not None),
            "missing": [
                *(difference for some in found.values() for difference in some),
                *effects_differ("movement", by_arm[MOVEMENT], moved(self.settings), unknown[MOVEMENT]),
                *effects_differ("cancel", cancels, cancelled(self.settings), uncertain),
            ],
            "twice": [],
            "invariants": bool(told["holds"]),
        }

    def _lead_functions(self, line: str) -> None:
        """Have functions reach PostgreSQL and the gateway through `line`, or past both: by what they read when they start."""
        scripts = (self.settings.supervisor / "conf.d").glob("[!.]*.sh")
        changed = False
        for server, part, text, paths in (
            (POSTGRES, "postgres", ":{}/", self.settings.secrets.glob("*-db")),
            (CALLS, "gateway", f" gateway_url=http://{LOOPBACK}:{{}} ", scripts),
        ):
            ways = (self.settings.port(part), self.lines[server].port)
            old, new = map(text.format, ways if line == server else reversed(ways))
            for path in paths:
                if old in (content := path.read_text()):
                    write_secret(path, content.replace(old, new))
                    changed = True
        if changed:
            restart(self.settings)

    @contextmanager
    def _led(self, line: str) -> Iterator[None]:
        """The edge reaches the gateway, or the gateway the payment provider, through the line, by their endpoints."""
        node, cluster, port = self._way(line)
        if not node:
            yield
            return
        path = EnvoyFiles(self.settings.envoy(node)).eds_path(cluster)
        try:
            self._endpoint(node, cluster, path, port, self.lines[line].port)
            yield
        finally:
            self.lines[line].mend()
            self._endpoint(node, cluster, path, self.lines[line].port, port)

    def _way(self, line: str) -> tuple[str, str, int]:
        """The Envoy that uses it, its name for the server, and the server's port; empty for a line that no Envoy uses."""
        if line == GATEWAY:
            return "edge", GATEWAY_CLUSTER, self.settings.port("gateway")
        if line == PAYMENTS:
            return "gateway", "payments", self._port_of("payments-1")
        return "", "", 0

    def _endpoint(self, node: str, cluster: str, path: Path, old: int, new: int) -> None:
        text = path.read_text().replace(f'"port_value": {old}', f'"port_value": {new}')
        temporary = path.with_suffix(".led")
        temporary.write_text(text)
        temporary.replace(path)
        until(lambda: _knows(self.settings, node, cluster, new), f"the {node}'s way to {cluster}")

    def _port_of(self, program: str) -> int:
        return next(row.port for row in rows(self.settings) if row.program == program)


def movement(shop: Shop) -> Request:
    """A unit that comes to where nobody but checkout sells."""
    lines = [{"sku": shop.skus[0], "quantity": 1}]
    body = json.dumps({"location": WAREHOUSE, "lines": lines, "reference": MOVED})
    return Request(
        f"{shop.settings.url('edge')}/api/inventory/receipts", "POST", {**JSON, "Authorization": shop.head}, body,
        statuses=(201,), key=True, keep="movements.0.movement_id", insist=INSIST_SECONDS,
    )  # fmt: skip


def sign_in(shop: Shop, emails: Sequence[str]) -> Request:
    """The password, and at once the token that it brings for the next one."""
    base = f"{shop.settings.url('edge')}/api/customers/sessions"
    password = json.dumps({"email": "$email", "password": PASSWORD})
    return Request(
        f"{base}/refresh", "POST", JSON, json.dumps({"refresh_token": "$refresh_token"}), contains='"access_token"',
        turns=[{"email": email} for email in emails],
        first=Request(base, "POST", JSON, password, statuses=(201,), contains='"refresh_token"'),
    )  # fmt: skip


def cancel(shop: Shop, bought: Request) -> Request:
    """What others than those of `bought` buy as they do, and want no longer."""
    turns = [{**turn, "authorization": shop.bearer("customer", str(uuid.uuid4()))} for turn in bought.turns]
    return Request(
        f"{shop.settings.url('edge')}/api/orders/$order_id/cancel", "POST", bought.headers,
        json.dumps({"reason": "not wanted any more"}), contains='"refunded"', key=True, turns=turns,
        first=replace(bought, turns=(), keep="", insist=0.0), keep="order_id", insist=INSIST_SECONDS,
    )  # fmt: skip


def moved(settings: Settings) -> list[str]:
    """The movements in the ledger that were asked for."""
    return _ids(
        settings, "SELECT movement_id::text FROM inventory.ledger WHERE reference = %(moved)s", moved=MOVED
    )


def cancelled(settings: Settings) -> list[str]:
    """The orders that were cancelled, whose goods are back and whose money as well."""
    return _ids(
        settings,
        "SELECT order_id::text FROM orders.orders WHERE status = 'refunded' AND restocked_at IS NOT NULL",
    )


def _ids(settings: Settings, statement: str, **parameters: str) -> list[str]:
    with closing(psycopg2.connect(admin_url(settings))) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [one for (one,) in cursor.fetchall()]


def effects_differ(kind: str, kept: Sequence[Kept], there: Sequence[str], unanswered: int) -> list[str]:
    """Each difference in words; of `unanswered` requests no final answer is known, and as many may be there beside."""
    acknowledged = Counter(str(one.value) for one in kept if one.value is not None)
    beside = len(set(there) - acknowledged.keys())
    return [
        *(f"the {kind} {one} was acknowledged and is not there" for one in acknowledged.keys() - set(there)),
        *(f"the {kind} {one} was acknowledged to {times} requests" for one, times in acknowledged.items() if times > 1),
        *([f"{beside} {kind}s are there that nobody was told of, of at most {unanswered}"] if beside > unanswered else []),
    ]  # fmt: skip


def _knows(settings: Settings, node: str, cluster: str, port: int) -> bool:
    text = admin_request(settings.envoy_admin_socket(node), "GET", f"/clusters?filter={cluster}")
    return f"{cluster}::{LOOPBACK}:{port}::" in text


def restart(settings: Settings) -> None:
    """Every replica, in order, at once."""
    before = replicas(settings)
    for row in before:
        Supervisor(settings).signal(row.program, "TERM")
    until(lambda: all(is_back(replicas(settings), row) for row in before), "the replicas")


@cache
def may_mount() -> bool:
    """Whether a file system in memory can be mounted, as root may who has the right to (a container's root often has not)."""
    with tempfile.TemporaryDirectory(prefix="magasin-trust-") as place:
        return _mounted(Path(place)) and _done("umount", place)


def _mounted(place: Path) -> bool:
    return _done("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place))


@contextmanager
def built(like: Settings) -> Iterator[Stage]:
    """All of it, up and asked once."""
    with (
        small_disk() as (state, disk),
        own_platform(like, state) as settings,
        ExitStack() as stack,
    ):
        # What is to stay as it is may not be scaled.
        Supervisor(settings).stop("alertmanager")
        shop = Shop(settings)
        shop.open()
        payments = next(row.port for row in rows(settings) if row.program == "payments-1")
        gateway = settings.port("gateway")
        servers = {POSTGRES: settings.port("postgres"), GATEWAY: gateway, CALLS: gateway, PAYMENTS: payments}
        lines = {name: stack.enter_context(bad_network(port)) for name, port in servers.items()}
        emails = [shop.registered() for _ in range(ACCOUNTS)]
        yield Stage(shop, lines, disk, [cart(shop) for _ in range(CARTS)], emails)


@contextmanager
def small_disk() -> Iterator[tuple[Path, Path | None]]:
    """A state directory, and the place of its PostgreSQL as a file system of its own in memory, where one may be mounted."""
    state = Path(tempfile.mkdtemp(prefix="magasin-trust-"))
    disk = state / "postgres"
    disk.mkdir()
    mounted = may_mount() and _mounted(disk)
    try:
        yield state, disk if mounted else None
    finally:
        if mounted:
            _done("umount", "--lazy", str(disk))
        with suppress(OSError):
            shutil.rmtree(state)


def _done(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:  # without such a command
        return False
