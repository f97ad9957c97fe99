"""What visits ask for, from the load tests' scenario (tests/load/scenario.json), which says it once for all."""

from __future__ import annotations

from collections import Counter

from tests.load.scenario import load


def requests_of_a_visit(journey: str = "shop") -> dict[str, float]:
    """By action, how many times a visit of that journey does it on average."""
    found: Counter[str] = Counter()
    for visit in load().journeys[journey].values():
        for action in visit.actions:
            found[action] += visit.of_100
    return {action: count / 100 for action, count in found.items()}
