"""The figures of the benchmarks: quantiles, and how far their ratios can be trusted."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quantiles import Ratio, expanded, over_blocks, quantile, ratio_of_quantiles


def blocks(seed: int, factor: float = 1.0, rounds: int = 40, size: int = 25) -> list[list[float]]:
    """Exponential latencies whose scale wanders from block to block, alike for every arm."""
    scales = [1 + 0.3 * random.Random(f"round {index}").random() for index in range(rounds)]
    chance = random.Random(seed)
    return [[factor * scale * (1 + chance.expovariate(5)) for _ in range(size)] for scale in scales]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_the_least_sample_with_that_share_at_or_below_it(
    samples: list[float], share: float
) -> None:
    found = quantile(samples, share)
    assert found in samples
    assert sum(sample <= found for sample in samples) >= share * len(samples)
    assert sum(sample < found for sample in samples) < share * len(samples)


def test_a_quantile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        quantile([], 0.5)


def test_an_arm_against_its_like_has_one_in_its_interval() -> None:
    ratio = ratio_of_quantiles(blocks(1), blocks(2), 0.5)
    assert ratio.low < 1 < ratio.high
    assert ratio.high - ratio.low < 0.1


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_real_difference_is_found(share: float) -> None:
    ratio = ratio_of_quantiles(blocks(1, factor=2.0), blocks(2), share)
    assert ratio.low <= ratio.value <= ratio.high
    assert ratio.low < 2.0 < ratio.high
    assert ratio.low > 1.3


def test_intervals_of_few_blocks_hold_the_truth_about_as_often_as_they_say() -> None:
    """Read at 95 %, those of six blocks would hold it 87 times of a hundred."""
    chance = np.random.default_rng(3)
    times = 60
    arms = ([chance.normal(size=(6, 1))] for _ in range(times))
    means = [over_blocks(one, lambda arms: float(np.mean(arms[0])), resamples=400) for one in arms]
    assert sum(one.low <= 0 <= one.high for one in means) / times >= 0.92


@pytest.mark.parametrize("blocks", [2, 3, 4])
def test_intervals_of_a_few_blocks_hold_the_truth_as_often_as_they_say(blocks: int) -> None:
    """The range of three would hold it 75 times of a hundred."""
    chance = np.random.default_rng(blocks)
    times = 1_000
    arms = ([chance.lognormal(0, 0.3, size=(blocks, 1))] for _ in range(times))
    means = [over_blocks(one, lambda arms: float(np.exp(np.mean(np.log(arms[0]))))) for one in arms]
    assert sum(one.low <= 1 <= one.high for one in means) / times == pytest.approx(0.95, abs=0.025)


def test_one_block_has_no_interval_and_a_few_have_students() -> None:
    def of(*values: float, signed: bool = False) -> str:
        blocks = [[value] for value in values]
        return over_blocks([blocks], lambda arms: float(np.mean(arms[0])), signed=signed).said()

    assert of(1) == "1.00"
    assert of(-1, 0, 1) == "0.00 (-2.48–2.48)"
    assert of(1, 2, 3) == "2.00 (0.50–7.95)", "by factors"
    assert of(1, 2, 3, signed=True) == "2.00 (-0.48–4.48)", (
        "a difference may be none, whatever the sign of those seen"
    )


def test_an_end_that_is_not_known_is_not_told() -> None:
    assert Ratio(1.0, 0.5, math.inf).said() == "1.00 (0.50 or more)"
    assert Ratio(1.0, -math.inf, 2.0).said() == "1.00 (2.00 or less)"
    assert Ratio(0.001, 0.0005, 0.002).times(1000).said() == "1.00 (0.50–2.00)"


def test_levels_of_many_blocks_are_hardly_expanded() -> None:
    assert expanded(0.95, 1_000, 999) == pytest.approx(0.95, abs=1e-3)
    assert expanded(0.95, 6, 5) == pytest.approx(0.9951, abs=1e-3)


def test_arms_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="as many blocks"):
        ratio_of_quantiles([[1.0]], [[1.0], [1.0]], 0.5)


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (Ratio(1.2, 1.1, 1.3), "met"),
        (Ratio(1.4, 1.3, 1.6), "met, within the noise"),
        (Ratio(1.6, 1.4, 1.7), "missed, within the noise"),
        (Ratio(1.8, 1.7, 1.9), "missed"),
    ],
)
def test_a_verdict_says_when_the_noise_could_have_decided(ratio: Ratio, verdict: str) -> None:
    assert ratio.holds(1.5) == verdict
