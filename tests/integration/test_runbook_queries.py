"""What runbooks have people ask the database can be asked, by the role that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.postgres import PROJECT, TEMPLATE, Database, PostgresServer

PAGES = [*(PROJECT / "docs" / "runbooks").glob("*.md"), PROJECT / "db" / "README.md"]
QUESTIONS = [
    (path.stem, role, statement)
    for path in PAGES
    for role, statement in re.findall(r'make psql as=(\w+) q="([^"]+)"', path.read_text())
]


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    """One for all questions, none of which changes anything."""
    database = postgres_server.create_database(TEMPLATE)
    yield database
    database.drop()


def test_there_are_questions() -> None:
    assert len(QUESTIONS) > 5


@pytest.mark.parametrize(("page", "role", "statement"), QUESTIONS)
def test_question_of_a_page_is_answered(page: str, role: str, statement: str, database: Database) -> None:
    with closing(database.connect(role)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        assert cursor.description
