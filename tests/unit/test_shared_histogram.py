"""The histogram of our own is exposed, to the letter, as prometheus_client's is."""

from __future__ import annotations

import random
import threading

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from functions.shared.histogram import QuickHistogram

BUCKETS = (0.0005, 0.01, 1, 10)


def test_it_says_what_prometheus_clients_says() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    quick = QuickHistogram("x_seconds", "Time.", ["a", "b"], BUCKETS, registry=ours)
    usual = Histogram("x_seconds", "Time.", ["a", "b"], buckets=BUCKETS, registry=theirs)
    chance = random.Random(0)
    values = [0.0, 0.0005, 0.01, 1, 10, 11, *(chance.expovariate(1) for _ in range(500))]
    for value in values:
        labels = ("x", chance.choice('yz"\\\n'))
        quick.observe(labels, value)
        usual.labels(*labels).observe(value)
    assert generate_latest(ours) == generate_latest(theirs)


def test_threads_lose_no_value() -> None:
    registry = CollectorRegistry()
    quick = QuickHistogram("x_seconds", "Time.", ["a"], BUCKETS, registry=registry)

    def work() -> None:
        for _ in range(2_000):
            quick.observe(("x",), 1.0)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.get_sample_value("x_seconds_count", {"a": "x"}) == 16_000
