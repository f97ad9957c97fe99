"""How a tour looks: one frame on a terminal, one line elsewhere, and the table at its end. Nothing here asks anybody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tests.load.demo.record import UNANSWERED, WINDOW_SECONDS, Second, Sum, Window

BARS = "▁▂▃▄▅▆▇█"
NOTES_SHOWN = 5
WELL, ILL, QUIET = "green", "red", "dim"
EXPLAINED = {
    UNANSWERED: "no answer: the connection was refused or lost, or nobody answered in time",
    429: "the edge's limit on requests from one address; wait a minute, or start with `RATE_LIMITS=off make up`",
    500: "a function failed, or the gateway lost its replica while it answered: `make logs request=ID`",
    502: "the edge lost the replica while it answered; what is not a GET is not sent again, as it might be done twice",
    503: "somebody who is needed is away, and says when to ask again: `make doctor`",
    504: "somebody who is needed did not answer in time: `make doctor`",
}


@dataclass(frozen=True)
class Claim:
    """What a scene has to show, in words with its figures, and whether it was so."""

    text: str
    holds: bool


@dataclass(frozen=True)
class Replicas:
    """How many of a function take traffic, and how many are wanted."""

    available: int
    wanted: int

    def __str__(self) -> str:
        return str(self.wanted) if self.available == self.wanted else f"{self.available} of {self.wanted}"


@dataclass(frozen=True)
class View:
    """What there is to be seen at one moment. `look_at` is (what to look at, address)."""

    number: int
    scenes: int
    title: str
    happens: str
    look_at: Sequence[tuple[str, str]] = ()
    window: Window = field(default_factory=Window)
    seconds: Sequence[Second] = ()
    sum: Sum = field(default_factory=Sum)
    replicas: Mapping[str, Replicas] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def heading(self) -> str:
        return f"{self.number} of {self.scenes}: {self.title}" if self.number else self.title


def sparkline(values: Sequence[float]) -> str:
    """One character for each value, its height by the largest; nothing is blank, so that little can be told from none."""
    top = max(values, default=0)
    return "".join(
        BARS[min(int(value / top * len(BARS)), len(BARS) - 1)] if value else " " for value in values
    )


def statuses(counts: Mapping[int, int]) -> str:
    """`200: 391, 502: 1, none: 2`."""
    named = {"none" if status == UNANSWERED else str(status): count for status, count in counts.items()}
    return ", ".join(f"{name}: {count:,}" for name, count in named.items()) or "none yet"


def milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def frame(view: View) -> RenderableType:
    """A picture of one moment."""
    parts: list[RenderableType] = [Text(view.happens)]
    parts += [Text(f"{what}: ", style=QUIET) + Text(address, style="cyan") for what, address in view.look_at]
    parts += [Text(), _figures(view), Text()]
    parts += [Text(note) for note in list(view.notes)[-NOTES_SHOWN:]]
    title = Text(f" {view.heading} ", style="bold")
    return Panel(Group(*parts), title=title, title_align="left", padding=(1, 2))


def _figures(view: View) -> Table:
    window, failed = view.window, view.sum.failed.total()
    table = Table.grid(padding=(0, 2))
    table.add_column(style=QUIET, no_wrap=True)
    table.add_column()
    table.add_row("requests", Text.assemble((f"{window.rate:.0f}/s  ", "bold"), _bars(view.seconds)))
    times = f"p50 {milliseconds(window.p50_ms)}   p99 {milliseconds(window.p99_ms)}"
    table.add_row("times", times + f"   in the last {WINDOW_SECONDS:.0f} s")
    table.add_row("answers", f"{statuses(window.statuses)}   in the last {WINDOW_SECONDS:.0f} s")
    count = f"{failed:,} of {view.sum.sent.total():,} in this scene"
    table.add_row("failed", Text(count, style=ILL if failed else WELL))
    table.add_row("replicas", _replicas(view.replicas))
    served = "   ".join(f"{name}:{count}" for name, count in carts(window.served_by).items())
    table.add_row("by replica", served or "–")
    return table


def _bars(seconds: Sequence[Second]) -> Text:
    """A sparkline in which the seconds with a failure are red."""
    bars = sparkline([one.answers for one in seconds])
    return Text.assemble(
        *((bar, ILL if one.failed else WELL) for bar, one in zip(bars, seconds, strict=True))
    )


def _replicas(replicas: Mapping[str, Replicas]) -> Text:
    if not replicas:
        return Text("not known", style=QUIET)
    shown = [
        Text(f"{name}:{str(its).replace(' of ', '/')}", style="" if its.available == its.wanted else "yellow")
        for name, its in sorted(replicas.items())
    ]
    return Text("   ").join(shown)


def carts(served_by: Mapping[str, int]) -> dict[str, int]:
    """The replicas of cart alone, which is the function that the tour plays with."""
    return {name: count for name, count in served_by.items() if name.startswith("cart-")}


def line(view: View) -> str:
    """The same moment for a file or a pipe."""
    window, cart = view.window, view.replicas.get("cart")
    return (
        f"{window.rate:.0f} requests/s, p50 {milliseconds(window.p50_ms)}, p99 {milliseconds(window.p99_ms)}; "
        f"answers {statuses(window.statuses)}; failed in this scene {view.sum.failed.total()}; "
        f"replicas of cart {cart or 'not known'}"
    )


def verdict(claim: Claim) -> Text:
    """One claim with its mark."""
    return Text.assemble(("✓ ", WELL) if claim.holds else ("✗ ", ILL), claim.text)


def explanations(its: Sum) -> list[str]:
    """What failed in a scene, some of it word for word, and what each status means."""
    if not its.failed:
        return []
    meanings = [
        f"{_named(status)}: {text}" for status, text in EXPLAINED.items() if its.failed_statuses[status]
    ]
    return [*its.examples, *meanings]


def _named(status: int) -> str:
    return "none" if status == UNANSWERED else str(status)


def table_of(sums: Mapping[str, Sum]) -> Table:
    """Requests by scene, and all of them."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("scene")
    for title in ("sent", "answered", "not answered", "failed"):
        table.add_column(title, justify="right")
    for name, its in sums.items():
        table.add_row(name, *_row([its]))
    table.add_row("all", *_row(sums.values()), style="bold")
    return table


def _row(sums: Iterable[Sum]) -> list[str]:
    every = list(sums)
    columns = [
        [getattr(one, name).total() for one in every] for name in ("sent", "answered", "unanswered", "failed")
    ]
    return [f"{sum(column):,}" for column in columns]
