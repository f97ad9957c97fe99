"""Latency of one read by the way it takes: `python -m benchmarks.hops`, the first part of `make bench`.

`GET /7` of products: straight to the function, through the function gateway, through the embedded edge,
and the floor (bare server + prepared read). One client, one request at a time, the arms interleaved in short blocks
in random order, so that whatever else the machine does meets all of them. `direct` is measured twice:
the ratio of the two shows how far this run can be trusted.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.floor import Pgbench, fixed_answer
from benchmarks.http_client import BadAnswerError, KeepAlive, Reply, render_request
from benchmarks.quantiles import Block, Ratio, pooled, quantile, ratio_of_quantiles, ratio_of_sums
from benchmarks.report import (
    BenchmarkError,
    is_quiet,
    load_unlimited_settings,
    table_console,
    whole_number,
    write_result,
)
from localfaas.settings import Settings, SettingsError

DIRECT_PORT = 8002
"""The first replica of products (annotation `localfaas/port` in stack.yml), before PORT_OFFSET."""
WARM_UP_REQUESTS = 300
BLOCK_WARM_UP_REQUESTS = 5
REPLICA_PROBES = 12
NOISE_LIMIT = 0.10

DIRECT, AGAIN, GATEWAY, EDGE = "direct", "direct again", "gateway", "edge"
SERVER, READ = "bare server", "prepared read"


@dataclass(frozen=True)
class Goal:
    """A ratio that is held to a limit: `arms` over `references`, each the sum of its quantiles."""

    name: str
    arms: tuple[str, ...]
    references: tuple[str, ...]
    share: float
    limit: float | None


GOALS = (
    Goal("edge / direct, p50", (EDGE,), (DIRECT,), 0.50, 1.5),
    Goal("edge / direct, p99", (EDGE,), (DIRECT,), 0.99, 2.0),
    Goal("direct / floor, p50", (DIRECT,), (SERVER, READ), 0.50, 3.5),
    Goal("gateway / direct, p50", (GATEWAY,), (DIRECT,), 0.50, None),
    Goal("direct again / direct, p50 (control)", (AGAIN,), (DIRECT,), 0.50, None),
    Goal("direct again / direct, p99 (control)", (AGAIN,), (DIRECT,), 0.99, None),
)


@dataclass(frozen=True)
class HttpArm:
    """One way to the product: a connection of its own, the request, and the body every answer must have."""

    client: KeepAlive
    request: bytes
    body: bytes

    def measure(self, count: int) -> list[float]:
        """Seconds of `count` requests. Raises BenchmarkError at the first answer that is not the product."""
        for _ in range(BLOCK_WARM_UP_REQUESTS):
            self._checked()
        return [self._checked().seconds for _ in range(count)]

    def _checked(self) -> Reply:
        try:
            reply = self.client.send(self.request)
        except (OSError, BadAnswerError) as exc:
            raise BenchmarkError(f"the target failed during the measurement: {exc}") from exc
        if reply.status != 200 or reply.body != self.body:
            raise BenchmarkError(
                f"the target answered {reply.status} {reply.body[:200]!r} during the measurement"
            )
        return reply


def ways(settings: Settings, product_id: int) -> dict[str, tuple[int, bytes]]:
    """Arm to port and request."""
    direct = DIRECT_PORT + settings.port_offset
    paths = {
        DIRECT: (direct, f"/{product_id}"),
        AGAIN: (direct, f"/{product_id}"),
        GATEWAY: (settings.port("gateway"), f"/function/products/{product_id}"),
        EDGE: (settings.port("edge"), f"/api/products/{product_id}"),
    }
    return {
        arm: (port, render_request(f"localhost:{port}", "GET", path, headers={"Accept": "application/json"}))
        for arm, (port, path) in paths.items()
    }


def examine(targets: Mapping[str, tuple[int, bytes]]) -> tuple[bytes, list[str]]:
    """The product's body and the replicas that gave it. Raises BenchmarkError unless every way gives the same."""
    bodies: dict[str, bytes] = {}
    replicas: set[str] = set()
    for arm, (port, request) in targets.items():
        with KeepAlive(port) as client:
            for _ in range(REPLICA_PROBES):
                reply = _probe(arm, client, request)
                bodies[arm] = reply.body
                replicas.add(reply.header("X-Served-By"))
    if len(set(bodies.values())) != 1:
        raise BenchmarkError(
            "the ways give different answers for one product; measure when nobody changes it"
        )
    return bodies[DIRECT], sorted(replicas)


def _probe(arm: str, client: KeepAlive, request: bytes) -> Reply:
    try:
        reply = client.send(request)
    except (OSError, BadAnswerError) as exc:
        raise BenchmarkError(f"{arm}: no answer ({exc}); is the platform up? `make status` shows") from exc
    if reply.status != 200:
        raise BenchmarkError(
            f"{arm}: answered {reply.status}; products must be healthy and hold this product (`make up` loads it)"
        )
    return reply


