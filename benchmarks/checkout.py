"""A checkout of three lines: `python -m benchmarks.checkout`, `make bench-checkout`.

How long it takes, where the time goes, how many a second one and three replicas of checkout manage, and what
idempotency and the stored steps cost. On a platform of its own, which is gone afterwards; nothing scales by itself.
One customer after the other checks out through the function gateway, each with a cart that was filled before. The
arms come in turn, in short blocks in random order; `checkout` is measured twice, and how far the second is from the
first is how far any other ratio can be trusted. What is left out of an arm is in checkout_variants.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import psycopg2
from rich.console import Console
from rich.table import Table

from benchmarks.checkout_variants import VARIANTS, WITHOUT_IDEMPOTENCY, WITHOUT_STORED_STEPS, make_variant
from benchmarks.command import measure_and_tell
from benchmarks.floor import Pgbench
from benchmarks.http_client import BadAnswerError, KeepAlive, render_request
from benchmarks.interleaved import interleave
from benchmarks.own_platform import inherited, own_platform
from benchmarks.quantiles import Block, Ratio, pooled, quantile, ratio_of_quantiles
from benchmarks.report import (
    BenchmarkError,
    whole_number,
)
from db.seed.token import TokenRequest, mint
from localfaas.settings import Settings
from localfaas.status import rows
from localfaas.supervisor import Supervisor, SupervisorError
from localfaas.up import admin_url

PRODUCTS_PORT, CART_PORT = 8002, 8008
GOODS = ("BENCH-1", "BENCH-2", "BENCH-3")
STOCK = 900_000
PRODUCT_READ = 7
WARM_UP = 20
CLIENTS = 8
READY_SECONDS = 60
READ_GOAL = 60
IDEMPOTENCY_GOAL = 1.10
CHECKOUT, AGAIN, HTTP_READ, SQL_READ = (
    "checkout",
    "checkout again",
    "read of a product (HTTP)",
    "prepared read (SQL)",
)
ADDRESS = {
    "name": "Ada Lovelace", "line1": "12 rue des Érables", "city": "Montréal",
    "province": "QC", "postal_code": "H2X 1Y4", "country": "CA",
}  # fmt: skip


@dataclass(frozen=True)
class Cart:
    """A customer with three lines in the cart, and the request that buys them."""

    token: str
    body: bytes

    def request(self, function: str) -> bytes:
        headers = {"Authorization": self.token, "Idempotency-Key": str(uuid.uuid4())}
        return render_request("localhost", "POST", f"/function/{function}/", self.body, headers)


@dataclass
class Shop:
    """A running shop, and how its parts are reached."""

    settings: Settings
    clients: dict[int, KeepAlive] = field(default_factory=dict)

    def token(self, role: str, subject: str) -> str:
        return f"Bearer {mint(TokenRequest((role,), subject), self.settings.secrets, time.time())}"

    def send(self, port: int, method: str, path: str, body: Any = None, token: str = "") -> Any:
        """The JSON of a success, over a connection that is kept for `port`."""
        headers = {"Authorization": token, "Idempotency-Key": str(uuid.uuid4())}
        content = b"" if body is None else json.dumps(body).encode()
        client = self.clients.setdefault(port, KeepAlive(port))
        return json.loads(succeed(client, render_request("localhost", method, path, content, headers))[1])

    @property
    def gateway(self) -> int:
        return self.settings.port("gateway")

    def stock_up(self) -> None:
        head = self.token("hq", "bench")
        for place, sku in enumerate(GOODS):
            product = {"sku": sku, "name": f"Benchmark {place}", "price_cents": 1_000 + place}
            self.send(self.gateway, "POST", "/function/products/", product, head)
        lines = [{"sku": sku, "quantity": STOCK} for sku in GOODS]
        body = {"location": "W1", "lines": lines}
        self.send(self.gateway, "POST", "/function/inventory/receipts", body, head)

    def fill_cart(self) -> Cart:
        """A new customer's cart, filled at a replica of cart."""
        token, port = self.token("customer", str(uuid.uuid4())), CART_PORT + self.settings.port_offset
        for sku in GOODS:
            shown = self.send(port, "PUT", f"/items/{sku}", {"quantity": 1}, token)
        body = {
            "cart_version": shown["version"],
            "total_cents": shown["total_cents"],
            "address": ADDRESS,
            "payment": {"card_token": "tok_ok"},
        }
        return Cart(token, json.dumps(body).encode())

    def steps(self, checkout_id: str) -> dict[str, float]:
        """Milliseconds of each step, as checkout tells them."""
        path = f"/function/checkout/{checkout_id}"
        shown = self.send(self.gateway, "GET", path, token=self.token("hq", "bench"))
        return {step["step"]: step["milliseconds"] for step in shown["steps"]}

    def close(self) -> None:
        for client in self.clients.values():
            client.close()


