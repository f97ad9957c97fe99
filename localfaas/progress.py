"""What a person sees while something takes longer than a moment: one line a step, with its time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Steps:
    """Prints each step when it is done; on a terminal a spinner turns until then. No colours elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """Run a step; what the body appends to the list is shown behind its title."""
        notes: list[str] = []
        started = time.monotonic()
        with self.console.status(title):
            try:
                yield notes
            except BaseException:
                self.console.print(f"[red]✗[/red] {title}")
                raise
        seconds = time.monotonic() - started
        note = f" [dim]{', '.join(notes)}[/dim]" if notes else ""
        self.console.print(f"[green]✓[/green] {title}{note} [dim]{seconds:.1f} s[/dim]", highlight=False)

    def warn(self, text: str) -> None:
        self.console.print(f"[yellow]![/yellow] {text}", highlight=False, soft_wrap=True)