def interleave(
    arms: dict[str, Callable[[int], list[float]]], rounds: int, block: int, progress: Callable[[int], None]
) -> dict[str, list[Block]]:
    """`rounds` blocks of `block` samples for each arm; in each round the arms come in another order."""
    taken: dict[str, list[Block]] = {arm: [] for arm in arms}
    chance = random.Random(0)  # noqa: S311  an order, nothing secret
    for done in range(1, rounds + 1):
        for arm in chance.sample(list(arms), len(arms)):
            taken[arm].append(arms[arm](block))
        progress(done)
    return taken


def judge(blocks: dict[str, list[Block]]) -> list[tuple[Goal, Ratio]]:
    """Every ratio with its interval."""
    judged = []
    for goal in GOALS:
        arms, references = ([blocks[arm] for arm in names] for names in (goal.arms, goal.references))
        single = len(arms) == len(references) == 1
        ratio = (
            ratio_of_quantiles(arms[0], references[0], goal.share)
            if single
            else ratio_of_sums(arms, references, goal.share)
        )
        judged.append((goal, ratio))
    return judged


def show(console: Console, blocks: dict[str, list[Block]], judged: Sequence[tuple[Goal, Ratio]]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("way")
    for title in ("p50 ms", "p99 ms", "samples"):
        table.add_column(title, justify="right")
    for arm, taken in blocks.items():
        samples = pooled(taken)
        p50, p99 = (f"{quantile(samples, share) * 1000:.3f}" for share in (0.50, 0.99))
        table.add_row(arm, p50, p99, f"{len(samples):,}")
    for goal, ratio in judged:
        interval = f"{ratio.value:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"
        limit = "" if goal.limit is None else f"≤ {goal.limit}"
        table.add_row(goal.name, interval, limit, "" if goal.limit is None else ratio.holds(goal.limit))
    console.print(table)


def warn(console: Console, judged: Sequence[tuple[Goal, Ratio]], quiet: bool) -> None:
    """Say when the figures should not be relied on."""
    control = next(ratio for goal, ratio in judged if goal.arms == (AGAIN,) and goal.share == 0.50)
    if abs(control.value - 1) > NOISE_LIMIT:
        console.print(
            f"The two direct arms differ by {abs(control.value - 1):.0%}: too noisy, measure again."
        )
    if not quiet:
        console.print("The machine was busy before the run; the p99 figures say much about its other work.")


def measure(settings: Settings, options: argparse.Namespace, console: Console) -> dict[str, list[Block]]:
    """All blocks of all arms. Raises BenchmarkError for a target that is not fit to be measured."""
    targets = ways(settings, options.product)
    body, _ = examine(targets)
    with ExitStack() as stack:
        targets[SERVER] = (stack.enter_context(fixed_answer(body)), render_request("localhost", "GET", "/"))
        arms: dict[str, Callable[[int], list[float]]] = {
            arm: HttpArm(stack.enter_context(KeepAlive(port)), request, body).measure
            for arm, (port, request) in targets.items()
        }
        arms[READ] = Pgbench.of(settings, options.product).read
        for take in arms.values():
            take(WARM_UP_REQUESTS)
        status = stack.enter_context(console.status("measuring"))
        return interleave(
            arms,
            options.rounds,
            options.block,
            lambda done: status.update(f"measuring: round {done} of {options.rounds}"),
        )


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hops", description="Latency of one read, hop by hop, against a floor."
    )
    parser.add_argument("--product", type=int, default=7, metavar="ID", help="which product is read (7)")
    parser.add_argument("--rounds", type=whole_number(2, 10_000), default=80, help="blocks of each way (80)")
    parser.add_argument("--block", type=whole_number(2, 10_000), default=50, help="requests in a block (50)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    console = table_console()
    try:
        settings = load_unlimited_settings()
        quiet = is_quiet()
        blocks = measure(settings, options, console)
        _, replicas = examine(ways(settings, options.product))
    except KeyboardInterrupt:
        print("bench: interrupted, nothing written", file=sys.stderr)
        return 130
    except (BenchmarkError, SettingsError) as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    judged = judge(blocks)
    show(console, blocks, judged)
    warn(console, judged, quiet)
    if len(replicas) > 1:
        console.print(f"products has {len(replicas)} replicas by now; direct measured the first of them.")
    path = write_result(settings, "hops", as_result(blocks, judged) | {"replicas": replicas, "quiet": quiet})
    console.print(f"Written to {path}", soft_wrap=True)
    return 0


def as_result(blocks: dict[str, list[Block]], judged: Sequence[tuple[Goal, Ratio]]) -> dict[str, object]:
    shares = (0.50, 0.90, 0.99)
    return {
        "seconds": {
            arm: {f"p{share * 100:.0f}": quantile(pooled(taken), share) for share in shares}
            for arm, taken in blocks.items()
        },
        "samples": {arm: len(pooled(taken)) for arm, taken in blocks.items()},
        "ratios": [
            {**asdict(ratio), "name": goal.name, "limit": goal.limit,
             "verdict": None if goal.limit is None else ratio.holds(goal.limit)}
            for goal, ratio in judged
        ],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