def succeed(client: KeepAlive, request: bytes) -> tuple[float, bytes]:
    """Seconds and body of a success. Raises BenchmarkError for anything else."""
    try:
        reply = client.send(request)
    except (OSError, BadAnswerError) as exc:
        raise BenchmarkError(f"no answer to {request.split(b' HTTP', 1)[0]!r}: {exc!r}") from exc
    if reply.status >= 300:
        raise BenchmarkError(
            f"{request.split(b' HTTP', 1)[0]!r} answered {reply.status}: {reply.body[:300]!r}"
        )
    return reply.seconds, reply.body


@dataclass
class Arm:
    """Checkouts by one function, one after the other; carts are filled before the block, and not measured."""

    shop: Shop
    function: str
    client: KeepAlive
    bought: list[str] = field(default_factory=list)

    def measure(self, count: int) -> list[float]:
        carts = [self.shop.fill_cart() for _ in range(count)]
        taken = []
        for cart in carts:
            seconds, body = succeed(self.client, cart.request(self.function))
            taken.append(seconds)
            self.bought.append(json.loads(body)["checkout_id"])
        return taken


@dataclass
class HttpReads:
    """Reads of one product at a replica of products."""

    client: KeepAlive

    def measure(self, count: int) -> list[float]:
        request = render_request("localhost", "GET", f"/{PRODUCT_READ}")
        return [succeed(self.client, request)[0] for _ in range(count)]


@dataclass
class Measured:
    """All that was measured."""

    blocks: dict[str, list[Block]]
    steps: dict[str, list[float]]
    rates: dict[int, float]


@contextmanager
def running_shop(like: Settings) -> Iterator[Shop]:
    """A platform of its own with the variants beside the shop's functions.

    Nobody tells it to scale, and there is no maintenance, which would go on with what a variant has not claimed.
    """
    with own_platform(like) as settings, tempfile.TemporaryDirectory() as directory:
        try:
            Supervisor(settings).stop("alertmanager")
        except SupervisorError as exc:
            raise BenchmarkError(f"scaling could not be switched off: {exc}") from exc
        run_localfaas(settings, "remove", "maintenance")
        for variant in VARIANTS:
            run_localfaas(settings, "--project", str(make_variant(variant, Path(directory))), "deploy")
        shop = Shop(settings)
        for variant in VARIANTS:
            for function in variant.functions:
                wait_for_replicas(settings, function, 1)
        shop.stock_up()
        yield shop
        shop.close()


def run_localfaas(settings: Settings, *words: str) -> None:
    environment = {**inherited(), "STATE_DIR": str(settings.state), "PORT_OFFSET": str(settings.port_offset)}
    command = [sys.executable, "-m", "localfaas", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"localfaas {' '.join(words)}: {done.stdout}{done.stderr}")


