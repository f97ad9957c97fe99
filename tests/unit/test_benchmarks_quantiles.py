"""The figures of the benchmarks: quantiles, and how far their ratios can be trusted."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quantiles import Ratio, quantile, ratio_of_quantiles


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
