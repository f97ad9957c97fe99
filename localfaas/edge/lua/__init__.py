"""The Lua text that the edge's listener runs, and values written as Lua."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localfaas.edge.plugins import KINDS

_HERE = Path(__file__).parent
_PLUGINS = Path(__file__).parent.parent / "plugins"


def source(counts: str) -> str:
    """The whole filter: the core, then each plugin's module in a block of its own.

    `counts` is the file, made by counts.py, in which the scripts of all listeners count together.
    """
    modules = [_PLUGINS / f"{name.replace('-', '_')}.lua" for name in KINDS]
    blocks = [f"do\n{module.read_text()}end\n" for module in modules if module.exists()]
    core = (_HERE / "core.lua").read_text()
    shared = (_HERE / "counts.lua").read_text().replace("COUNTS_FILE", _quoted(counts), 1)
    return "\n".join([core, f"do\n{shared}end\n", *blocks])


def literal(value: Any) -> str:
    """`value` as a Lua expression; absent values are left out of tables."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        items = (f"[{_quoted(str(key))}]={literal(item)}" for key, item in value.items() if item is not None)
        return "{" + ",".join(items) + "}"
    return "{" + ",".join(literal(item) for item in value) + "}"


def _quoted(text: str) -> str:
    return '"' + "".join(_character(byte) for byte in text.encode()) + '"'


def _character(byte: int) -> str:
    plain = 32 <= byte < 127 and byte not in b'"\\'
    return chr(byte) if plain else f"\\{byte:03d}"
