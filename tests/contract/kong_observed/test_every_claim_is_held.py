"""Every section of the record has its claims here, every claim is held by something, every difference is told."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.edge import PROJECT
from tests.support.observed import Differs, Held, HeldBy, Table

FOLDER = Path(__file__).parent
SECTIONS = range(1, 16)
COVERAGE = (PROJECT / "kong" / "README.md").read_text()


def tables() -> Iterator[Table]:
    for path in sorted(FOLDER.glob("test_[0-9]*.py")):
        module = importlib.import_module(f"tests.contract.kong_observed.{path.stem}")
        for table in module.TABLES:
            assert all(claim.startswith(f"{module.SECTION}.") for claim in table.claims), path.name
            yield table


CLAIMS: dict[str, Sequence[Held]] = {
    claim: held for table in tables() for claim, held in table.claims.items()
}


@pytest.mark.parametrize("section", SECTIONS)
def test_section_has_claims_numbered_from_one(section: int) -> None:
    numbers = sorted(int(found[1]) for claim in CLAIMS if (found := re.match(rf"{section}\.(\d+) ", claim)))
    assert numbers
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("claim", CLAIMS)
def test_claim_is_held(claim: str) -> None:
    assert CLAIMS[claim]
    for held in CLAIMS[claim]:
        if isinstance(held, Differs):
            assert held.told in COVERAGE, f"kong/README.md does not tell: {held.told}"
        elif isinstance(held, HeldBy):
            assert f"def {held.function}(" in (PROJECT / "tests" / held.file).read_text(), held
