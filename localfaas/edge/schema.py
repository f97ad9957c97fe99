"""A small language for what a declarative entity may hold: types, defaults, ranges, and what we refuse.

`check` of a type returns the value as Kong would store it (defaults filled in) and reports every fault it meets,
in Kong's words. What Kong knows and the embedded edge does not is a fault of its own kind: "not supported …".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from localfaas.edge.errors import Place
from localfaas.edge.refused import NOT_SUPPORTED

Report = Callable[[Place, str], None]
Rule = Callable[[Any], str | None]
"""Looks at a value; says what is wrong with it, or nothing."""
RecordRule = Callable[[Mapping[str, Any], Place, Report], None]
"""Looks at a whole record after its fields, and reports at whatever place is at fault."""

REQUIRED = "required field missing"


@dataclass(frozen=True, kw_only=True)
class Type(ABC):
    """What every field may say about itself."""

    default: Any = None
    required: bool = False
    unsupported: bool = False

    def read(self, value: Any, place: Place, report: Report) -> Any:
        """`value`, or the default where it is absent, checked."""
        if value is None:
            return self._absent(place, report)
        checked = self.check(value, place, report)
        if self.unsupported and checked != self.default:
            report(place, NOT_SUPPORTED)
        return checked

    def _absent(self, place: Place, report: Report) -> Any:
        if self.required and self.default is None:
            report(place, REQUIRED)
        return list(self.default) if isinstance(self.default, list) else self.default

    @abstractmethod
    def check(self, value: Any, place: Place, report: Report) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Text(Type):
    """A string; `one_of` is what Kong takes, `supported` the part of it that we do."""

    one_of: tuple[str, ...] = ()
    supported: tuple[str, ...] = ()
    rule: Rule | None = None

    def check(self, value: Any, place: Place, report: Report) -> Any:
        if not isinstance(value, str):
            report(place, "expected a string")
        elif not value:
            report(place, "length must be at least 1")
        elif self.one_of and value not in self.one_of:
            report(place, f"expected one of: {', '.join(self.one_of)}")
        elif self.supported and value not in self.supported:
            report(place, f"'{value}' is {NOT_SUPPORTED}; use one of: {', '.join(self.supported)}")
        elif self.rule and (problem := self.rule(value)):
            report(place, problem)
        return value


@dataclass(frozen=True, kw_only=True)
class Number(Type):
    """A number, whole unless `fraction`, within `between` (both ends included) or above `above`."""

    between: tuple[int, int] | None = None
    above: int | None = None
    one_of: tuple[int, ...] = ()
    fraction: bool = False

    def check(self, value: Any, place: Place, report: Report) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            report(place, "expected a number" if self.fraction else "expected an integer")
        elif not self.fraction and value != int(value):
            report(place, "expected an integer")
        elif self.between and not self.between[0] <= value <= self.between[1]:
            report(place, f"value should be between {self.between[0]} and {self.between[1]}")
        elif self.above is not None and value <= self.above:
            report(place, f"value must be greater than {self.above}")
        elif self.one_of and value not in self.one_of:
            report(place, f"expected one of: {', '.join(map(str, self.one_of))}")
        elif not self.fraction:
            return int(value)
        return value


@dataclass(frozen=True, kw_only=True)
class Flag(Type):
    def check(self, value: Any, place: Place, report: Report) -> Any:
        if not isinstance(value, bool):
            report(place, "expected a boolean")
        return value


def _present(kind: Type, item: Any, place: Place, report: Report) -> Any:
    """A member of a list or a map, which may not be null."""
    if item is not None:
        return kind.check(item, place, report)
    report(place, REQUIRED)
    return None


@dataclass(frozen=True, kw_only=True)
class ListOf(Type):
    """A list; as a set, repeated members are dropped."""

    of: Type
    as_set: bool = False
    rule: Rule | None = None

    def check(self, value: Any, place: Place, report: Report) -> Any:
        if not isinstance(value, list):
            report(place, "expected a set" if self.as_set else "expected an array")
            return value
        if self.rule and (problem := self.rule(value)):
            report(place, problem)
        items = [_present(self.of, item, (*place, index), report) for index, item in enumerate(value)]
        return [item for index, item in enumerate(items) if not self.as_set or item not in items[:index]]


@dataclass(frozen=True, kw_only=True)
class MapOf(Type):
    """A mapping of free keys to values of one type."""

    of: Type

    def check(self, value: Any, place: Place, report: Report) -> Any:
        if not isinstance(value, dict):
            report(place, "expected a map")
            return value
        return {key: _present(self.of, item, (*place, key), report) for key, item in value.items()}


@dataclass(frozen=True, kw_only=True)
class Record(Type):
    """A mapping of known keys; absent, it is made of its fields' defaults."""

    fields: Mapping[str, Type]
    rules: tuple[RecordRule, ...] = ()
    ignored: frozenset[str] = field(default=frozenset({"_comment", "_ignore"}))

    def _absent(self, place: Place, report: Report) -> Any:
        return self.check({}, place, report) if not self.required else super()._absent(place, report)

    def check(self, value: Any, place: Place, report: Report) -> Any:
        if not isinstance(value, dict):
            report(place, "expected a record")
            return value
        faults = 0

        def counted(at: Place, text: str) -> None:
            nonlocal faults
            faults += 1
            report(at, text)

        for key in value:
            if key not in self.fields and key not in self.ignored:
                counted((*place, key), "unknown field")
        checked = {
            key: kind.read(value.get(key), (*place, key), counted) for key, kind in self.fields.items()
        }
        if not faults:
            for rule in self.rules:
                rule(checked, place, report)
        return checked


@dataclass(frozen=True, kw_only=True)
class Opaque(Type):
    """Something Kong knows and the embedded edge does not look into; only its absence is accepted."""

    unsupported: bool = True

    def check(self, value: Any, place: Place, report: Report) -> Any:
        return value


@dataclass(frozen=True, kw_only=True)
class Reference(Type):
    """Another entity, by name or id: `x`, `{name: x}` or `{id: x}`; read as the text."""

    def check(self, value: Any, place: Place, report: Report) -> Any:
        if isinstance(value, dict) and set(value) <= {"name", "id"} and value:
            value = value.get("name") or value.get("id")
        if not isinstance(value, str) or not value:
            report(place, "expected a name or an id")
        return value
