"""What must be so in the project's data: its own questions, from the file that `doctor` in localfaas.yml names.

The file is a list; each row that a question brings is something wrong.

| key | meaning |
|---|---|
| `check` | what must be so |
| `as` | the role that asks: the `<role>-db` of the secrets |
| `ask` | one SELECT |
| `found` | what a row means, with `{column}` where a value goes |
| `do` | what to do next |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psycopg2
import yaml

from localfaas.doctor.finding import Finding, NotLookedAt, verdict, wrong
from localfaas.doctor.installation import Installation

MOST_ROWS = 3
"""Of one question; the next look shows more."""


class BooksError(ValueError):
    """The file cannot be used; the message names it and the place."""


@dataclass(frozen=True)
class Question:
    check: str
    role: str
    ask: str
    found: str
    do: str


def load_books(path: Path) -> list[Question]:
    """Read the file. Raises BooksError."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as exc:
        raise BooksError(f"{path}: {exc}") from exc
    if not isinstance(content, list):
        raise BooksError(f"{path}: expected a list of questions")
    return [_question(f"{path}: question {number}", item) for number, item in enumerate(content, 1)]


def _question(place: str, item: object) -> Question:
    keys = {"as" if field.name == "role" else field.name for field in fields(Question)}
    if not isinstance(item, dict) or item.keys() != keys:
        raise BooksError(f"{place}: expected the keys {', '.join(sorted(keys))}")
    if not all(isinstance(value, str) and value for value in item.values()):
        raise BooksError(f"{place}: each value must be a text")
    return Question(role=item["as"], **{key: item[key].strip() for key in keys - {"as"}})


def hold(installation: Installation) -> list[Finding]:
    """Every question brings no row."""
    name = installation.hooks.doctor
    if not name:
        raise NotLookedAt("localfaas.yml names no questions (`doctor`)")
    try:
        questions = load_books(installation.settings.project / name)
    except BooksError as exc:
        raise NotLookedAt(f"{name} cannot be read") from exc
    _ = installation.admin_url  # raises when there is no database to ask
    return verdict(
        (fault for question in questions for fault in _faults(installation, question)),
        f"the {len(questions)} questions of {name} find nothing wrong",
    )


def _faults(installation: Installation, question: Question) -> Iterator[Finding]:
    try:
        rows = _ask(installation, question)
    except psycopg2.Error as exc:
        if exc.pgcode is None:
            raise NotLookedAt(f"the database does not let {question.role} in") from exc
        yield wrong(
            f"not known whether {question.check}: {' '.join(str(exc).split())[:160]}",
            f"`localfaas logs postgres`; has `localfaas up` applied every migration that {installation.hooks.doctor} needs?",
        )
        return
    for row in rows:
        yield wrong(question.found.format_map(row), question.do)


def _ask(installation: Installation, question: Question) -> list[dict[str, Any]]:
    with installation.database(installation.login(question.role)) as cursor:
        cursor.execute(question.ask)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchmany(MOST_ROWS)]
