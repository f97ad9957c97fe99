"""docs/metrics.md says of the function gateway, localfaas and the database's own queries just what they expose."""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml

from localfaas import gateway_metrics, own_metrics
from localfaas.monitoring import postgres_exporter, prometheus
from localfaas.settings import Settings
from tests.support.exposition import exposed_rows
from tests.support.metrics_table import Row, differences, documented
from tests.unit.test_gateway_metrics import CART, STATS

PROJECT = Path(__file__).parents[2]
QUERIES = yaml.safe_load((PROJECT / postgres_exporter.QUERIES).read_text())


def collected(name: str) -> str:
    """The name of a series of the exporter's as Prometheus keeps it."""
    for rule in prometheus.RELABELLED["postgres"]:
        if rule.get("target_label") == "__name__" and (found := re.fullmatch(str(rule["regex"]), name)):
            return found[1]
    return name


def of_our_own_queries() -> set[Row]:
    found = set()
    for namespace, query in QUERIES.items():
        columns = {column: of for one in query["metrics"] for column, of in one.items()}
        labels = tuple(column for column, of in columns.items() if of["usage"] == "LABEL")
        found |= {
            Row(collected(f"{namespace}_{column}"), of["usage"].lower(), labels, of["description"])
            for column, of in columns.items()
            if of["usage"] != "LABEL"
        }
    return found


def test_gateway_and_localfaas_have_a_row_for_each_metric(tmp_path: Path) -> None:
    own = own_metrics.render(Settings(project=tmp_path, state=tmp_path), {"cart": 1}, {"cart-1": os.getpid()})
    exposed = exposed_rows(gateway_metrics.render(STATS, [CART]) + own)
    assert differences(documented("Function gateway and localfaas"), exposed) == ""


def test_our_own_queries_have_a_row_for_each_metric() -> None:
    rows = documented("PostgreSQL")
    own = of_our_own_queries()
    assert differences([row for row in rows if not row.name.startswith("pg_") or row in own], own) == ""


def test_our_own_queries_ask_views_and_statistics_alone() -> None:
    for name, query in QUERIES.items():
        (source,) = re.findall(r"FROM (\S+)", query["query"])
        assert source.startswith("monitoring.") == name.startswith("shop_"), name


def test_rows_are_read_from_an_exposition() -> None:
    text = (
        '# HELP a_total It counts.\n# TYPE a_total counter\na_total{x="1",y="b\\"}"} 3\n'
        '# HELP h Time.\n# TYPE h histogram\nh_bucket{le="1",z=""} 1\nh_sum{z=""} 1\nh_count{z=""} 1\n'
        "# HELP g None.\n# TYPE g gauge\ng 1\n# HELP never Nothing.\n# TYPE never gauge\n"
    )
    assert exposed_rows(text) == {
        Row("a_total", "counter", ("x", "y"), "It counts."),
        Row("h", "histogram", ("z",), "Time."),
        Row("g", "gauge", (), "None."),
    }
