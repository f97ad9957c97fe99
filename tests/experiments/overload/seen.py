"""What was written down of an overload: what was useful, who was refused and how soon, what piled up, and the way back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quantiles import quantile
from tests.experiments.capacity.cells import TO_ITS_LIMIT, read_visit
from tests.experiments.common.answers import Answers, joined
from tests.experiments.common.driving import load
from tests.experiments.common.folder import Folder
from tests.experiments.overload import watching
from tests.experiments.overload.watching import Held, Told

REFUSALS = (429, 503)
BUYING_ALREADY = 409
RISING_SECONDS = 1.0
"""What was due in the first second of an overload met a shop that was not full yet."""


@dataclass(frozen=True)
class Seen:
    """One subject; moments are Unix time, rates are requests a second."""

    subject: str
    knee: float
    times: float
    began: float
    ended: float
    """Of the overload."""
    parts: Mapping[str, Answers]
    """Of the whole run, by part."""
    bounds: Mapping[str, float]
    """By part, what its p99 has to stay within, seconds."""
    held: Sequence[Held]
    told: Sequence[Told]
    limit: int
    """What may be in flight where it was asked."""

    @property
    def name(self) -> str:
        """What was asked for: of sales it is quotes, which write nothing."""
        return {"sales": "quotes"}.get(self.subject, self.subject)

    @property
    def over(self) -> Answers:
        """What was due in the overload, once it had risen."""
        return joined(list(self.parts.values())).between(self.began + RISING_SECONDS, self.ended)

    @property
    def seconds(self) -> float:
        return self.ended - self.began - RISING_SECONDS

    @property
    def offered(self) -> float:
        """What was really sent."""
        return len(self.over) / self.seconds

    @property
    def useful(self) -> float:
        """Right answers that came meanwhile."""
        every = joined(list(self.parts.values()))
        within = (every.ended >= self.began + RISING_SECONDS) & (every.ended < self.ended)
        return int(np.sum(every.ok & within)) / self.seconds

    @property
    def share(self) -> float:
        """What was useful, of the knee; not a number where the ladder found none."""
        return self.useful / self.knee if self.knee else math.nan

    @property
    def sent_times(self) -> float:
        """What was sent, of the knee; not a number where the ladder found none."""
        return self.offered / self.knee if self.knee else math.nan

    @property
    def kinds(self) -> Counter[str]:
        """Of what was not rightly answered, by status."""
        return Counter(str(status or "no answer") for status in self.over.status[~self.over.ok].tolist())

    @property
    def refused(self) -> Answers:
        return self.over.where(np.isin(self.over.status, REFUSALS))

    @property
    def late(self) -> int:
        """What was neither done nor refused."""
        return int(np.sum(~self.over.ok & ~np.isin(self.over.status, (*REFUSALS, BUYING_ALREADY))))

    @property
    def refused_p99(self) -> float:
        """From when a request left, as the client's own lateness is not the shop's."""
        return quantile(self.refused.took, 0.99) if len(self.refused) else math.nan

    @property
    def without_word(self) -> int:
        """Refusals that do not say when to come again."""
        return sum(one.status in REFUSALS and not one.retry_after for one in self.told)

    @property
    def most_in_flight(self) -> int:
        return max((one.in_flight for one in self.held), default=0)

    @property
    def grown(self) -> float:
        """Memory at most, over that before."""
        before = [one.own_bytes for one in self.held if one.at < self.began]
        after = [one.own_bytes for one in self.held if one.at >= self.began]
        return max(after) / float(np.median(before)) if before and after else math.nan

    @property
    def recovered(self) -> float:
        """Seconds after the overload, when the last request was due that failed or took longer than its bound.

        From when it left: a client that was held up once in an overload is as late with all that follow, and no answer of
        the shop's holds it up, as what it has no connection for is not sent.
        """
        last = self.ended
        for name, answers in self.parts.items():
            its = answers.after(self.ended)
            bad = its.where(~its.ok | (its.took > self.bounds[name]))
            # A request in a hundred may be slow at any time.
            if len(bad) > max(1, len(its) // 100):
                last = max(last, float(bad.due[-1 - len(its) // 100]))
        return last - self.ended


def read(folder: Folder, subject: str) -> Seen:
    about = folder.read("overload.json")
    driven = load(Folder(folder.path / "over"), TO_ITS_LIMIT)
    parts = {part["name"]: joined(driven.of(part["name"])) for part in about["parts"]}
    begin = min(float(one.due.min()) for one in parts.values()) + about["calm_seconds"]
    held, told = watching.read(folder.read("watched.json"))
    return Seen(
        subject,
        read_visit(folder, subject).knee.value,
        about["times"],
        begin,
        begin + about["seconds"],
        parts,
        {part["name"]: part["bound_seconds"] for part in about["parts"]},
        held,
        told,
        about["limit"],
    )
