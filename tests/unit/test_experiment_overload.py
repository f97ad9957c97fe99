"""The experiment overload: what piles up, is told late, breaks, or does not end is found."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from requests import Session

from localfaas.edge.clusters import AT_ONCE, TO_GATEWAY, WAITING
from localfaas.settings import Settings
from tests.experiments.capacity.subjects import Part
from tests.experiments.common.answers import Answers, joined
from tests.experiments.common.driving import Request
from tests.experiments.overload import experiment, watching
from tests.experiments.overload.experiment import (
    AFTER_SECONDS,
    CALM_SECONDS,
    EXPERIMENT,
    FULL,
    load_of,
)
from tests.experiments.overload.plots import draw_overload
from tests.experiments.overload.results import figures, tables, verdicts
from tests.experiments.overload.seen import Seen
from tests.experiments.overload.watching import Held, Told

KNEE, BEGAN, SECONDS = 100.0, 1_000.0, 10.0
ENDED = BEGAN + SECONDS


def block(
    start: float, seconds: float, rate: float, statuses: Sequence[int] = (200,), took: float = 0.02
) -> Answers:
    """Statuses come in turn."""
    count = round(seconds * rate)
    status = np.array([statuses[number % len(statuses)] for number in range(count)])
    zeros = np.zeros(count)
    return Answers(start + np.arange(count) / rate, zeros, zeros + took, status, status == 200)


def seen(
    over: Sequence[int] = (200, 429, 503, 429, 503), *, took: float = 0.02, after: Answers | None = None, in_flight: int = 50,
    held: int = 110, retry_after: str = "1",
) -> Seen:  # fmt: skip
    calm = block(ENDED, AFTER_SECONDS, KNEE / 2) if after is None else after
    answers = joined([block(BEGAN - 4, 4, KNEE / 2), block(BEGAN, SECONDS, 5 * KNEE, over, took), calm])
    looks = [Held(BEGAN - 1, 3, 100), Held(BEGAN + 5, in_flight, held), Held(ENDED + 5, 3, 100)]
    told = [Told(BEGAN + 2, 0.1, 429, retry_after), Told(BEGAN + 3, 0.1, 200, "")]
    return Seen("x", KNEE, 5.0, BEGAN, ENDED, {"x": answers}, {"x": 0.1}, looks, told, 448)


def missed(one: Seen) -> list[str]:
    return [verdict.goal for verdict in verdicts([one]) if verdict.word == "missed"]


def test_an_overload_that_is_borne_meets_all_goals() -> None:
    one = seen()
    assert {verdict.word for verdict in verdicts([one])} == {"met"}
    assert one.useful == pytest.approx(KNEE, rel=0.02)
    assert one.offered == pytest.approx(5 * KNEE, rel=0.02)
    assert "500 a second sent, 5.0 times the knee" in verdicts([one])[0].found


@pytest.mark.parametrize(
    ("one", "word"),
    [
        (seen((200, 429, 503, 429, 503, 429, 503)), "right answers"),
        (seen((200, 429, 504, 503, 429)), "times out or breaks"),
        (seen((200, 429, 0, 503, 429)), "times out or breaks"),
        (seen(took=1.5), "within 1 s"),
        (seen(retry_after=""), "Retry-After"),
        (seen(in_flight=449), "in flight"),
        (seen(held=200), "memory"),
        (
            seen(after=joined([block(ENDED, 6, 50, (503,)), block(ENDED + 6, 3, 50)])),
            "after it all is as before",
        ),
        (
            seen(after=joined([block(ENDED, 6, 50, took=0.2), block(ENDED + 6, 3, 50)])),
            "after it all is as before",
        ),
    ],
)
def test_each_fault_misses_its_goal(one: Seen, word: str) -> None:
    [goal] = [goal for goal in missed(one) if word in goal]
    assert goal


@pytest.mark.parametrize(
    ("one", "word"),
    [(seen(took=1.05), "within 1 s"), (seen(took=0.95), "within 1 s"), (seen(held=155), "memory")],
)
def test_what_is_near_its_bound_cannot_be_told_of_one_run(one: Seen, word: str) -> None:
    [told] = [verdict.word for verdict in verdicts([one]) if word in verdict.goal]
    assert told == "cannot tell"


def test_a_tail_of_the_overload_is_forgiven_for_five_seconds() -> None:
    after = joined([block(ENDED, 3, 50, (503,)), block(ENDED + 3, 6, 50)])
    assert seen(after=after).recovered == pytest.approx(2.98, abs=0.1)
    assert missed(seen(after=after)) == []


def test_one_slow_request_in_a_hundred_is_no_relapse() -> None:
    after = block(ENDED, AFTER_SECONDS, 50)
    slow = replace(after, took=np.where(np.arange(len(after)) % 150 == 149, 0.5, after.took))
    assert seen(after=slow).recovered == 0


def test_a_client_that_was_held_up_once_is_not_the_shops_doing() -> None:
    after = block(ENDED, AFTER_SECONDS, 50)
    late = np.where(after.due > ENDED + 1, 0.127, 0.0)
    assert seen(after=replace(after, late=late)).recovered == 0


def test_an_overload_that_was_not_sent_decides_nothing() -> None:
    assert {verdict.word for verdict in verdicts([replace(seen(), knee=2 * KNEE)])} == {"cannot tell"}


def test_without_a_knee_nothing_is_decided_and_no_share_is_told() -> None:
    one = replace(seen(), knee=0.0)
    assert {verdict.word for verdict in verdicts([one])} == {"cannot tell"}
    assert all("no knee" in verdict.found for verdict in verdicts([one]))
    assert not any("share of the knee" in figure.name for figure in figures([one]))


def test_who_bought_a_moment_ago_is_not_broken() -> None:
    assert seen((200, 429, 409, 503, 429)).late == 0


def test_calm_overload_and_calm_follow_each_other_in_every_part() -> None:
    parts = [
        Part("looking", [(0.9, Request("http://x/api/products"))]),
        Part("buying", [(0.1, Request("http://x/api/checkout"))], 1.0),
    ]
    blocks = load_of(parts, 100.0, 15.0, 0)
    assert [round(one.rate or 0) for one in blocks] == [45, 450, 45, 5, 50, 5]
    assert [one.start for one in blocks][:3] == [0.3, 0.3 + CALM_SECONDS, 0.3 + CALM_SECONDS + 15]


def test_what_stands_in_line_takes_no_connection_from_what_is_still_to_be_sent() -> None:
    """At a knee of 17 there were 73 for all, 64 purchases waited, and 19 a second were sent instead of 85."""
    buying = Part("checkout", [(1.0, Request("http://x/function/checkout"))], 1.0)
    _, over, _ = load_of([buying], 17.0, 60.0, 64)
    assert (over.connections or 0) - 64 >= 85 * experiment.REFUSED_WITHIN
    _, over, _ = load_of([buying], 1_640.0, 60.0, 64)
    assert over.connections == experiment.MOST_OPEN + 30


@pytest.mark.parametrize(
    ("function", "node", "name"),
    [
        ("", "edge", "http.edge.downstream_rq_active"),
        ("sales", "gateway", "cluster.sales.upstream_rq_active"),
    ],
)
def test_what_is_in_flight_is_read_where_it_is_asked_and_not_taken_for_nothing(
    function: str, node: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, told = Settings(tmp_path, tmp_path), {f"^{name}$": f"{name}: 65\n"}

    def answered(socket: Path, _method: str, path: str) -> str:
        assert socket == settings.envoy_admin_socket(node)
        return told.get(path.partition("filter=")[2], "")

    monkeypatch.setattr(watching, "admin_request", answered)
    assert watching.in_flight(settings, function) == 65
    told.clear()
    with pytest.raises(RuntimeError, match="does not count"):
        watching.in_flight(settings, function)


def test_a_function_may_have_as_many_as_its_replicas_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = SimpleNamespace(describe=lambda _: {"envVars": {"max_inflight": "64"}}, close=lambda: None)
    monkeypatch.setattr(experiment, "gateway_client", lambda _: client)
    monkeypatch.setattr(experiment, "replicas_of", lambda _: {"sales": [1, 2], "cart": [3]})
    settings = Settings(tmp_path, tmp_path)
    assert experiment.most_in_flight(settings, "sales") == 128
    assert experiment.most_in_flight(settings) == TO_GATEWAY + AT_ONCE + WAITING
    assert any("in flight" in goal for goal in missed(replace(seen(in_flight=129), limit=128)))


def test_whoever_looks_at_headers_asks_with_the_values_of_the_first_turn() -> None:
    asked: list[tuple[str, object]] = []

    def request(_: str, url: str, *, data: object, **__: object) -> SimpleNamespace:
        asked.append((url, data))
        return SimpleNamespace(status_code=429, headers={"Retry-After": "1"})

    session = cast(Session, SimpleNamespace(request=request))
    quoted = Request("http://x/$sku", "POST", body='["$sku"]', turns=[{"sku": "A"}, {"sku": "B"}])
    assert watching.told(session, quoted).retry_after == "1"
    watching.told(session, Request("http://x/"))
    assert asked == [("http://x/A", '["A"]'), ("http://x/", None)]


def test_each_subject_is_a_run() -> None:
    steps = EXPERIMENT.steps({"subjects": ["journey", "products"], "seconds": 15.0})
    assert [step.name for step in steps] == ["journey", "products"]


def test_the_short_form_overloads_what_is_calculated_and_what_is_bought_for_as_long_as_the_long_one() -> None:
    short, full = (EXPERIMENT.chosen(Namespace(subjects="", full=full)) for full in (False, True))
    assert short == {"subjects": ["sales", "checkout"], "seconds": 60.0}
    assert full == {"subjects": list(FULL), "seconds": 60.0}
    assert sum(step.seconds for step in EXPERIMENT.steps(short)) < 200


def test_it_is_shown(tmp_path: Path) -> None:
    one = seen()
    _, path = draw_overload(tmp_path / "x.png", one)
    assert path.stat().st_size > 10_000
    [table] = tables([one])
    assert all(len(row) == len(table.head) for row in table.rows)
    assert len(figures([one])) == 7
