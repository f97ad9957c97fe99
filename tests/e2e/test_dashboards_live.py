"""Every query of every dashboard has an answer from the platform's own Prometheus, once somebody has shopped."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support import dashboards
from tests.support.dashboards import Asked, labels_in
from tests.support.watching import BOARDS, QUERIES, WITHOUT_DATA, Prometheus

pytestmark = pytest.mark.e2e


def test_every_query_of_every_panel_has_data(watched: Prometheus):
    empty = [str(query) for query in QUERIES if not watched.series(query)]
    assert [query for query in empty if query not in WITHOUT_DATA] == []


def test_exceptions_are_queries_that_there_are():
    assert set(WITHOUT_DATA) <= {str(query) for query in QUERIES}


def test_every_series_has_a_name_of_its_own_on_its_panel(watched: Prometheus):
    for query in QUERIES:
        found = watched.series(query)
        if query.kind == "table":
            continue  # its rows have their labels in columns
        names = Counter(tuple(one.get(label) for label in sorted(labels_in(query.legend))) for one in found)
        assert all(all(name) for name in names), (str(query), names)
        assert set(names.values()) <= {1}, (str(query), names)


@pytest.mark.parametrize("name", BOARDS)
def test_every_variable_has_values_to_choose_from(name: str, watched: Prometheus):
    for variable, query in dashboards.variables(BOARDS[name]).items():
        assert watched.values(query), variable


def test_marks_are_queries_that_prometheus_answers(watched: Prometheus):
    for name, board in BOARDS.items():
        for place, expr in enumerate(dashboards.marks(board)):
            watched.series(Asked(name, "mark", str(place), expr, "mark", instant=False))
