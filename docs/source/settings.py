"""docs/settings.md: every setting of the platform, of stack.yml and of the functions, from where it is read."""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import localfaas.settings
from docs.source.markdown import code, page, section, table
from functions.shared.settings import (
    DatabaseSettings,
    FunctionSettings,
    ServiceKeySettings,
    TokenSettings,
    environment_name,
)
from localfaas.stack import Stack, load_stack

SHARED = (FunctionSettings, DatabaseSettings, TokenSettings, ServiceKeySettings)
OF_THE_WATCHDOG = {
    "exec_timeout": "A request is given up after this long (functions read it too).",
    "max_inflight": "Requests that may wait in one replica; the next one is answered 429.",
    "read_timeout": "Reading a request may take this long.",
    "ready_path": "What the watchdog asks a function to know whether it can serve.",
    "write_timeout": "Answering a request may take this long.",
}
_KINDS = {"str": "text", "int": "whole number", "float": "number", "bool": "`true` or `false`"}
_KINDS |= {"Duration": "duration, as `750ms` or `1m30s`", "Share": "number from 0 to 1"}
_KINDS |= {"TaxRates": "`NAME=PERCENT`, joined by commas"}
_VARIABLE = re.compile(r"\$\{(?P<name>\w+):-(?P<default>[^}]*)\}")

_ABOUT = """Where a value comes from: a variable of the environment of `make up` (the platform's), a variable that stack.yml is read with,
or a function's `environment` in stack.yml.
What is missing or malformed is said at the start, all at once and by name."""
_OF_FUNCTIONS = """A function reads these from its environment; a change in stack.yml takes effect with `make deploy f=NAME`.
Where a default and stack.yml differ, stack.yml counts."""


def text(project: Path) -> str:
    """The page as it should be."""
    stack = load_stack(project / "stack.yml", {})
    return page(
        "Settings",
        _ABOUT,
        section("Of the platform", table(["variable", "default", "meaning"], of_the_platform())),
        section("Of stack.yml", table(["variable", "default", "stands in"], of_the_stack(project))),
        section("Of every function", _OF_FUNCTIONS, _shared_table(stack)),
        section("Of one function", *(_own_section(stack, name) for name in sorted(stack.functions))),
        section("Of the watchdog", _watchdog_table(stack)),
        section("Secrets", _secrets_text(stack)),
    )


def of_the_platform() -> Iterator[list[str]]:
    """The rows of the table that localfaas/settings.py begins with."""
    for line in (localfaas.settings.__doc__ or "").splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def of_the_stack(project: Path) -> Iterator[list[str]]:
    """Variables with a default, and the keys in whose values they are."""
    used: dict[tuple[str, str], set[str]] = {}
    for line in (project / "stack.yml").read_text().splitlines():
        key = line.split(":", 1)[0].strip()
        for match in _VARIABLE.finditer("" if line.lstrip().startswith("#") else line):
            used.setdefault((match["name"], match["default"]), set()).add(key)
    for (name, default), keys in sorted(used.items()):
        yield [code(name), code(default) or "empty", ", ".join(code(key) for key in sorted(keys))]


def settings_class(function: str) -> type[FunctionSettings]:
    """The one class of settings that a function's handler defines."""
    module = importlib.import_module(f"functions.{function}.handler")
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, FunctionSettings)
        and value.__module__ == module.__name__
    )
    return found


def _shared_table(stack: Stack) -> str:
    rows = []
    for kind in SHARED:
        own = {item.name for item in dataclasses.fields(kind)} - _inherited(kind)
        for item in dataclasses.fields(kind):
            if item.name in own and "secret" not in item.metadata:
                given = _in_stack(stack, environment_name(item))
                rows.append([*_about(kind, item), given, _sentence(item)])
    return table(["setting", "kind", "default", "in stack.yml", "meaning"], rows)


def _own_section(stack: Stack, function: str) -> str:
    kind, given = settings_class(function), stack.functions[function].environment
    shared = {item.name for base in SHARED for item in dataclasses.fields(base)}
    rows = [
        [*_about(kind, item), code(given.get(environment_name(item), "")), _sentence(item)]
        for item in dataclasses.fields(kind)
        if item.name not in shared and "secret" not in item.metadata
    ]
    inside = table(["setting", "kind", "default", "in stack.yml", "meaning"], rows) or "None of its own."
    return section(function, inside, level=3)


def _watchdog_table(stack: Stack) -> str:
    rows = [[code(name), _in_stack(stack, name), sentence] for name, sentence in OF_THE_WATCHDOG.items()]
    return table(["variable", "in stack.yml", "meaning"], rows)


def _secrets_text(stack: Stack) -> str:
    rows = []
    for name in sorted({secret for function in stack.functions.values() for secret in function.secrets}):
        readers = sorted(one for one, function in stack.functions.items() if name in function.secrets)
        rows.append([code(name), ", ".join(readers), _meaning_of_secret(name, readers[0])])
    return (
        "Files, one each, in `secret_mount_path`; on one machine they are made at the first start below `.local/secrets`.\n\n"
        + table(["secret", "read by", "meaning"], rows)
    )


def _meaning_of_secret(name: str, reader: str) -> str:
    for item in dataclasses.fields(settings_class(reader)):
        if str(item.metadata.get("secret", "")).format(function=reader) == name:
            return _sentence(item)
    raise LookupError(f"{reader} does not read the secret {name}")


def _inherited(kind: type[Any]) -> set[str]:
    bases = (base for base in kind.__mro__[1:] if dataclasses.is_dataclass(base))
    return {item.name for base in bases for item in dataclasses.fields(base)}


def _about(kind: type[Any], item: dataclasses.Field[Any]) -> list[str]:
    hint = get_type_hints(kind)[item.name]
    required = item.default is dataclasses.MISSING
    return [
        code(environment_name(item)),
        _KINDS[hint.__name__],
        "required" if required else code(_shown(item.default)) or "empty",
    ]


def _shown(value: Any) -> str:
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _sentence(item: dataclasses.Field[Any]) -> str:
    return str(item.metadata["sentence"])


def _in_stack(stack: Stack, name: str) -> str:
    """The value that most functions have, and who has another one."""
    values = {one: function.environment.get(name, "") for one, function in stack.functions.items()}
    ((usual, _),) = Counter(values.values()).most_common(1)
    others: Mapping[str, list[str]] = _grouped(
        (value, one) for one, value in values.items() if value != usual
    )
    return "; ".join(
        [
            *([code(usual)] if usual else []),
            *(f"{code(value) or 'none'}: {', '.join(names)}" for value, names in others.items()),
        ]
    )


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for value, name in sorted(pairs):
        found.setdefault(value, []).append(name)
    return found
