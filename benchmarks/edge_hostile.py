"""What clients that mean harm cost a good one: `python -m benchmarks.edge_hostile`, `make edge-hostile`.

An edge of its own with the project's kong.yml, and three small replicas of cart. One good client asks all the time,
at a fixed pace on one connection; then, one after the other, each kind of attack runs beside it.
Shown are how the attack ended, the good client's p99 beside that of the calm before it, and the memory that Envoy
has a use for before, during and after, and holds at the end. Everything goes to 127.0.0.1, and every attack is bounded.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.good_client import GoodClient
from benchmarks.own_edge import OwnEdge, own_edge
from benchmarks.quantiles import quantile
from benchmarks.replicas import three_replicas
from benchmarks.report import (
    PROJECT,
    BenchmarkError,
    load_settings,
    table_console,
    whole_number,
    write_result,
)
from localfaas.edge.limits import LIMITS
from localfaas.open_files import allow_open_files, most_open_files
from localfaas.settings import SettingsError

MEGABYTE = 1024 * 1024
CALM_SECONDS = 4.0
ATTACK_SECONDS = 6.0
OPENED_PER_SECOND = 1_000
SENT_PER_SECOND = 400
RECOVERY_SECONDS = 20.0
GOAL = 2.0
"""The good client's p99 during an attack, over that of the calm before it."""
LARGE_BODY_BYTES = 100 * MEGABYTE
CONNECTIONS = 10_000
PIECE = b"x" * 65536

Ended = Counter[str]
"""How the attack's requests or connections ended."""


@dataclass(frozen=True)
class Attack:
    """One kind of harm: `run` gets the edge's port and when to end, and tells how its clients fared."""

    name: str
    run: Callable[[int, float], Ended]
    seconds: float = ATTACK_SECONDS


@dataclass(frozen=True)
class Finding:
    """What one attack did."""

    name: str
    ended: Ended
    calm_p99: float
    attack_p99: float
    """Both are infinite where more than one in a hundred had no answer."""
    good_failures: int
    before_bytes: int
    most_bytes: int
    after_bytes: int
    resident_bytes: int
    """Held by the process at the end; the others are what Envoy has a use for."""

    @property
    def ratio(self) -> float:
        """NaN where the calm was none."""
        return self.attack_p99 / self.calm_p99 if math.isfinite(self.calm_p99) else math.nan

    @property
    def verdict(self) -> str:
        if self.good_failures:
            return f"missed: {self.good_failures} failures"
        if math.isnan(self.ratio):
            return "cannot tell: failures in the calm"
        return "met" if self.ratio <= GOAL else "missed"


def hold_open(port: int, until: float, count: int, first_bytes: bytes) -> Ended:
    """Open `count` connections, send each the same beginning of a request, and wait."""
    with contextlib.ExitStack() as stack:
        opened: list[socket.socket] = []
        for number in range(count):
            if number % 50 == 0:
                time.sleep(50 / OPENED_PER_SECOND)
            with contextlib.suppress(OSError):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 2))
                client.sendall(first_bytes)
                opened.append(client)
        while time.monotonic() < until:
            time.sleep(0.1)
        ended = Counter(_state(client) for client in opened)
    return ended + Counter({"not accepted": count - len(opened)})


def _state(client: socket.socket) -> str:
    """What the edge has done with a connection on which it was told too little."""
    client.setblocking(False)
    try:
        answer = client.recv(64)
    except BlockingIOError:
        return "still open"
    except OSError:
        return "closed"
    return f"{answer[9:12].decode()} and closed" if answer else "closed"


def send_large_bodies(port: int, until: float, *, chunked: bool) -> Ended:
    """Bodies of 100 MB, one after the other, from four clients at once."""
    ended: Ended = Counter()

    def work() -> None:
        while time.monotonic() < until:
            status, sent = _send_large_body(port, chunked=chunked)
            ended[f"{status} after {'< 4' if sent < 4 * MEGABYTE else '≥ 4'} MB"] += 1

    return _by_four(work, ended)


def _send_large_body(port: int, *, chunked: bool) -> tuple[str, int]:
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % LARGE_BODY_BYTES
    piece = b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if chunked else PIECE
    sent = 0
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        with contextlib.suppress(OSError):
            client.sendall(b"POST /api/cart/items HTTP/1.1\r\nHost: shop\r\n%s\r\n\r\n" % framing)
            while sent < LARGE_BODY_BYTES:
                client.sendall(piece)
                sent += len(piece)
        try:
            answer = client.recv(64)
        except OSError:
            return "reset", sent
    return (answer[9:12].decode() if answer else "closed"), sent


def send_repeatedly(port: int, until: float, request: bytes) -> Ended:
    """The same request on fresh connections, from four clients at once."""
    ended: Ended = Counter()

    def work() -> None:
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as client:
                client.sendall(request)
                answer = client.recv(64)
                ended[answer[9:12].decode() if answer else "closed"] += 1
            time.sleep(4 / SENT_PER_SECOND)

    return _by_four(work, ended)


def _by_four(work: Callable[[], None], ended: Ended) -> Ended:
    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(ATTACK_SECONDS + 30)
    return ended


