"""The guided tour's figures and pictures, and the claims that it makes of them."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from benchmarks.http_client import Reply
from tests.load import scenario
from tests.load.demo import __main__ as command
from tests.load.demo.buying import BUYERS, bought_or_sold_out, bought_or_under_way
from tests.load.demo.drawing import Claim, Replicas, View, explanations, frame, line, sparkline, table_of
from tests.load.demo.outcome import SUM, Outcome, of_requests
from tests.load.demo.record import Answer, Record, Second, Sum, Window, nearest_rank
from tests.load.demo.scenes import SCENES, no_get_failed, nothing_failed
from tests.load.demo.screens import Lines, draw, without_fonts
from tests.load.demo.visits import PACE, PURCHASE_SECONDS, at, fault_of

PROJECT = Path(__file__).parents[2]


def record(*answers: Answer, began: float = 0.0) -> Record:
    """All of them were sent."""
    made = Record(began)
    for one in answers:
        made.sending(one.scene, one.method)
        made.add(one)
    return made


def answer(moment: float, status: int = 200, milliseconds: float = 1.0, **more: str) -> Answer:
    rest = {"scene": "calm", "name": "GET /api/cart", "method": "GET"} | more
    return Answer(moment=moment, status=status, seconds=milliseconds / 1000, **rest)


# Figures


def test_window_is_of_the_last_seconds():
    seen = record(answer(1), answer(6, 502, 9, fault="502"), answer(8, served_by="cart-1"), answer(10))
    assert seen.window(10, seconds=5) == Window(0.6, 1.0, 9.0, {200: 2, 502: 1}, {"cart-1": 1}, 1)


def test_what_was_not_answered_has_no_time_and_is_no_answer():
    window = record(answer(9, 0, 20_000, fault="no answer"), answer(9.5)).window(10, seconds=5)
    assert (window.rate, window.p99_ms, window.statuses, window.failed) == (0.2, 1.0, {0: 1, 200: 1}, 1)


def test_rate_is_of_the_time_that_there_has_been():
    assert record(answer(101), answer(102), began=100).window(102, seconds=5).rate == 1.0
    assert record(began=100).window(102) == Window()


def test_each_second_counts_for_itself():
    seen = record(answer(10.1), answer(10.9, fault="x"), answer(12.0), answer(13.2), began=9.5)
    assert seen.seconds(13.5, 60) == [Second(), Second(2, 1), Second(), Second(1)]
    assert seen.seconds(13.5, 2) == [Second(), Second(1)]


def test_scenes_add_up_by_method():
    lost = answer(2, 0, scene="kill", method="POST", name="POST /api/cart/items", fault="no answer")
    sums = record(answer(1), answer(2, 409), lost).sums()
    assert list(sums) == ["calm", "kill"]
    assert (sums["calm"].sent, sums["calm"].statuses) == (Counter(GET=2), Counter({200: 1, 409: 1}))
    assert (sums["kill"].unanswered, sums["kill"].failed) == (Counter(POST=1), Counter(POST=1))
    assert sums["kill"].examples == ["POST /api/cart/items: no answer"]


def test_request_that_gets_lost_is_missed():
    seen = record(answer(1), answer(2))
    seen.sending("calm", "GET")
    told, at_edge = of_requests(seen.sums(), 2)
    assert (told, at_edge.holds) == (
        Claim("requests: 3 sent = 2 answered + 0 not answered", holds=False),
        True,
    )


def test_edge_that_has_counted_less_than_was_answered_is_wrong():
    sums = record(answer(1), answer(2)).sums()
    assert [claim.holds for claim in of_requests(sums, 1)] == [True, False]
    assert [claim.holds for claim in of_requests(sums, 5)] == [True, True]
    assert "3 of them not answers to the tour" in of_requests(sums, 5)[1].text


def test_old_answers_are_forgotten_and_their_sums_are_not():
    seen = record(*(answer(moment) for moment in range(200)))
    assert len(seen.seconds(200, 300)) == 200
    assert sum(one.answers for one in seen.seconds(200, 300)) == 91
    assert seen.sums()["calm"].answered.total() == 200


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 2), (0.99, 4), (0.25, 1), (0.0, 1)])
def test_quantile_is_a_sample(share: float, wanted: float):
    assert nearest_rank([1, 2, 3, 4], share) == wanted


# Claims


def its(**methods: Sequence[str]) -> Sum:
    """A scene with these answers by method; each text that is not empty is a fault."""
    answers = [
        answer(1, 502 if fault else 200, method=method, fault=fault)
        for method, faults in methods.items()
        for fault in faults
    ]
    return record(*answers).sum_of("calm")


def test_one_failure_or_no_answer_at_all_is_not_as_told():
    assert nothing_failed(its(GET=["", ""], POST=[""])).holds
    assert not nothing_failed(its(GET=["", ""], POST=["502"])).holds
    assert not nothing_failed(Sum()).holds


def test_a_killed_replica_may_cost_a_post_and_no_get():
    claim = no_get_failed(its(GET=["", ""], POST=["", "502"]))
    assert claim.holds
    assert claim.text.endswith("of 2 that change something 1 failed")
    assert not no_get_failed(its(GET=["", "502"], POST=[""])).holds
    assert not no_get_failed(its(POST=[""])).holds


def test_tour_is_as_told_when_every_claim_holds_and_the_sum_was_made():
    true, false = Claim("so", holds=True), Claim("not so", holds=False)
    assert Outcome({"calm": [true], SUM: [true]}).as_told
    assert not Outcome({"calm": [true]}).as_told
    assert not Outcome({"calm": [true, false], SUM: [true]}).as_told
    assert json.loads(json.dumps(Outcome({"calm": [false]}).as_json()))["claims"] == [
        {"scene": "calm", "claim": "not so", "holds": False}
    ]


def reply(status: int, **body: object) -> Reply:
    return Reply(status, b"HTTP/1.1 200 OK", json.dumps(body).encode(), 0.001)


def test_answers_are_held_to_the_scenario():
    ask, cents = scenario.load().actions["cart"][1], 1_999
    values = {"sku": "A", "cart_token": "t", "cart_cents": cents}
    right = {"items": [{"sku": "A"}], "prices_checked": True, "total_cents": cents}
    assert fault_of(ask, values, reply(200, **right)) == ""
    for wrong in ({"total_cents": 1}, {"prices_checked": False}, {"items": []}, {"items": None}):
        assert fault_of(ask, values, reply(200, **(right | wrong)))
    assert fault_of(ask, values, reply(503, **right)).startswith("503 ")


def test_word_that_was_searched_for_has_to_be_found():
    ask = scenario.load().actions["search"][0]
    found = reply(200, items=[{"sku": "A", "name": "Lantern"}])
    assert fault_of(ask, {"word": "Lantern", "query": "Lantern"}, found) == ""
    assert "Heart" in fault_of(ask, {"word": "Heart", "query": "Heart"}, found)


@pytest.mark.parametrize(("path", "value"), [("a.1.b", 2), ("a.2", None), ("a.x", None), ("a.1.b.c", None)])
def test_place_in_a_document(path: str, value: object):
    assert at({"a": [0, {"b": 2}]}, path) == value


def test_only_what_a_buyer_may_be_told_is_right():
    waiting, sold_out = reply(409, code="idempotency_key_in_flight"), reply(409, code="insufficient_stock")
    assert (
        bought_or_under_way(reply(201)) == bought_or_under_way(waiting) == bought_or_sold_out(sold_out) == ""
    )
    assert bought_or_under_way(sold_out)
    assert bought_or_sold_out(reply(429))
    assert bought_or_sold_out(reply(500))


def test_tour_stays_below_what_the_edge_allows_one_address():
    kong = yaml.safe_load((PROJECT / "kong" / "kong.yml").read_text())

    def limit(plugins: Sequence[dict], unit: str) -> int:
        return next(one["config"][unit] for one in plugins if one["name"] == "rate-limiting")

    routes = [route for service in kong["services"] for route in service["routes"]]
    checkouts = next(route["plugins"] for route in routes if route["name"] == "checkout-post")
    assert limit(kong["plugins"], "second") / 2 > PACE
    assert limit(checkouts, "minute") / 2 > 60 / PURCHASE_SECONDS
    assert limit(checkouts, "minute") > 60 / PURCHASE_SECONDS + BUYERS + 10


# Pictures


@pytest.mark.parametrize(
    ("values", "wanted"),
    [([], ""), ([0, 0], "  "), ([0, 1, 100], " ▁█"), ([5, 5], "██"), ([1, 2, 3, 4], "▃▅▇█")],
)
def test_sparkline_tells_little_from_none(values: Sequence[float], wanted: str):
    assert sparkline(values) == wanted


VIEW = View(
    2, 6, "a replica is killed", "One is killed.", [("the dashboard", "http://localhost:8011/d/x")],
    Window(81.4, 2.04, 1234.5, {0: 1, 200: 405}, {"cart-1": 30, "products-1": 9}, 1),
    [Second(80), Second(40, 1)], its(GET=["", "502"]), {"cart": Replicas(2, 3), "products": Replicas(1, 1)},
    ["kill -9 [4711]"],
)  # fmt: skip


def shown(view: View, **options: object) -> str:
    console = Console(file=io.StringIO(), width=90, **options)
    console.print(frame(view))
    return console.file.getvalue()


def test_frame_has_every_figure():
    text = shown(VIEW)
    for part in (
        "2 of 6: a replica is killed", "http://localhost:8011/d/x", "81/s", "p50 2.0 ms", "p99 1,234 ms",
        "none: 1, 200: 405", "1 of 2 in this scene", "cart:2/3", "products:1", "cart-1:30", "kill -9 [4711]",
    ):  # fmt: skip
        assert part in text, text
    assert "products-1" not in text
    assert "\x1b" not in text


def test_second_with_a_failure_is_red():
    coloured = shown(VIEW, force_terminal=True, color_system="standard")
    assert "\x1b[32m█" in coloured
    assert "\x1b[31m▅" in coloured


def test_frame_of_nothing_invents_no_figure():
    text = shown(View(1, 6, "calm", "Nothing yet."))
    assert "p50 –" in text
    assert "none yet" in text
    assert "not known" in text


def test_line_says_the_same_without_a_terminal():
    assert line(VIEW) == (
        "81 requests/s, p50 2.0 ms, p99 1,234 ms; answers none: 1, 200: 405; failed in this scene 1; "
        "replicas of cart 2 of 3"
    )


def test_lines_have_no_colours_and_are_not_folded():
    console = Console(file=io.StringIO(), width=40, no_color=True, highlight=False)
    lines = Lines(console)
    lines.begin(lambda: replace(VIEW, happens="It is [bold] and long " * 5))
    lines.note("note")
    lines.end([Claim("no GET failed", holds=False)])
    text = console.file.getvalue()
    assert "\x1b" not in text
    assert "[bold]" in text
    assert [part.split(" ")[0] for part in text.splitlines() if not part.startswith("  ")] == ["2"]
    assert "  ✗ no GET failed\n" in text


def test_table_adds_the_scenes_up():
    console = Console(file=io.StringIO(), width=90)
    console.print(table_of({"calm": its(GET=["", ""]), "kill": its(GET=[""], POST=["502"])}))
    rows = [row.split() for row in console.file.getvalue().splitlines()]
    assert rows[1:] == [["calm", *"2200"], ["kill", *"2201"], ["all", *"4401"]]


def test_failures_are_explained_and_expected_answers_are_not():
    failed = record(answer(1, 502, fault="502 lost"), answer(1, 503)).sum_of("calm")
    assert explanations(failed)[0] == "GET /api/cart: 502 lost"
    assert [text[:3] for text in explanations(failed)[1:]] == ["502"]
    assert explanations(record(answer(1, 503)).sum_of("calm")) == []


def test_picture_fetches_nothing(tmp_path: Path):
    draw(tmp_path / "demo.svg", VIEW)
    svg = (tmp_path / "demo.svg").read_text()
    assert svg.startswith("<svg")
    assert "@font-face" not in svg
    assert "cdnjs" not in svg
    assert "replica" in svg


def test_fonts_are_left_out_and_nothing_else():
    svg = "<style>\n@font-face {\n a: url(x);\n}\n@font-face {\n b\n}\n.c { d: e }</style>"
    assert without_fonts(svg) == "<style>\n.c { d: e }</style>"


# The command


def test_every_scene_has_another_name():
    assert len({scene.name for scene in SCENES}) == len(SCENES)


def test_without_a_platform_it_says_make_up(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    assert command.main(["--fast"]) == command.NOT_RUN
    assert "`make up`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--scene", "tragedy"], ["--seconds", "0"], ["--seconds", "3", "--fast"]]
)
def test_wrong_usage_is_refused(arguments: list[str], capsys):
    with pytest.raises(SystemExit) as left:
        command.main(arguments)
    assert left.value.code == command.NOT_RUN
    assert arguments[0] in capsys.readouterr().err
