"""A tour on a terminal, where one picture is drawn again and again, and anywhere else, where it is lines."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from tests.load.demo.drawing import Claim, View, frame, line, verdict

FRAMES_PER_SECOND = 4
LINE_SECONDS = 2.0
PLAIN_COLUMNS = 100
PICTURE_COLUMNS = 104


class Terminal:
    """The picture stays at the bottom; what the scenes have shown is printed above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._view: Callable[[], View] | None = None
        self._live = Live(
            console=console, get_renderable=self._frame, refresh_per_second=FRAMES_PER_SECOND, transient=True
        )

    def begin(self, view: Callable[[], View]) -> None:
        self._view = view
        self._live.start()

    def note(self, text: str) -> None:
        """It is in the picture."""

    def tick(self) -> None:
        """The picture is drawn by itself."""

    def end(self, claims: Sequence[Claim]) -> None:
        if self._view:
            told(self._console, self._view(), claims)

    def close(self) -> None:
        self._live.stop()

    def _frame(self) -> RenderableType:
        return frame(self._view()) if self._view else Text("…")


class Lines:
    """No colours, nothing is drawn twice; figures come every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._view: Callable[[], View] | None = None
        self._shown = 0.0

    def begin(self, view: Callable[[], View]) -> None:
        self._view, self._shown = view, time.monotonic()
        its = view()
        self._say(f"{its.heading}. {its.happens}")
        for what, address in its.look_at:
            self._say(f"  look at {what}: {address}")

    def note(self, text: str) -> None:
        self._say(f"  {text}")

    def tick(self) -> None:
        if self._view and time.monotonic() >= self._shown + LINE_SECONDS:
            self._shown = time.monotonic()
            self._say(f"  {line(self._view())}")

    def end(self, claims: Sequence[Claim]) -> None:
        if self._view:
            self._say(f"  {line(self._view())}")
        for claim in claims:
            self._say(f"  {verdict(claim)}")

    def close(self) -> None:
        """Nothing moves here."""

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


def told(console: Console, view: View, claims: Sequence[Claim]) -> None:
    """What a scene has shown, to be read later."""
    console.print(Text(view.heading, style="bold"))
    for claim in claims:
        console.print(Text("  ") + verdict(claim), soft_wrap=True)


def draw(path: Path, view: View) -> None:
    """Write the picture of one moment as SVG, which fetches nothing."""
    console = Console(record=True, width=PICTURE_COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(frame(view))
    path.write_text(without_fonts(console.export_svg(title="make demo", unique_id="demo")))


def without_fonts(svg: str) -> str:
    """rich names fonts at an address of others; what is on the reader's machine will do."""
    first, *rest = svg.split("@font-face {")
    return first + "".join(part.partition("}")[2].lstrip() for part in rest)
