"""Section 11: retries, health, balance. Most of it is a story, told in test_edge_failures.py; here is what fits a row."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.edge import Upstream
from tests.support.observed import Differs, HeldBy, Row, Site, Table, cases
from tests.support.waiting import wait_for

SECTION = 11
HERE = "contract/kong_observed/test_11_failures.py"
STORIES = "contract/test_edge_failures.py"
CONFIG = """
_format_version: "3.0"
services:
- {name: thrice, url: "http://127.0.0.1:$UPSTREAM", retries: 2, read_timeout: 100, routes: [{name: thrice, paths: [/thrice]}]}
- {name: replicas, host: replicas, routes: [{name: replicas, paths: [/replicas]}]}
- {name: all-or-most, host: all-or-most, retries: 0, connect_timeout: 200, routes: [{name: all-or-most, paths: [/all-or-most]}]}
upstreams:
- name: replicas
  targets: [{target: "cart.openfaas-fn:8000", weight: 100}, {target: "127.0.0.1:$UPSTREAM", weight: 100}]
- name: all-or-most
  targets: [{target: "127.0.0.1:$UPSTREAM"}, {target: "127.0.0.1:1"}, {target: "127.0.0.1:2"}]
  healthchecks:
    threshold: 60
    active: {type: tcp, healthy: {interval: 0.1, successes: 1}, unhealthy: {interval: 0.1, tcp_failures: 1}}
"""
TABLES = [
    Table(
        CONFIG,
        {
            "11.1 a refused connection is tried elsewhere, whatever the method": [HeldBy(STORIES, "test_refused_post_goes_to_another_target")],
            "11.2 a lost connection is tried again where that is safe": [HeldBy(HERE, "test_repeats_what_may_be_repeated")],
            "11.3 so is a read timeout": [HeldBy(HERE, "test_repeats_what_may_be_repeated")],
            "11.4 a status is never tried again": [
                Row("/thrice", status, given={"status": status}, sees="/") for status in (500, 502, 503, 504)
            ] + [HeldBy(HERE, "test_status_is_an_answer")],
            "11.5 a killed target loses no GET": [HeldBy(STORIES, "test_killing_one_of_three_targets_loses_no_get")],
            "11.6 a target that refuses leaves and returns": [HeldBy(STORIES, "test_dead_target_leaves_and_returns")],
            "11.7 a target that fails leaves where its status counts": [HeldBy(STORIES, "test_failing_status_takes_a_target_out_where_it_counts")],
            "11.8 passive checks count the listed statuses": [HeldBy(STORIES, "test_passive_check_counts_the_listed_statuses"), Differs("passive only")],
            "11.9 a new target": [Differs("a new target")],
            "11.10 what a probe sends": [Differs("a probe")],
            "11.11 below the threshold nothing is served": [HeldBy(HERE, "test_below_the_threshold_nothing_is_served")],
            "11.12 a target's health cannot be set": [Differs("setting a target's health")],
            "11.13 round-robin is exact": [HeldBy(STORIES, "test_round_robin_is_exact")],
            "11.14 weights share, zero takes none": [HeldBy(STORIES, "test_weights_share_and_zero_takes_none")],
            "11.15 least-connections avoids the busy target": [HeldBy(STORIES, "test_least_connections_avoids_the_busy_target"), Differs("`latency`")],
            "11.16 hashing keeps a key on a target": [HeldBy(STORIES, "test_same_key_goes_to_the_same_target"), Differs("keys fall on other targets"),
                                                       Differs("absent without fallback")],
            "11.17 hashing on a cookie sets it": [HeldBy(STORIES, "test_hashing_on_a_cookie_sets_it")],
            "11.18 a weight counts for each address behind a name": [HeldBy(HERE, "test_weight_counts_for_each_address")],
        },
    )
]  # fmt: skip


@pytest.mark.parametrize(("config", "row"), cases(TABLES))
def test_failure_is_met_as_kong_meets_it(site: Site, config: str, row: Row) -> None:
    site.check(config, row)


@pytest.mark.parametrize(("behaviour", "status"), [("reset", 502), ("slow:0.25", 504)])
@pytest.mark.parametrize(
    ("method", "attempts"),
    [("GET", 3), ("HEAD", 3), ("PUT", 3), ("DELETE", 3), ("OPTIONS", 3), ("POST", 1), ("PATCH", 1)],
)
def test_repeats_what_may_be_repeated(
    site: Site, method: str, attempts: int, behaviour: str, status: int
) -> None:
    site.load(CONFIG)
    site.upstream.calm()
    site.upstream.behaviour = behaviour
    assert site.edge.send(method, "/thrice").status == status
    wait_for(lambda: len(site.upstream.seen) == attempts, what=f"{attempts} attempts")


def test_status_is_an_answer(site: Site) -> None:
    site.load(CONFIG)
    site.upstream.calm()
    site.upstream.status = 503
    assert site.edge.get("/thrice").status == 503
    assert len(site.upstream.seen) == 1


def test_weight_counts_for_each_address(site: Site) -> None:
    site.load(CONFIG)
    site.upstream.calm()
    replicas = [Upstream() for _ in range(2)]
    try:
        site.edge.edge.update_membership({"cart": [("127.0.0.1", server.server_port) for server in replicas]})

        def shares() -> Counter[int]:
            return Counter(site.edge.get("/replicas").json["port"] for _ in range(30))

        wait_for(lambda: set(shares().values()) == {10}, 5, "three equal shares")
    finally:
        site.edge.edge.update_membership({})
        for server in replicas:
            server.stop()


def test_below_the_threshold_nothing_is_served(site: Site) -> None:
    site.load(CONFIG)
    site.upstream.calm()
    wait_for(lambda: site.edge.get("/all-or-most").status == 503, 5, "too few healthy targets")
    assert site.edge.get("/all-or-most").json["message"] == "failure to get a peer from the ring-balancer"
