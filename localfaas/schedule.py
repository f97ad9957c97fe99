"""Schedules in the words OpenFaaS' cron-connector accepts, as APScheduler triggers.

The connector reads them with robfig/cron v3: five fields (minute, hour, day of month, month, day of week) or a
descriptor (`@every 5s`, `@hourly`, …), optionally behind `CRON_TZ=Area/City`; without one the time zone is UTC, as in
its container. APScheduler's own reading of crontab lines differs (0 is Monday, both day fields must match, `N/step`
is refused), so fields are expanded here to plain lists of numbers first. Slips that robfig/cron lets pass are
refused: an empty item of a list, `*-5`, a sign, a negative duration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta, tzinfo
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = "@every "
_SECONDS_IN = {
    "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9,
}  # fmt: skip
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(h|ms|us|µs|μs|ns|m|s)", re.ASCII)
_ZONE = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(.*)")
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_ANY = {"*", "?"}
_LONGEST_SECONDS = 10 * 365 * 86400.0


class ScheduleError(ValueError):
    """A schedule cannot be read; the message says what is wrong with it."""


@dataclass(frozen=True)
class _Field:
    name: str
    lowest: int
    highest: int
    names: Mapping[str, int]


def _names(words: str, first: int) -> dict[str, int]:
    return {word: number for number, word in enumerate(words.split(), first)}


_FIELDS = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of month", 1, 31, {}),
    _Field("month", 1, 12, _names("jan feb mar apr may jun jul aug sep oct nov dec", 1)),
    _Field("day of week", 0, 6, _names("sun mon tue wed thu fri sat", 0)),
)


def parse_schedule(text: str) -> BaseTrigger:
    """The trigger of a schedule; raises ScheduleError."""
    zone: tzinfo = UTC
    if prefix := _ZONE.fullmatch(text):
        zone, text = _zone(prefix.group(1)), prefix.group(2)
    if text.startswith(_EVERY):
        # robfig/cron counts whole seconds, at least one.
        seconds = max(1, int(_duration(text.removeprefix(_EVERY))))
        return IntervalTrigger(seconds=seconds, timezone=UTC)
    if text.startswith("@") and text not in DESCRIPTORS:
        raise ScheduleError(f"{text} is none of @every, {', '.join(DESCRIPTORS)}")
    return _cron(DESCRIPTORS.get(text, text), zone)


def _cron(text: str, zone: tzinfo) -> BaseTrigger:
    words = text.split()
    if len(words) != len(_FIELDS):
        raise ScheduleError(f"expected 5 fields or a descriptor such as @every 5s, found {len(words)} fields")
    minute, hour, day, month, weekday = (
        _expand(word, field) for word, field in zip(words, _FIELDS, strict=True)
    )
    # APScheduler counts days of the week from Monday.
    common = {"minute": minute, "hour": hour, "month": month}
    days = [{"day": _listed(day)}, {"day_of_week": _listed({(number - 1) % 7 for number in weekday})}]
    # Both day fields must match when one of them is a star, else either (robfig/cron: `*/2` is no star).
    if any(_is_star(part) for word in (words[2], words[4]) for part in word.split(",")):
        days = [{**days[0], **days[1]}]
    fixed = {name: _listed(numbers) for name, numbers in common.items()}
    triggers = [CronTrigger(**fixed, **chosen, second=0, timezone=zone) for chosen in days]
    return triggers[0] if len(triggers) == 1 else OrTrigger(triggers)


def _is_star(part: str) -> bool:
    span, _, step = part.partition("/")
    return span in _ANY and step in {"", "1"}


def _expand(word: str, field: _Field) -> set[int]:
    """All numbers that a field names: `*`, `?`, `n`, `n-m`, each with `/step`, and lists of them."""
    numbers: set[int] = set()
    for part in word.split(","):
        span, _, step = part.partition("/")
        low, dash, high = span.partition("-")
        if span in _ANY:
            first, last = field.lowest, field.highest
        else:
            first = _number(low, field)
            last = _number(high, field) if dash else field.highest if step else first
        stride = _number(step, field) if "/" in part else 1
        if not (field.lowest <= first <= last <= field.highest) or stride < 1:
            raise ScheduleError(f"{part!r} is not a {field.name} ({field.lowest} to {field.highest})")
        numbers.update(range(first, last + 1, stride))
    return numbers


def _number(text: str, field: _Field) -> int:
    if text.lower() in field.names:
        return field.names[text.lower()]
    if not _NUMBER.fullmatch(text):
        raise ScheduleError(f"{text!r} is not a {field.name} ({field.lowest} to {field.highest})")
    return int(text)


def _listed(numbers: set[int]) -> str:
    return ",".join(str(number) for number in sorted(numbers))


def _duration(text: str) -> float:
    """Seconds in a duration as Go writes it: `1h30m`, `1.5s`."""
    parts = list(_DURATION_PART.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        raise ScheduleError(f"{text!r} is not a duration such as 5s or 1h30m")
    seconds = sum(float(part.group(1)) * _SECONDS_IN[part.group(2)] for part in parts)
    if seconds > _LONGEST_SECONDS:
        raise ScheduleError(f"{text} is longer than {timedelta(seconds=_LONGEST_SECONDS).days} days")
    return seconds


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as exc:
        raise ScheduleError(f"{name} is not a time zone") from exc
