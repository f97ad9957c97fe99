"""How fast the machine was: what a bare server takes for an answer that is always the same, before an experiment's runs and after.

What takes so many milliseconds in two folders is alike only where this was, too: one machine takes twice as long at another hour.
"""

from __future__ import annotations

from datetime import UTC, datetime

from benchmarks.floor import fixed_answer
from benchmarks.quantiles import quantile
from tests.experiments.common.driving import Block, Request, drive_only, load
from tests.experiments.common.folder import Folder

FILE = "bare.json"
SECONDS, WARM_SECONDS = 5.0, 0.5
RATE = 1_000.0
"""As in the harness' A/A: at fewer requests a second processors fall asleep between them."""
TAKES_SECONDS = 7.0
"""To look once, about."""


def look(folder: Folder) -> None:
    """Ask a bare server for some seconds, and add the p50 to what is known of the folder."""
    raw = Folder(folder.path / "bare" / str(len(seen(folder)) + 1))
    raw.path.mkdir(parents=True, exist_ok=True)
    with fixed_answer(b'{"sku":"MAG-00007"}') as port:
        drive_only(raw, [Block("bare", Request(f"http://127.0.0.1:{port}/"), SECONDS, rate=RATE)])
    [answered] = load(raw).of("bare", WARM_SECONDS)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    folder.append(FILE, {"at": at, "p50_ms": 1000 * quantile(answered.seconds, 0.5)})


def seen(folder: Folder) -> list[float]:
    """The p50, in ms, each time it was looked; none in a folder of before that was done."""
    return [one["p50_ms"] for one in folder.read(FILE)] if (folder.path / FILE).is_file() else []
