"""Queries that many panels have, written once.

`labels` is what stands between the braces, `by` the labels that are kept, both as in PromQL.
"""

from __future__ import annotations

from dataclasses import dataclass

RATE = "$__rate_interval"
RANGE = "$__range"
FUNCTION = 'function=~"$function"'
SERVICE = 'service=~"$function"'
FUNCTION_NAME = 'function_name=~"($function)[.].+"'
"""The chosen functions, as the functions' own series, the edge's and the gateway's name them."""


@dataclass(frozen=True)
class Query:
    """An expression and the name of its series, with labels in double braces."""

    expr: str
    legend: str


def select(metric: str, labels: str = "") -> str:
    return f"{metric}{{{labels}}}" if labels else metric


def rate(metric: str, labels: str = "", by: str = "") -> str:
    """A counter's increase in a second."""
    return f"sum{_by(by)}(rate({select(metric, labels)}[{RATE}]))"


def per_minute(metric: str, labels: str = "", by: str = "") -> str:
    return f"60 * {rate(metric, labels, by)}"


def mean(histogram: str, labels: str = "", by: str = "") -> str:
    """The mean of what a histogram observed; nothing where it observed nothing."""
    return f"{rate(f'{histogram}_sum', labels, by)} / ({rate(f'{histogram}_count', labels, by)} > 0)"


def quantile(share: float, histogram: str, labels: str = "", by: str = "") -> str:
    """The value below which this share of observations is, over all series together."""
    kept = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, {rate(f'{histogram}_bucket', labels, kept)})"


def counted(counter: str, labels: str = "", by: str = "") -> str:
    """What a counter counted in the time shown: to the unit, and the first event of a new series included.

    `increase` extrapolates (three sales become 3.02), and sees differences alone: of a series that begins in the time
    shown, with the first sale of a store, it leaves out what the series begins with. It is used only where a process
    was started again in between.
    """
    series = select(counter, labels)
    grown = f"{series} - ({series} offset {RANGE} or 0 * {series})"
    steady = f"(({grown}) and resets({series}[{RANGE}]) == 0)"
    return f"sum{_by(by)}({steady} or increase({series}[{RANGE}]))"


def edge_quantile(share: float, labels: str = "", by: str = "") -> str:
    """Of durations at the edge in seconds: from fine buckets where there are any, else from Kong's."""
    fine = quantile(share, "localfaas_edge_request_duration_seconds", labels, by)
    return f"{fine} or {quantile(share, 'kong_request_latency_ms', labels, by)} / 1000"


def either(first: str, second: str) -> str:
    """`first` where it has series, `second` for the rest."""
    return f"{first} or {second}"


def or_zero(expr: str) -> str:
    """0 where there is nothing to count: nothing was seen, which is what the panel is to say."""
    return f"{expr} or vector(0)"


def of_function(expr: str) -> str:
    """The gateway's series with the label `function` that all others have."""
    return f'label_replace({expr}, "function", "$1", "function_name", "(.+)[.].+")'


def status_class(expr: str) -> str:
    """The same with the label `class`, the first digit of `code`; sum it away from the code afterwards."""
    return f'label_replace({expr}, "class", "$1", "code", "(.)..")'


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else " "
