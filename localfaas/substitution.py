"""`${VAR}` in a stack file, replaced from the environment before the file is read as YAML, as faas-cli does.

| written | becomes |
|---|---|
| `${VAR}` | its value, or nothing when unset |
| `${VAR:-default}`, `${VAR:=default}`, `${VAR=default}` | its value, or the default when unset or empty; a default may hold `${OTHER}` |
| `$$`, `\\\\`, `\\/` | `$`, `\\`, `/` (so `$${VAR}` stays `${VAR}`) |
| `$VAR` | itself |

Other operators of the shell (`${VAR:offset}`, `${VAR^^}`, …) are refused by name: a default is all a stack file needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_TOKEN = re.compile(r"\$\$|\\[\\/]|\$\{")
_NAME = re.compile(r"\w+")
_DEFAULT_OPERATORS = (":-", ":=", "=")
_OPERATOR = re.compile(r"[^\w}\s]{1,2}")


class SubstitutionError(ValueError):
    """A `${…}` cannot be replaced; `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """Replace everything in the table above. Raises SubstitutionError."""
    pieces: list[str] = []
    position = 0
    while token := _TOKEN.search(text, position):
        pieces.append(text[position : token.start()])
        if token.group() == "${":
            value, position = _variable(text, token.start(), environ)
            pieces.append(value)
        else:
            pieces.append(token.group()[1])
            position = token.end()
    return "".join([*pieces, text[position:]])


def _variable(text: str, start: int, environ: Mapping[str, str]) -> tuple[str, int]:
    """The value of the `${…}` at `start`, and where the text goes on."""
    line = text.count("\n", 0, start) + 1
    name = _NAME.match(text, start + 2)
    if not name:
        raise SubstitutionError(
            "`${` must be followed by the name of a variable; write `$${` for the text", line
        )
    value = environ.get(name.group(), "")
    if text.startswith("}", name.end()):
        return value, name.end() + 1
    operator = next((one for one in _DEFAULT_OPERATORS if text.startswith(one, name.end())), None)
    if operator is None:
        raise SubstitutionError(_refusal(text, name), line)
    default, end = _default(text, name.end() + len(operator), environ, line)
    return value or default, end


def _refusal(text: str, name: re.Match[str]) -> str:
    operator = _OPERATOR.match(text, name.end())
    if operator is None:
        return f"`${{{name.group()}` has no closing brace"
    return f"`${{{name.group()}{operator.group()}…}}` is not supported; a default is written `${{{name.group()}:-default}}`"


def _default(text: str, start: int, environ: Mapping[str, str], line: int) -> tuple[str, int]:
    """The default that begins at `start`, with its own variables replaced, and where the text goes on."""
    pieces: list[str] = []
    position = start
    while position < len(text):
        if text[position] == "}":
            return "".join(pieces), position + 1
        if text.startswith("${", position):
            value, position = _variable(text, position, environ)
            pieces.append(value)
        else:
            pieces.append(text[position])
            position += 1
    raise SubstitutionError("`${` has no closing brace", line)
