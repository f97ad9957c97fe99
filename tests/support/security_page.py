"""docs/security.md, and the tests by which it proves its rows."""

from __future__ import annotations

import re

from tests.support.postgres import PROJECT

PAGE = (PROJECT / "docs" / "security.md").read_text()
TESTS = PROJECT / "tests"
_NAMED = re.compile(r"`([a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")


def named_tests(page: str) -> list[tuple[str, str]]:
    """Of each test that a page or a part of it names: its file, from TESTS on, and its name."""
    return _NAMED.findall(page)
