"""One running edge for each file of rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.observed import Site, running_site


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running
