"""The kinds of panel that dashboards are made of. Each has a title, a sentence or two on what is seen and what is bad, and a unit.

These are the kinds that the local page draws as well as Grafana: a new kind has to be drawn there too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    gauge,
    heatmap,
    prometheus,
    stat,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import prometheus as prometheus_models
from grafana_foundation_sdk.models import text as text_models

from . import style
from .promql import Query

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="prometheus")
Panel = Builder[models.Panel]
Kind = TypeVar("Kind", timeseries.Panel, stat.Panel, gauge.Panel, bargauge.Panel, table.Panel, heatmap.Panel)


def graph(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    width: int = 8,
    height: int = 8,
    colours: style.Colours | None = None,
    limits: style.Limits | None = None,
    maximum: float | None = None,
    stacked: bool = False,
    signed: bool = False,
) -> Panel:
    """Lines over time; `limits` are drawn as dashed lines. `signed` is for what may be below 0."""
    panel = _common(
        timeseries.Panel(), title, description, unit, (width, height), least=None if signed else 0
    )
    panel.color_scheme(style.by_name()).line_width(1).show_points(common_models.VisibilityMode.AUTO)
    panel.fill_opacity(40 if stacked else 8)
    panel.legend(_legend(width)).tooltip(_tooltip())
    if limits:
        dashed = common_models.GraphThresholdsStyleMode.DASHED
        panel.thresholds(style.thresholds(limits)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(dashed)
        )
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
    if maximum is not None:
        panel.max(maximum)
    for name, colour in (colours or {}).items():
        panel.override_by_name(name, style.fixed(colour))
    return _asking(panel, queries)


def number(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    width: int = 4,
    height: int = 4,
    limits: style.Limits | None = None,
    falling: bool = False,
) -> Panel:
    """One figure for now, coloured by `limits` when it can be good or bad."""
    panel = _common(stat.Panel(), title, description, unit, (width, height))
    panel.thresholds(style.thresholds(limits, falling)).color_scheme(style.by_threshold())
    panel.graph_mode(common_models.BigValueGraphMode.NONE).reduce_options(_latest())
    mode = common_models.BigValueColorMode.VALUE if limits else common_models.BigValueColorMode.NONE
    panel.color_mode(mode).text_mode(common_models.BigValueTextMode.AUTO)
    return _asking(panel, queries, instant=True)


def dial(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    limits: style.Limits,
    maximum: float = 1,
    width: int = 6,
    height: int = 8,
    falling: bool = False,
) -> Panel:
    """A figure between 0 and a maximum."""
    panel = _common(gauge.Panel(), title, description, unit, (width, height))
    panel.max(maximum).thresholds(style.thresholds(limits, falling)).color_scheme(style.by_threshold())
    return _asking(panel.reduce_options(_latest()), queries, instant=True)


def bars(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    width: int = 8,
    height: int = 8,
    limits: style.Limits | None = None,
    maximum: float | None = None,
) -> Panel:
    """One bar for each series, as it is now."""
    panel = _common(bargauge.Panel(), title, description, unit, (width, height))
    panel.orientation(common_models.VizOrientation.HORIZONTAL).reduce_options(_latest())
    panel.display_mode(common_models.BarGaugeDisplayMode.BASIC)
    panel.color_scheme(style.by_threshold() if limits else style.by_name())
    panel.thresholds(style.thresholds(limits))
    if maximum is not None:
        panel.max(maximum)
    return _asking(panel, queries, instant=True)


def listing(
    title: str,
    description: str,
    *queries: Query,
    columns: Mapping[str, str],
    units: Mapping[str, str],
    width: int = 12,
    height: int = 8,
    hidden: Sequence[str] = (),
    empty: str = "",
) -> Panel:
    """A table with a row for each set of labels.

    `columns` are the labels shown and their headings, in order; a query's value has its legend as heading, in the
    unit that `units` has for it. `empty` is said when there is no row.
    """
    panel = _common(table.Panel(), title, description, style.COUNT, (width, height))
    for query in queries:
        panel.override_by_name(query.legend, style.unit(units[query.legend]))
    if len(queries) > 1:
        panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    values = ["Value"] if len(queries) == 1 else [f"Value #{ref}" for ref in _refs(queries)]
    names = {**columns, **dict(zip(values, (query.legend for query in queries), strict=True))}
    options: dict[str, Any] = {
        "excludeByName": {"Time": True, **dict.fromkeys(hidden, True)},
        "indexByName": {name: place for place, name in enumerate(names)},
        "renameByName": {name: heading for name, heading in names.items() if name != heading},
    }
    panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=options))
    if empty:
        panel.no_value(empty)
    as_table = prometheus_models.PromQueryFormat.TABLE
    return _asking(panel, queries, instant=True, form=as_table)


def heat(title: str, description: str, query: Query, *, unit: str, width: int = 24, height: int = 9) -> Panel:
    """How often each bucket of a histogram was hit, over time."""
    panel = _common(heatmap.Panel(), title, description, unit, (width, height))
    colours = heatmap.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME)
    panel.calculate(False).color(colours.scheme("Oranges").exponent(0.5).steps(64).fill("dark-orange"))
    panel.y_axis(heatmap.YAxisConfig().unit(unit)).cell_gap(1)
    return _asking(panel, [query], form=prometheus_models.PromQueryFormat.HEATMAP)


def note(title: str, description: str, content: str, *, width: int = 24, height: int = 4) -> Panel:
    """Text in Markdown."""
    panel = text.Panel().title(title).description(description).span(width).height(height)
    return panel.mode(text_models.TextMode.MARKDOWN).content(content)


def _common(
    panel: Kind, title: str, description: str, unit: str, size: tuple[int, int], *, least: float | None = 0
) -> Kind:
    panel.title(title).description(description).span(size[0]).height(size[1])
    panel.datasource(DATASOURCE).unit(unit)
    if least is not None:
        panel.min(least)
    return panel


def _asking(
    panel: Kind,
    queries: Sequence[Query],
    instant: bool = False,
    form: prometheus_models.PromQueryFormat = prometheus_models.PromQueryFormat.TIME_SERIES,
) -> Kind:
    for ref, query in zip(_refs(queries), queries, strict=True):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref)
        target.editor_mode(prometheus_models.QueryEditorMode.CODE).format(form).datasource(DATASOURCE)
        panel.with_target(target.instant() if instant else target.range())
    return panel


def _refs(queries: Sequence[Query]) -> str:
    return "ABCDEFGHIJKLMNOP"[: len(queries)]


def _legend(width: int) -> common.VizLegendOptions:
    """To the right as a table where there is room for it."""
    legend = common.VizLegendOptions().show_legend(True)
    if width < 24:
        placement, mode = common_models.LegendPlacement.BOTTOM, common_models.LegendDisplayMode.LIST
        return legend.placement(placement).display_mode(mode)
    legend.placement(common_models.LegendPlacement.RIGHT).calcs(["lastNotNull", "max"])
    return legend.display_mode(common_models.LegendDisplayMode.TABLE)


def _tooltip() -> common.VizTooltipOptions:
    options = common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI)
    return options.sort(common_models.SortOrder.DESCENDING)


def _latest() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields("")