def wait_for_replicas(settings: Settings, function: str, count: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        found = [row for row in rows(settings) if row.program.rpartition("-")[0] == function]
        if len(found) == count and all(row.traffic == "yes" for row in found):
            return
        time.sleep(0.2)
    raise BenchmarkError(f"{function} did not come to {count} replicas within {READY_SECONDS} s")


def measure_times(
    shop: Shop, rounds: int, block: int, console: Console
) -> tuple[dict[str, list[Block]], Arm]:
    """Every arm's blocks, and the arm of the real checkout."""
    functions = {CHECKOUT: "checkout", AGAIN: "checkout"} | {one.name: one.function for one in VARIANTS}
    arms = {name: Arm(shop, function, KeepAlive(shop.gateway)) for name, function in functions.items()}
    for arm in arms.values():
        arm.measure(WARM_UP)
    check_variants(shop, arms)
    reads = HttpReads(KeepAlive(PRODUCTS_PORT + shop.settings.port_offset))
    reads.measure(WARM_UP)
    measures: dict[str, Callable[[int], list[float]]] = {name: arm.measure for name, arm in arms.items()}
    measures |= {HTTP_READ: reads.measure, SQL_READ: Pgbench.of(shop.settings, PRODUCT_READ).read}
    with console.status("measuring") as status:
        blocks = interleave(
            measures, rounds, block, lambda done: status.update(f"measuring: round {done} of {rounds}")
        )
    for client in [reads.client, *(arm.client for arm in arms.values())]:
        client.close()
    return blocks, arms[CHECKOUT]


def check_variants(shop: Shop, arms: Mapping[str, Arm]) -> None:
    """Raise BenchmarkError unless each variant leaves out what it says, and the real checkout does not."""
    wanted = {
        CHECKOUT: (True, 9),
        AGAIN: (True, 9),
        WITHOUT_IDEMPOTENCY.name: (False, 9),
        WITHOUT_STORED_STEPS.name: (True, 1),
    }
    found = {name: _stored(shop, arm.bought[-1]) for name, arm in arms.items()}
    if found != wanted:
        raise BenchmarkError(f"the arms store {found}, not {wanted} (answer kept, steps)")


def _stored(shop: Shop, checkout_id: str) -> tuple[bool, int]:
    """Whether the answer of a complete checkout was kept, and how many steps."""
    [(kept, steps)] = _select(
        shop,
        "SELECT octet_length(answer_body) > 0, (SELECT count(*)::int FROM checkout.steps WHERE checkout_id = %(id)s)"
        " FROM checkout.checkouts WHERE checkout_id = %(id)s AND state = 'complete'",
        {"id": checkout_id},
    )
    return bool(kept), int(steps)


def _select(shop: Shop, statement: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(admin_url(shop.settings))) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


def measure_rate(shop: Shop, replicas: int, checkouts: int) -> float:
    """Checkouts a second by so many replicas, `CLIENTS` customers at a time."""
    run_localfaas(shop.settings, "scale", "checkout", str(replicas))
    wait_for_replicas(shop.settings, "checkout", replicas)
    carts: SimpleQueue[Cart] = SimpleQueue()
    for _ in range(checkouts + CLIENTS * 2):
        carts.put(shop.fill_cart())
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [KeepAlive(shop.gateway) for _ in range(CLIENTS)]
        list(pool.map(lambda client: _buy(client, carts, 2), clients))
        started = time.perf_counter()
        done = sum(pool.map(lambda client: _buy(client, carts, checkouts), clients))
        seconds = time.perf_counter() - started
    for client in clients:
        client.close()
    return done / seconds


def _buy(client: KeepAlive, carts: SimpleQueue[Cart], most: int) -> int:
    """How many were bought, at most `most`, until no cart is left."""
    for done in range(most):
        try:
            cart = carts.get_nowait()
        except Empty:  # another client took the last one
            return done
        succeed(client, cart.request("checkout"))
    return most


def check_books(shop: Shop) -> int:
    """How many orders were paid. Raises BenchmarkError unless stock, orders and the provider agree on them."""
    [(orders, captured, sold)] = _select(
        shop,
        "SELECT (SELECT count(*) FROM orders.orders WHERE paid_at IS NOT NULL),"
        " (SELECT count(*) FROM payments.ledger WHERE kind = 'captured'),"
        " (SELECT -sum(quantity)::int / %(lines)s FROM inventory.ledger WHERE kind = 'sale')",
        {"lines": len(GOODS)},
    )
    if not orders == captured == sold:
        raise BenchmarkError(f"{orders} orders are paid, {captured} captured, {sold} have left: no figures")
    return int(orders)


def ratios(blocks: Mapping[str, list[Block]]) -> list[tuple[str, Ratio, float | None]]:
    """Name, ratio and goal of each comparison."""

    def of(arm: str, reference: str, share: float = 0.5) -> Ratio:
        return ratio_of_quantiles(blocks[arm], blocks[reference], share)

    return [
        (f"checkout / {SQL_READ}, p50", of(CHECKOUT, SQL_READ), READ_GOAL),
        (f"checkout / {HTTP_READ}, p50", of(CHECKOUT, HTTP_READ), READ_GOAL),
        ("checkout / without idempotency, p50", of(CHECKOUT, WITHOUT_IDEMPOTENCY.name), IDEMPOTENCY_GOAL),
        ("checkout / without stored steps, p50", of(CHECKOUT, WITHOUT_STORED_STEPS.name), None),
        ("checkout again / checkout, p50 (control)", of(AGAIN, CHECKOUT), None),
    ]


def show(console: Console, measured: Measured) -> None:
    times = _table("arm", "p50 ms", "p99 ms", "samples")
    for name, taken in measured.blocks.items():
        samples = pooled(taken)
        cells = (f"{quantile(samples, share) * 1000:.2f}" for share in (0.5, 0.99))
        times.add_row(name, *cells, f"{len(samples):,}")
    console.print(times)
    goals = _table("ratio", "value (95 %)", "goal", "verdict")
    for name, ratio, goal in ratios(measured.blocks):
        limit, verdict = ("", "") if goal is None else (f"≤ {goal:g}", ratio.holds(goal))
        goals.add_row(name, f"{ratio.value:.2f} ({ratio.low:.2f}–{ratio.high:.2f})", limit, verdict)
    console.print(goals)
    parts = _table("step", "p50 ms", "share")
    for name, milliseconds, share in shares(measured.steps):
        parts.add_row(name, f"{milliseconds:.2f}", f"{share:.0%}")
    console.print(parts)
    for replicas, rate in measured.rates.items():
        console.print(f"{rate:.1f} checkouts/s with {replicas} of checkout, {CLIENTS} customers at a time")


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right")
    return table


def shares(steps: Mapping[str, Sequence[float]]) -> list[tuple[str, float, float]]:
    """Each step, its median in milliseconds, and its share of the sum of all medians."""
    medians = {name: statistics.median(taken) for name, taken in steps.items()}
    whole = sum(medians.values())
    return [(name, milliseconds, milliseconds / whole) for name, milliseconds in medians.items()]


def as_result(measured: Measured) -> dict[str, Any]:
    return {
        "seconds": {
            arm: {f"p{share:.0%}".rstrip("%"): quantile(pooled(taken), share) for share in (0.5, 0.9, 0.99)}
            for arm, taken in measured.blocks.items()
        },
        "samples": {arm: len(pooled(taken)) for arm, taken in measured.blocks.items()},
        "ratios": [
            {"name": name, "value": ratio.value, "low": ratio.low, "high": ratio.high, "goal": goal}
            for name, ratio, goal in ratios(measured.blocks)
        ],
        "step_milliseconds": {name: milliseconds for name, milliseconds, _ in shares(measured.steps)},
        "checkouts_per_second": {str(replicas): rate for replicas, rate in measured.rates.items()},
    }


def run(settings: Settings, options: argparse.Namespace, console: Console) -> Measured:
    with console.status("starting a platform"), running_shop(settings) as shop:
        console.print("A platform is up; measuring.")
        blocks, arm = measure_times(shop, options.rounds, options.block, Console(quiet=True))
        steps: dict[str, list[float]] = {}
        for checkout_id in arm.bought[WARM_UP:]:
            for name, milliseconds in shop.steps(checkout_id).items():
                steps.setdefault(name, []).append(milliseconds)
        rates = {replicas: measure_rate(shop, replicas, options.checkouts) for replicas in (1, 3)}
        console.print(f"{check_books(shop):,} orders are paid, and the books agree.")
    return Measured(blocks, steps, rates)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.checkout", description="Latency, parts, rate and costs of a checkout."
    )
    parser.add_argument("--rounds", type=whole_number(2, 10_000), default=50, help="blocks of each arm (50)")
    parser.add_argument("--block", type=whole_number(2, 10_000), default=8, help="samples in a block (8)")
    parser.add_argument(
        "--checkouts", type=whole_number(8, 100_000), default=400, help="checkouts of each rate (400)"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    return measure_and_tell("checkout", build_parser().parse_args(arguments), run, show, as_result)


if __name__ == "__main__":
    sys.exit(main())
