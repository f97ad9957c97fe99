"""The dashboards are what their source says, and Grafana, Prometheus and a reader can do something with them.

Modelled on the rules of Grafana's dashboard-linter, as far as they fit: docs/decisions/0057-dashboards-from-code.md.
"""

import re
import subprocess
from collections import Counter
from itertools import combinations, pairwise

import pytest
import yaml

from localfaas.settings import Settings
from localfaas.tools import Tool, fetch
from monitoring.grafana.source.__main__ import BOARDS, file_name, text
from monitoring.grafana.source.board import TITLES
from monitoring.grafana.source.promql import counted
from tests.support import dashboards
from tests.support.dashboards import (
    GRAFANA,
    METRICS,
    PROJECT,
    documented,
    filled_in,
    labels_in,
    marks,
    metrics_in,
    panels,
    queries,
    values_of,
    variables,
)

COMMITTED = dashboards.boards()
QUERIES = [query for name, board in COMMITTED.items() for query in queries(name, board)]
PANELS = [(name, panel) for name, board in COMMITTED.items() for panel in panels(board)]
KINDS = {"timeseries", "stat", "gauge", "bargauge", "table", "heatmap", "text"}
UNITS = {"s", "ms", "reqps", "cps", "cpm", "percentunit", "short", "bytes", "Bps", "currency:CA$"}
"""All of them are Grafana's; the last is its notation for a currency that it has no name for."""
SOURCE = {"type": "prometheus", "uid": "prometheus"}
STANDARD = re.compile(
    r"up|ALERTS|ALERTS_FOR_STATE|scrape_\w+|process_\w+|python_\w+|go_\w+|prometheus_\w+|alertmanager_\w+"
    r"|container_(cpu_usage_seconds_total|memory_working_set_bytes)|kube_pod_container_status_restarts_total"
)
"""What Prometheus makes itself, its client libraries expose, and a cluster's own exporters (cAdvisor, kube-state-metrics)."""


def known() -> set[str]:
    return documented(METRICS.read_text())


def recorded() -> set[str]:
    rules = (PROJECT / "monitoring" / "prometheus" / "rules").glob("*.yml")
    groups = [group for path in rules for group in yaml.safe_load(path.read_text())["groups"]]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def test_committed_json_is_what_the_source_makes():
    made = {file_name(board): text(board) for board in BOARDS}
    kept = {path.name: path.read_text() for path in GRAFANA.glob("dashboards/*.json")}
    assert kept == made, "run `make dashboards`"


@pytest.mark.parametrize("name", COMMITTED)
def test_dashboard_says_what_it_is_and_leads_to_the_others(name):
    board = COMMITTED[name]
    assert (board["uid"], board["title"]) == (f"magasin-{name}", TITLES[f"magasin-{name}"])
    assert board["description"].endswith(".")
    assert (board["tags"], board["refresh"], board["time"]["to"]) == (["magasin"], "10s", "now")
    others = {f"/d/{uid}" for uid in TITLES} - {f"/d/{board['uid']}"}
    assert {link["url"] for link in board["links"]} == others


@pytest.mark.parametrize("name", COMMITTED)
def test_every_row_asks_a_question_and_the_first_shows_rate_errors_and_duration(name):
    everything = COMMITTED[name]["panels"]
    rows = [place for place, panel in enumerate(everything) if panel["type"] == "row"]
    assert rows[0] == 0
    assert all(everything[place]["title"].endswith("?") for place in rows)
    first = " ".join(panel["title"] for panel in everything[1 : rows[1]])
    assert all(word in first for word in ("Rate", "Errors", "Duration")), first
    assert all(following - place > 1 for place, following in pairwise(rows)), "an empty row"


@pytest.mark.parametrize("name", COMMITTED)
def test_panels_have_ids_and_places_of_their_own_and_fill_their_lines(name):
    everything = COMMITTED[name]["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert len({panel["title"] for panel in everything}) == len(everything)
    places = [panel["gridPos"] for panel in everything]
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    width = Counter()
    for place in places:
        width[place["y"]] += place["w"]
    assert set(width.values()) == {24}, width


def test_every_panel_is_explained_and_of_a_kind_that_the_local_page_draws():
    for name, panel in PANELS:
        assert panel["type"] in KINDS, (name, panel["title"])
        assert panel["title"], name
        assert re.search(r"\w.{20,}\.$", panel["description"]), (name, panel["title"])


def test_every_panel_with_figures_has_a_unit_that_grafana_knows_and_begins_at_nought():
    for name, panel in PANELS:
        if panel["type"] == "text":
            continue
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] in UNITS, (name, panel["title"])
        difference = panel["title"].startswith("Added by")
        assert defaults.get("min") == (None if difference else 0), (name, panel["title"])
        if panel["type"] == "table":
            overrides = panel["fieldConfig"]["overrides"]
            units = {one["matcher"]["options"]: one["properties"][0]["value"] for one in overrides}
            assert set(units.values()) <= UNITS
            assert set(units) == {target["legendFormat"] for target in panel["targets"]}, panel["title"]


