"""Arms that come in turn, so that whatever else the machine does meets all of them."""

from __future__ import annotations

import random
from collections.abc import Callable

from benchmarks.quantiles import Block


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
