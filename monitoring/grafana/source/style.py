"""What the same thing looks like on every panel: units, colours, and where good ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

SECONDS, MILLISECONDS = "s", "ms"
REQUESTS_PER_SECOND, PER_SECOND, PER_MINUTE = "reqps", "cps", "cpm"
SHARE = "percentunit"
COUNT = "short"
BYTES, BYTES_PER_SECOND = "bytes", "Bps"
DOLLARS = "currency:CA$"
"""Grafana has no unit of its own for Canadian dollars; a custom currency is its way to have one."""

GREEN, YELLOW, ORANGE, RED = "#73BF69", "#F2CC0C", "#FF9830", "#F2495C"
BLUE, PURPLE, GREY = "#5794F2", "#B877D9", "#8E8E8E"

Colours = Mapping[str, str]
"""Colours by the name of a series; what is not in it has the colour that its name always has."""

HOPS: Colours = {"edge": ORANGE, "gateway": BLUE, "function": GREEN, "database": PURPLE}
PERCENTILES: Colours = {"p50": GREEN, "p90": YELLOW, "p99": ORANGE, "p99.9": RED, "mean": BLUE}
STATUSES: Colours = {"2xx": GREEN, "3xx": BLUE, "4xx": YELLOW, "5xx": RED}
CHANNELS: Colours = {"store": BLUE, "web": ORANGE}
SIGN_INS: Colours = {"opened": GREEN, "wrong": RED, "throttled": ORANGE, "inactive": GREY}

Limits = Sequence[float]
"""Where a value becomes doubtful, and where it becomes bad; with one number it is bad from there on."""

ANY_IS_BAD: Limits = (1,)
BUSY: Limits = (0.7, 0.9)
ERRORS: Limits = (0.001, 0.01)


def thresholds(limits: Limits | None, falling: bool = False) -> builders.ThresholdsConfig:
    """Green, then orange, then red; `falling` for values that are bad when they are low."""
    colours = [GREEN, *((ORANGE, RED) if limits and len(limits) > 1 else (RED,))]
    if falling:
        colours.reverse()
    steps = zip([None, *(limits or ())], colours, strict=False)
    config = builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE)
    return config.steps([models.Threshold(value=value, color=colour) for value, colour in steps])


def by_name() -> builders.FieldColor:
    """A colour that follows from the series' name: `cart` is the same on every panel."""
    return builders.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME)


def by_threshold() -> builders.FieldColor:
    return builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS)


def fixed(colour: str) -> list[models.DynamicConfigValue]:
    """The override that gives a series this colour."""
    return [models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})]


def unit(name: str) -> list[models.DynamicConfigValue]:
    """The override that gives a column this unit."""
    return [models.DynamicConfigValue(id_val="unit", value=name)]