def test_everything_is_asked_of_the_one_data_source():
    for board in COMMITTED.values():
        assert all(one["datasource"] == SOURCE for one in board["templating"]["list"])
        assert all(one["datasource"] == SOURCE for one in board["annotations"]["list"])
    for _, panel in PANELS:
        assert panel["type"] == "text" or panel["datasource"] == SOURCE
        assert all(target["datasource"] == SOURCE for target in panel.get("targets", []))
    file = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())
    assert [(one["type"], one["uid"]) for one in file["datasources"]] == [tuple(SOURCE.values())]


def test_every_series_has_a_name():
    for query in QUERIES:
        assert query.legend.strip(), query
        assert query.legend != "__auto", query


@pytest.mark.parametrize("name", COMMITTED)
def test_variables_that_are_used_are_there_and_all_of_them_are_used(name):
    board = COMMITTED[name]
    asked = [query.expr for query in queries(name, board)] + list(variables(board).values())
    used = {word for expr in asked for word in re.findall(r"\$([a-z]\w*)", expr)}
    assert used == set(variables(board))


def test_rates_are_taken_over_an_interval_that_follows_the_scrape():
    bare = [re.sub(r'"[^"]*"', "", query.expr) for query in QUERIES]
    ranges = {found for expr in bare for found in re.findall(r"\[([^\]]*)\]", expr)}
    assert ranges == {"$__rate_interval", "$__range"}


def test_every_query_names_series_that_are_documented():
    names = known()
    asked = [(str(query), query.expr) for query in QUERIES]
    asked += [(f"{name} | mark", expr) for name, board in COMMITTED.items() for expr in marks(board)]
    asked += [
        (f"{name} | ${variable}", values_of(query)[0])
        for name, board in COMMITTED.items()
        for variable, query in variables(board).items()
    ]
    missing = {
        (metric, where)
        for where, expr in asked
        for metric in metrics_in(expr) - names
        if not STANDARD.fullmatch(metric)
    }
    assert not missing


def test_recorded_series_are_recorded():
    asked = {name for query in QUERIES for name in metrics_in(query.expr) if ":" in name}
    assert asked <= recorded()


def test_what_one_machine_alone_can_tell_has_an_alternative_or_an_explanation():
    for name, panel in PANELS:
        asked = " ".join(target["expr"] for target in panel.get("targets", []))
        if "localfaas_" in asked:
            assert "cluster" in panel["description"], (name, panel["title"])


@pytest.fixture
def promtool(tmp_path):
    """Runs promtool with these arguments; what it says, and whether it is content."""
    binary = fetch(Tool("promtool", "prometheus", ("promtool",)), Settings(project=PROJECT, state=tmp_path))

    def run(*arguments):
        told = subprocess.run(
            [binary, *arguments], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
        )
        return told.returncode == 0, told.stdout + told.stderr

    return run


def test_prometheus_can_read_every_query(promtool, tmp_path):
    exprs = [query.expr for query in QUERIES]
    exprs += [expr for board in COMMITTED.values() for expr in marks(board)]
    rules = [{"record": f"query:{place}", "expr": filled_in(expr)} for place, expr in enumerate(exprs)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    content, told = promtool("check", "rules", str(file))
    assert content, told


def test_what_was_counted_in_the_time_shown_is_counted_to_the_unit(promtool, tmp_path):
    expr = filled_in(counted("sold_total", by="store"))
    series = {
        "before": ("5x60 6x60 8x120", 3),  # was there before the 900 s that are shown
        "born": ("_x120 1x60 3x60", 3),  # its first sale is one of those that are counted
        "idle": ("7x240", 0),
    }
    case = {
        "interval": "5s",
        "input_series": [
            {"series": f'sold_total{{store="{store}"}}', "values": re.sub(r"(\d)x", r"\1+0x", values)}
            for store, (values, _) in series.items()
        ],
        "promql_expr_test": [
            {
                "expr": expr,
                "eval_time": "1200s",
                "exp_samples": [
                    {"labels": f'{{store="{store}"}}', "value": value} for store, (_, value) in series.items()
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": [], "tests": [case]}))
    content, told = promtool("test", "rules", "test.yml")
    assert content, told


def test_names_of_series_are_found_in_a_query():
    assert metrics_in('sum by (function) (rate(a_total{x="b_total"}[$__rate_interval])) > 0') == {"a_total"}
    assert metrics_in("a:b:c1m - on (x) group_left () d or vector(0) * 1e3") == {"a:b:c1m", "d"}
    assert metrics_in('{__name__=~"a_total|b_total"}') == {"a_total", "b_total"}
    assert metrics_in("min_over_time(a[$__range]) unless a offset $__range") == {"a"}
    assert documented("| `a_seconds` | histogram | `x` | y |\n| `b` {c} | gauge | | y |") == {
        "a_seconds", "a_seconds_bucket", "a_seconds_sum", "a_seconds_count", "b",
    }  # fmt: skip


def test_labels_of_a_legend_are_kept_by_its_query():
    for query in QUERIES:
        kept = re.findall(r"by \(([^)]*)\)", query.expr)
        if kept and "label_replace" not in query.expr:
            assert labels_in(query.legend) <= set(re.split(r",\s*", ", ".join(kept))), query
