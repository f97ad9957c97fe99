"""What the two rule sets do, as pure functions of what was scraped: the model of the PromQL, for the simulator.

Thresholds, durations and intervals are read from the shipped files, so that the model cannot keep older ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

MONITORING = Path(__file__).parents[3] / "monitoring"
MAX_REPLICAS = 5


@dataclass(frozen=True)
class Scrape:
    """What one scrape of the gateway and of all replicas of a function finds. Counters, from the start."""

    at: float
    started: int = 0
    answered_ok: int = 0
    finished: int = 0
    busy_seconds: float = 0.0
    waited_long: int = 0
    replicas: int = 1


@dataclass(frozen=True)
class Route:
    """How Alertmanager tells of one alert; seconds."""

    wait: float
    interval: float
    repeat: float
    tells_end: bool


@dataclass(frozen=True)
class AlertRule:
    """One alert: whether it is wanted now, given the scrapes and whether it fires already."""

    name: str
    condition: Callable[[Sequence[Scrape], float, bool], bool]
    route: Route
    lasts: float = 0.0
    keep: float = 0.0


@dataclass(frozen=True)
class RuleSet:
    name: str
    evaluation_interval: float
    alerts: tuple[AlertRule, ...]


@dataclass(frozen=True)
class Thresholds:
    """The numbers at the top of scaling.yml, and what else can be tuned there."""

    up_ratio: float
    target_ratio: float
    release_ratio: float
    longest_wait: float
    keep: float
    arrival_window: float = 15.0
    arrivals_are_last_two: bool = True


def seconds(duration: str) -> float:
    """Seconds of a Prometheus duration such as `1m` or `4d`."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    return float(sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([smhd])", duration)))


def shipped_thresholds() -> Thresholds:
    """What monitoring/prometheus/rules/scaling.yml says."""
    rules = _rules(MONITORING / "prometheus" / "rules" / "scaling.yml")
    values = {
        rule["record"]: float(rule["expr"][len("vector(") : -1])
        for rule in rules
        if rule.get("record", "").startswith("scaling:")
    }
    hold = next(rule for rule in rules if rule.get("labels", {}).get("scaling") == "hold")
    return Thresholds(
        values["scaling:up_ratio"],
        values["scaling:target_ratio"],
        values["scaling:release_ratio"],
        values["scaling:longest_wait_seconds"],
        seconds(hold["keep_firing_for"]),
    )


def ours(thresholds: Thresholds, threads: int = 1, minimum: int = 1, maximum: int = MAX_REPLICAS) -> RuleSet:
    """The rules of scaling.yml, for one function, with the routes of alertmanager.yml."""
    load = _Load(thresholds, threads, minimum, maximum)
    hold_route, up_route, late_routes = our_routes()

    def missing(count: int) -> Callable[[Sequence[Scrape], float, bool], bool]:
        return lambda seen, now, firing: bool(seen) and load.wanted(seen, now) >= count > seen[-1].replicas

    def first(seen: Sequence[Scrape], now: float, firing: bool) -> bool:
        return bool(seen) and load.wanted(seen, now) > minimum >= seen[-1].replicas

    further = [
        AlertRule(f"up {count}", missing(count), late_routes.get(str(count), up_route))
        for count in range(max(3, minimum + 2), maximum + 1)
    ]
    hold = AlertRule("hold", load.hold, hold_route, keep=thresholds.keep)
    return RuleSet("ours", 5.0, (hold, AlertRule("up first", first, up_route, lasts=20.0), *further))


def openfaas_ce() -> RuleSet:
    """The rule and the routing of monitoring/prometheus/comparison/."""
    directory = MONITORING / "prometheus" / "comparison"
    group = yaml.safe_load((directory / "openfaas-ce.yml").read_text())["groups"][0]
    root = yaml.safe_load((directory / "alertmanager-ce.yml").read_text())["route"]
    rule = group["rules"][0]
    limit = float(rule["expr"].rpartition(">")[2])

    def condition(seen: Sequence[Scrape], now: float, firing: bool) -> bool:
        return rate(seen, now, 10.0, lambda scrape: scrape.answered_ok) > limit

    alert = AlertRule(rule["alert"], condition, _route(root, tells_end=True), lasts=seconds(rule["for"]))
    return RuleSet("ce", seconds(group["interval"]), (alert,))