def attacks(connections: int) -> list[Attack]:
    """Every attack; those that hold connections open take so many."""
    half = b"GET /api/cart HTTP/1.1\r\nHost: shop\r\nX-A: "
    smuggled = (
        b"POST /api/cart/items HTTP/1.1\r\nHost: shop\r\nContent-Length: 6\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"
    )
    oversized = half + b"a" * (LIMITS.headers_kb + 1) * 1024 + b"\r\n\r\n"
    body = b"POST /api/cart/items HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000\r\n\r\nx"

    def holding(count: int, first_bytes: bytes) -> Callable[[int, float], Ended]:
        return lambda port, until: hold_open(port, until, count, first_bytes)

    def repeating(request: bytes) -> Callable[[int, float], Ended]:
        return lambda port, until: send_repeatedly(port, until, request)

    # As long as the limit, and what opening them takes.
    headers_end, body_ends = LIMITS.headers_seconds + 4, LIMITS.request_seconds + 4
    return [
        Attack("slow headers, 2,000 clients", holding(2_000, half), headers_end),
        Attack("16 kB of slow headers, 2,000 clients", holding(2_000, half + b"a" * 16_000), headers_end),
        Attack("slow bodies, 2,000 clients", holding(2_000, body), body_ends),
        Attack(f"{connections:,} idle connections", holding(connections, b""), 15.0),
        Attack("100 MB with a length", lambda port, until: send_large_bodies(port, until, chunked=False)),
        Attack("100 MB in chunks", lambda port, until: send_large_bodies(port, until, chunked=True)),
        Attack("a length and chunks at once", repeating(smuggled)),
        Attack("headers of 33 kB", repeating(oversized)),
    ]


@contextmanager
def watched_memory(own: OwnEdge) -> Iterator[list[int]]:
    """What Envoy has a use for, sampled while the block runs."""
    seen = [own.allocated_bytes()]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            seen.append(own.allocated_bytes())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join(5)


def try_attack(own: OwnEdge, good: GoodClient, attack: Attack) -> Finding:
    """Calm, the attack, and then time for the memory to return."""
    calm_from = time.monotonic()
    time.sleep(CALM_SECONDS)
    begun = time.monotonic()
    calm = good.answers(calm_from, begun)
    with watched_memory(own) as memory:
        ended = attack.run(own.port, begun + attack.seconds)
    beside = good.answers(begun, time.monotonic())
    return Finding(
        name=attack.name,
        ended=ended,
        calm_p99=p99_of(calm),
        attack_p99=p99_of(beside),
        good_failures=sum(seconds < 0 for seconds in beside),
        before_bytes=memory[0],
        most_bytes=max(memory),
        after_bytes=_memory_after(own, memory[0]),
        resident_bytes=own.resident_bytes(),
    )


def p99_of(seconds: Sequence[float]) -> float:
    """Failures, which are negative, are the slowest of all."""
    return quantile([one if one >= 0 else math.inf for one in seconds], 0.99)


def _memory_after(own: OwnEdge, before: int) -> int:
    """Envoy's memory once it is back to what it was, or when time is up."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < deadline and own.allocated_bytes() > before + MEGABYTE:
        time.sleep(0.1)
    return own.allocated_bytes()


def run(connections: int, report: Callable[[str], None]) -> list[Finding]:
    text = (PROJECT / "kong" / "kong.yml").read_text()
    with own_edge() as own, three_replicas() as replicas:
        own.load(text, {"cart": [("127.0.0.1", replica.port) for replica in replicas]})
        with GoodClient(own.port) as good:
            findings = []
            for attack in attacks(connections):
                report(attack.name)
                findings.append(try_attack(own, good, attack))
    return findings


def show(console: Console, findings: Sequence[Finding]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("attack")
    for title in (
        "calm p99 ms",
        "p99 ms",
        "ratio",
        f"goal ≤ {GOAL:g}",
        "MB used before",
        "most",
        "after",
        "held",
    ):
        table.add_column(title, justify="right")
    table.add_column("how it ended")
    for finding in findings:
        sizes = (finding.before_bytes, finding.most_bytes, finding.after_bytes, finding.resident_bytes)
        table.add_row(
            finding.name,
            _told(finding.calm_p99 * 1000),
            _told(finding.attack_p99 * 1000),
            _told(finding.ratio),
            finding.verdict,
            *(f"{size / MEGABYTE:.0f}" for size in sizes),
            ", ".join(f"{count:,} × {how}" for how, count in sorted(finding.ended.items())),
        )
    console.print(table)


def _told(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.edge_hostile", description="Clients that mean harm, beside a good one."
    )
    parser.add_argument(
        "--connections",
        type=whole_number(1, 30_000),
        default=CONNECTIONS,
        help=f"idle ones ({CONNECTIONS:,})",
    )
    options = parser.parse_args(arguments)
    console = table_console()
    allow_open_files()
    connections = min(options.connections, most_open_files() - 200)
    if connections < options.connections:
        console.print(
            f"This system lets a process open {most_open_files():,} files, so {connections:,} are idle."
        )
    try:
        settings = load_settings()
        with console.status("") as status:
            findings = run(connections, status.update)
    except KeyboardInterrupt:
        print("edge-hostile: interrupted, nothing written", file=sys.stderr)
        return 130
    except (BenchmarkError, SettingsError, OSError) as exc:
        print(f"edge-hostile: {exc}", file=sys.stderr)
        return 1
    show(console, findings)
    result = {"findings": [as_result(item) for item in findings]}
    console.print(f"Written to {write_result(settings, 'edge-hostile', result)}", soft_wrap=True)
    return 0 if all(item.verdict == "met" for item in findings) else 1


def as_result(finding: Finding) -> dict[str, object]:
    """What is not finite is null: JSON has no word for it."""
    fields = {field.name: getattr(finding, field.name) for field in dataclasses.fields(finding)}
    times = {"calm_p99": finding.calm_p99, "attack_p99": finding.attack_p99, "ratio": finding.ratio}
    finite = {name: value if math.isfinite(value) else None for name, value in times.items()}
    return fields | finite | {"ended": dict(finding.ended), "verdict": finding.verdict}


if __name__ == "__main__":
    sys.exit(main())
