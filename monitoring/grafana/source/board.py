"""A dashboard: what it is called, what may be chosen on it, and its questions, each a row of panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from .panels import DATASOURCE, Panel

TITLES = {
    "magasin-overview": "Overview",
    "magasin-edge": "Edge and gateway",
    "magasin-shop": "Shop",
    "magasin-database": "Database",
    "magasin-autoscaling": "Autoscaling",
    "magasin-experiments": "Experiments",
}
"""All dashboards by uid, in the order in which each links to the others."""

TAG = "magasin"
REFRESH = "10s"
PANELS_PER_ROW = 100


@dataclass(frozen=True)
class Row:
    """One question, and the panels that answer it, left to right; their widths fill lines of 24."""

    question: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Choice(Builder[models.VariableModel]):
    """A variable: the values that a label has. Any number of them may be chosen, all at first."""

    name: str
    label: str
    query: str

    def build(self) -> models.VariableModel:
        every = models.VariableOption(selected=True, text=["All"], value=["$__all"])
        variable = builders.QueryVariable(self.name).label(self.label).datasource(DATASOURCE)
        variable.query({"query": self.query, "refId": f"{self.name}-values"})
        variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        variable.sort(models.VariableSort.ALPHABETICAL_ASC)
        return variable.multi(True).include_all(True).all_value(".*").current(every).build()


@dataclass(frozen=True)
class Mark(Builder[models.AnnotationQuery]):
    """A moment, or a stretch of time, that is marked on all panels while `expr` has series."""

    name: str
    expr: str
    title: str
    colour: str

    def build(self) -> models.AnnotationQuery:
        return _Marked(self)


class _Marked(models.AnnotationQuery):
    """An annotation with the words beside it, which Prometheus' data source reads and the SDK's model does not have."""

    def __init__(self, mark: Mark) -> None:
        super().__init__(mark.name, DATASOURCE, enable=True, icon_color=mark.colour, expr=mark.expr)
        self._title = mark.title

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "titleFormat": self._title, "textFormat": "", "step": "5s"}


@dataclass(frozen=True)
class Board:
    uid: str
    description: str
    since: str
    rows: Sequence[Row]
    choices: Sequence[Choice] = ()
    marks: Sequence[Mark] = ()

    def build(self) -> models.Dashboard:
        """Panels are numbered by row (301 is the first of the third), so that a new row moves few numbers."""
        board = builders.Dashboard(TITLES[self.uid]).uid(self.uid).description(self.description)
        board.tags([TAG]).timezone("browser").time(self.since, "now").refresh(REFRESH).editable()
        board.tooltip(models.DashboardCursorSync.CROSSHAIR)
        board.variables(list(self.choices))
        board.annotations(list(self.marks))
        board.links([_link(uid) for uid in TITLES if uid != self.uid])
        for row in self.rows:
            board.with_row(builders.Row(row.question))
            for panel in row.panels:
                board.with_panel(panel)
        built = board.build()
        _number(built.panels or [])
        return built


FUNCTIONS = Choice("function", "Function", "label_values(http_request_duration_seconds_count, function)")
REPLICAS = Choice(
    "replica", "Replica", 'label_values(http_requests_in_flight{function=~"$function"}, replica)'
)
STORES = Choice("store", "Store", 'label_values({__name__=~"sales_total|orders_total"}, store)')

ALERTS = Mark("Alerts", 'ALERTS{alertstate="firing", scaling=""}', "{{alertname}}", "red")
SCALING = Mark("Replicas changed", "changes(function:replicas[15s]) > 0", "{{function}}", "blue")
RESTARTS = Mark(
    "Restarts", "increase(localfaas_program_restarts_total[15s]) > 0", "{{program}} restarted", "orange"
)


def _number(panels: Sequence[models.Panel | models.RowPanel]) -> None:
    row = place = 0
    for panel in panels:
        if isinstance(panel, models.RowPanel):
            row, place = row + 1, 0
        panel.id_val = row * PANELS_PER_ROW + place
        place += 1


def _link(uid: str) -> builders.DashboardLink:
    link = builders.DashboardLink(TITLES[uid]).type(models.DashboardLinkType.LINK).url(f"/d/{uid}")
    return link.icon("dashboard").keep_time(True).include_vars(True)
