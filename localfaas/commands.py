"""Commands in messages: written as localfaas', and shown as a user of the project types them.

Messages say what to do next: `localfaas up`. Whoever works in a checkout of localfaas itself runs it by the Makefile that
is there, so what reaches their eyes is `make up`. Everywhere else there is no such Makefile, and a message stays as it is.
"""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
VARIABLES = {"deploy": ("f",), "logs": ("f",), "restore": ("from",), "scale": ("f", "n")}
"""By verb: the variables in which the Makefile takes its arguments, in their order."""
WITHOUT_A_TARGET = frozenset({"build", "invoke", "remove"})
"""Verbs that no target of the Makefile runs."""
_FLAGS_OF_THE_MAKEFILE = " --yes"
_COMMAND = re.compile(r"`((?:[A-Z_]+=\S+ )*)localfaas ([a-z-]+)([^`]*)`")


def as_typed(text: str, project: Path) -> str:
    """`text` with each of localfaas' commands as one types it in `project`; it stands in backticks."""
    return _COMMAND.sub(_by_make, text) if _has_makefile(project) else text


def installing_anew(project: Path) -> str:
    """What to do when something of localfaas' own packages is not as it came."""
    if _has_makefile(project):
        return "`rm -r .venv`, then `make up`: the packages are installed anew"
    return "install localfaas into a virtual environment anew: docs/localfaas.md"


def _has_makefile(project: Path) -> bool:
    return project == CHECKOUT and (CHECKOUT / "Makefile").exists()


def _by_make(command: re.Match[str]) -> str:
    environment, verb, rest = command.groups()
    if verb in WITHOUT_A_TARGET:
        return f"`{environment}.venv/bin/python -m localfaas {verb}{rest}`"
    names = VARIABLES.get(verb, ())
    values = rest.replace(_FLAGS_OF_THE_MAKEFILE, "").split(maxsplit=max(len(names) - 1, 0))
    arguments = [f"{name}={value}" for name, value in zip(names, values, strict=False)]
    return f"`{environment}{' '.join(['make', verb, *arguments])}`"
