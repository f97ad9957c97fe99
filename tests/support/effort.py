"""How hard generated tests try: a little and always the same in `make test`, much and at random with VERIFY=1.

VERIFY_EXAMPLES then says how much at most, 5,000 examples of a test if it says nothing.
"""

from __future__ import annotations

import os

import hypothesis
from hypothesis import HealthCheck, Phase

LONG = os.environ.get("VERIFY") == "1"
MOST = int(os.environ.get("VERIFY_EXAMPLES", "5000"))


def examples(few: int, many: int) -> hypothesis.settings:
    """Settings of a generated test: `few` examples that are the same each time, or `many` and at most MOST, each time others.

    Fixtures are shared by all examples of a test, which those tests know.
    """
    return hypothesis.settings(
        max_examples=min(many, MOST) if LONG else few,
        derandomize=not LONG,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if LONG else [])],
        suppress_health_check=list(HealthCheck),
    )
