"""One trace as rows of a picture: pure. Spans in, rows with depth and place out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from localfaas.traces.otlp import Span

DEEPEST = 60
"""Rows below this depth are not set in any further."""


@dataclass(frozen=True)
class Row:
    """A span in a waterfall: its depth, and its place and length as per cent of the whole trace."""

    span: Span
    depth: int
    left: float
    width: float
    start_ms: float
    duration_ms: float
    own_ms: float
    """Of the duration, the part in which none of its children ran."""
    is_orphan: bool
    """Its parent was not recorded, or is not here yet."""


def rows(spans: Sequence[Span]) -> list[Row]:
    """Parents before children, children in the order in which they began; every span exactly once."""
    if not spans:
        return []
    known = {span.span_id for span in spans}
    children: dict[str, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda one: (one.started_ns, -one.ended_ns, one.span_id)):
        children[span.parent_id if span.parent_id in known else ""].append(span)
    first, last = min(span.started_ns for span in spans), max(span.ended_ns for span in spans)
    made = []
    waiting = [(span, 0) for span in reversed(children[""])]
    left_over = set(known)
    while waiting:
        span, depth = waiting.pop()
        left_over.discard(span.span_id)
        made.append(_row(span, depth, children[span.span_id], first, max(1, last - first)))
        waiting += [(child, min(depth + 1, DEEPEST)) for child in reversed(children[span.span_id])]
    # Spans whose parents are each other's children hang from nothing.
    loose = [span for span in spans if span.span_id in left_over]
    return made + [_row(span, 0, [], first, max(1, last - first)) for span in loose]


def _row(span: Span, depth: int, children: Sequence[Span], first: int, whole: int) -> Row:
    duration = span.ended_ns - span.started_ns
    return Row(
        span=span,
        depth=depth,
        left=round(100 * (span.started_ns - first) / whole, 3),
        width=round(100 * duration / whole, 3),
        start_ms=(span.started_ns - first) / 1e6,
        duration_ms=duration / 1e6,
        own_ms=(duration - _covered(span, children)) / 1e6,
        is_orphan=depth == 0 and span.parent_id != "",
    )


def _covered(span: Span, children: Sequence[Span]) -> int:
    """Nanoseconds of a span in which at least one of its children ran; they may overlap and outlast it."""
    covered, until = 0, span.started_ns
    for child in children:
        started, ended = max(child.started_ns, until), min(child.ended_ns, span.ended_ns)
        if ended > started:
            covered += ended - started
            until = ended
    return covered
