"""What a tour has shown in the end: its claims, its sums, and whether they agree with what the edge has counted itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.load.demo.drawing import Claim, View
from tests.load.demo.record import Sum

SUM = "sum"
"""The name of the last scene, whose claims are about all of them."""


@dataclass
class Outcome:
    """By scene. `edge_counted` is how many requests the edge has answered meanwhile; None where it does not say."""

    claims: dict[str, list[Claim]] = field(default_factory=dict)
    sums: Mapping[str, Sum] = field(default_factory=dict)
    edge_counted: int | None = None
    stopped: bool = False
    picture: View | None = None
    """What the last scene looked like at its end."""

    @property
    def as_told(self) -> bool:
        return SUM in self.claims and all(claim.holds for its in self.claims.values() for claim in its)

    def as_json(self) -> dict[str, Any]:
        return {
            "as_told": self.as_told,
            "stopped": self.stopped,
            "edge_counted": self.edge_counted,
            "scenes": {name: _as_json(its) for name, its in self.sums.items()},
            "claims": [
                {"scene": scene, "claim": claim.text, "holds": claim.holds}
                for scene, its in self.claims.items()
                for claim in its
            ],
        }


def _as_json(its: Sum) -> dict[str, Any]:
    return {
        "sent": its.sent.total(),
        "answered": its.answered.total(),
        "unanswered": its.unanswered.total(),
        "failed": its.failed.total(),
        "statuses": {str(status): count for status, count in sorted(its.statuses.items())},
        "examples": its.examples,
    }


def all_answered(sums: Mapping[str, Sum]) -> int:
    return sum(its.answered.total() for its in sums.values())


def of_requests(sums: Mapping[str, Sum], edge_counted: int | None) -> list[Claim]:
    """No request got lost here, nor at the edge, which may have answered others as well."""
    sent = sum(its.sent.total() for its in sums.values())
    answered, unanswered = all_answered(sums), sum(its.unanswered.total() for its in sums.values())
    claims = [
        Claim(
            f"requests: {sent:,} sent = {answered:,} answered + {unanswered:,} not answered",
            sent == answered + unanswered,
        )
    ]
    if edge_counted is not None:
        others = (
            f", {edge_counted - answered:,} of them not answers to the tour"
            if edge_counted > answered
            else ""
        )
        claims.append(
            Claim(f"the edge has counted {edge_counted:,} itself{others}", edge_counted >= answered)
        )
    return claims
