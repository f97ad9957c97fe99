"""What came back of a load: one entry a request, counted from when it was due, in numpy arrays and on disk.

Time counts from the moment at which a request was due, not from that at which it left: where a client is held up by a
slow answer, what it could not send meanwhile would else be missing from the figures ("coordinated omission", Tene 2013).
The timer of the client wakes up to some milliseconds late, which is not the server's doing and more than many answers
take: what left within JITTER_SECONDS counts from when it left.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

Floats = NDArray[np.float64]

JITTER_SECONDS = 0.010
_MOST_MICROSECONDS = 120_000_000
_DIGITS = 3
_Entry = tuple[float, float, float, float, int, bool]
"""Number, displacement, end (Unix time), time taken (both seconds), status, ok."""
_COLUMNS = ("block", "due_us", "late_us", "took_us", "status", "ok")


@dataclass(frozen=True)
class Answers:
    """The requests of one block, in the order in which they were due; all arrays have the same length."""

    due: Floats
    """When each was due, Unix time. In a closed block nothing is due: it is when it left."""
    late: Floats
    """Seconds from then until it left; at least 0."""
    took: Floats
    """Seconds from when it left until its answer was there, a new connection included."""
    status: NDArray[np.int_]
    """0: no answer."""
    ok: NDArray[np.bool_]
    """Whether status and answer were those to be expected."""

    @property
    def seconds(self) -> Floats:
        """From when each was due until its answer was there; see above for what left about in time."""
        return np.where(self.late <= JITTER_SECONDS, self.took, self.late + self.took)

    @property
    def ended(self) -> Floats:
        return self.due + self.late + self.took

    def __len__(self) -> int:
        return len(self.due)

    def where(self, chosen: NDArray[np.bool_]) -> Answers:
        return Answers(
            self.due[chosen], self.late[chosen], self.took[chosen], self.status[chosen], self.ok[chosen]
        )

    def after(self, moment: float) -> Answers:
        """Those due from `moment` on."""
        return self.where(self.due >= moment)

    def between(self, start: float, end: float) -> Answers:
        """Those due from `start` until before `end`."""
        return self.where((self.due >= start) & (self.due < end))


def joined(parts: Sequence[Answers]) -> Answers:
    """All of them, in the order of the parts."""
    return Answers(
        np.concatenate([part.due for part in parts]),
        np.concatenate([part.late for part in parts]),
        np.concatenate([part.took for part in parts]),
        np.concatenate([part.status for part in parts]),
        np.concatenate([part.ok for part in parts]),
    )


def from_k6(
    output: Path, rates: Mapping[str, float | Callable[[float], float]]
) -> tuple[dict[str, Answers], int]:
    """The answers of load.js by block, and how many requests could not be sent.

    `rates` has those of the open blocks; where a rate changes, it tells when the request of a number is due instead.

    k6 says when a block began to the millisecond only, so its beginning is taken from its most punctual request.
    """
    entries: dict[str, list[_Entry]] = {}
    dropped = 0.0
    with output.open(newline="") as file:
        head = next(csv.reader(file))
        wanted = (line for line in file if line.startswith(("answer,", "dropped_iterations,")))
        for row in csv.DictReader(wanted, fieldnames=head):
            if row["metric_name"] == "dropped_iterations":
                dropped += float(row["metric_value"])
                continue
            about, tags = _pairs(row["metadata"]), _pairs(row["extra_tags"])
            ended, took = int(row["timestamp"]) / 1e6, float(row["metric_value"]) / 1e3
            entry = (
                float(about["i"]),
                float(about["d"]) / 1e3,
                ended,
                took,
                int(row["status"]),
                tags["ok"] == "1",
            )
            entries.setdefault(row["scenario"], []).append(entry)
    return {name: _answers(found, rates.get(name)) for name, found in entries.items()}, round(dropped)


def _pairs(text: str) -> dict[str, str]:
    """`a=1&b=2`, as k6 writes what has no column of its own."""
    return dict(pair.split("=", 1) for pair in text.split("&") if pair)


def _answers(entries: Sequence[_Entry], rate: float | Callable[[float], float] | None) -> Answers:
    number, displaced, ended, took, status, ok = (np.array(column) for column in zip(*entries, strict=True))
    left = ended - took
    if rate is None:
        due = left
    else:
        moments = np.array([rate(one) for one in number]) if callable(rate) else number / rate
        planned = moments + displaced
        due = planned + (left - planned).min()
    order = np.argsort(due, kind="stable")
    return Answers(
        due[order], (left - due)[order], took[order], status[order].astype(int), ok[order].astype(bool)
    )


def write(path: Path, blocks: Mapping[str, Answers]) -> None:
    """Every request as a row of a compressed table."""
    with gzip.open(path, "wt", newline="", compresslevel=6) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(_COLUMNS)
        for name, one in blocks.items():
            micro = (
                np.round(column * 1e6).astype(np.int64).tolist() for column in (one.due, one.late, one.took)
            )
            for row in zip(*micro, one.status.tolist(), one.ok.astype(int).tolist(), strict=True):
                table.writerow((name, *row))


def read(path: Path) -> dict[str, Answers]:
    """What `write` wrote."""
    rows: dict[str, list[tuple[str, ...]]] = {}
    with gzip.open(path, "rt", newline="") as file:
        table = csv.reader(file)
        next(table)
        for name, *rest in table:
            rows.setdefault(name, []).append(tuple(rest))
    return {name: _read_one(entries) for name, entries in rows.items()}


def _read_one(entries: Sequence[tuple[str, ...]]) -> Answers:
    numbers = np.array(entries, dtype=np.int64).reshape(-1, len(_COLUMNS) - 1)
    due, late, took = (numbers[:, place] / 1e6 for place in range(3))
    return Answers(due, late, took, numbers[:, 3], numbers[:, 4].astype(bool))


def write_histograms(path: Path, blocks: Mapping[str, Answers], arm_of: Mapping[str, str]) -> None:
    """A log of HdrHistograms, one a block, tagged with its arm: microseconds from when each request was due.

    The log format 1.3, which HdrHistogram's own tools read; the Python library's writer knows no tags.
    """
    in_order = sorted(blocks.items(), key=lambda item: item[1].due[0])
    lines = [
        "#[Microseconds from when a request was due; the greatest in milliseconds]",
        "#[BaseTime: 0.0 (seconds since epoch)]",
    ]
    lines += [
        "#[Histogram log format version 1.3]",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"',
    ]
    for name, one in in_order:
        start, end, packed = one.due[0], one.ended.max(), histogram_of(one.seconds).encode().decode()
        lines.append(
            f"Tag={arm_of.get(name, name)},{start:.6f},{end - start:.6f},{one.seconds.max() * 1000:.3f},{packed}"
        )
    path.write_text("\n".join(lines) + "\n")


def histogram_of(seconds: Floats) -> HdrHistogram:
    """An HdrHistogram of microseconds, to three digits."""
    histogram = HdrHistogram(1, _MOST_MICROSECONDS, _DIGITS)
    values, counts = np.unique(
        np.clip(np.round(seconds * 1e6), 1, _MOST_MICROSECONDS).astype(int), return_counts=True
    )
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        histogram.record_value(value, count)
    return histogram
