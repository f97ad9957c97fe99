"""How far a command is: one line that is redrawn on a terminal, and a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

REDRAW_SECONDS = 0.1
LOG_SECONDS = 2.0


class Progress:
    """Counts towards `total` on `stream`; `say` puts a sentence between without tearing the line."""

    def __init__(
        self, label: str, total: int, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._label, self._total, self._stream, self._clock = label, total, stream, clock
        self._terminal = stream.isatty()
        self._drawn_at = clock()
        self._width = 0

    def __call__(self, done: int) -> None:
        """Show that `done` of the total are done; drawn at most every so often, and always at the end."""
        interval = REDRAW_SECONDS if self._terminal else LOG_SECONDS
        if done < self._total and self._clock() - self._drawn_at < interval:
            return
        self._drawn_at = self._clock()
        share = 100 * done // self._total if self._total else 100
        self._draw(f"{self._label}: {done:,} of {self._total:,} ({share} %)", last=done >= self._total)

    def say(self, sentence: str) -> None:
        self._draw(f"{self._label}: {sentence}", last=True)

    def _draw(self, text: str, *, last: bool) -> None:
        if self._terminal:
            self._stream.write("\r" + text.ljust(self._width) + ("\n" if last else ""))
            self._width = 0 if last else len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()