def our_routes() -> tuple[Route, Route, dict[str, Route]]:
    """The route of `hold`, that of `up`, and those of `up` that differ, by their label `replicas`."""
    root = yaml.safe_load((MONITORING / "alertmanager" / "alertmanager.yml").read_text())["route"]
    hold, up = (
        next(route for route in root["routes"] if route["matchers"] == [f'scaling="{kind}"'])
        for kind in ("hold", "up")
    )
    up_route = _route(up, tells_end=False)
    late = {
        route["matchers"][0].split('"')[1]: replace(up_route, wait=seconds(route["group_wait"]))
        for route in up["routes"]
    }
    return _route(hold, tells_end=True), up_route, late


def rate(seen: Sequence[Scrape], now: float, window: float, of: Callable[[Scrape], float]) -> float:
    """Increase a second over the scrapes of the window; 0 where there are not two."""
    inside = [scrape for scrape in seen[-int(window) :] if scrape.at > now - window]
    if len(inside) < 2:
        return 0.0
    return (of(inside[-1]) - of(inside[0])) / (inside[-1].at - inside[0].at)


@dataclass(frozen=True)
class _Load:
    """The recordings of scaling.yml, for one function."""

    thresholds: Thresholds
    threads: int
    minimum: int
    maximum: int

    def offered(self, seen: Sequence[Scrape], now: float) -> float:
        """Threads' worth of work that arrives, or that is done if that is more."""
        arrivals = self._arrivals(seen, now)
        finished = rate(seen, now, 60.0, lambda scrape: scrape.finished)
        busy_minute = rate(seen, now, 60.0, lambda scrape: scrape.busy_seconds)
        busy = rate(seen, now, 15.0, lambda scrape: scrape.busy_seconds)
        return max(busy, arrivals * busy_minute / finished if finished else 0.0)

    def needed(self, seen: Sequence[Scrape], now: float) -> int:
        ratio = self.offered(seen, now) / (self.threads * self.thresholds.target_ratio)
        return max(self.minimum, math.ceil(ratio - 0.001))

    def wanted(self, seen: Sequence[Scrape], now: float) -> int:
        needed, replicas = self.needed(seen, now), seen[-1].replicas
        load_ratio = self.offered(seen, now) / (replicas * self.threads)
        if load_ratio > self.thresholds.up_ratio:
            return min(needed, self.maximum)
        if load_ratio > self.thresholds.release_ratio and self._waits(seen, now):
            return min(needed if needed > replicas else needed + 1, self.maximum)
        return min(self.minimum, self.maximum)

    def hold(self, seen: Sequence[Scrape], now: float, firing: bool) -> bool:
        if not seen:
            return False
        held = self.offered(seen, now) / self.threads > self.minimum * self.thresholds.release_ratio
        return self.wanted(seen, now) > self.minimum or (firing and held)

    def _arrivals(self, seen: Sequence[Scrape], now: float) -> float:
        latest = seen[-int(self.thresholds.arrival_window) :]
        window = [scrape for scrape in latest if scrape.at > now - self.thresholds.arrival_window]
        used = window[-2:] if self.thresholds.arrivals_are_last_two else window
        return rate(used, now, self.thresholds.arrival_window, lambda scrape: scrape.started)

    def _waits(self, seen: Sequence[Scrape], now: float) -> bool:
        """One in ten of the last 15 s waited too long, while no replica was added for 30 s."""
        finished = rate(seen, now, 15.0, lambda scrape: scrape.finished)
        waited = rate(seen, now, 15.0, lambda scrape: scrape.waited_long)
        lately = [scrape.replicas for scrape in seen[-30:] if scrape.at > now - 30.0]
        return finished > 0 and waited > 0.1 * finished and min(lately) >= seen[-1].replicas


def _rules(path: Path) -> list[Mapping[str, Any]]:
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def _route(route: Mapping[str, str], *, tells_end: bool) -> Route:
    wait, interval, repeat = (
        seconds(route[name]) for name in ("group_wait", "group_interval", "repeat_interval")
    )
    return Route(wait, interval, repeat, tells_end)
