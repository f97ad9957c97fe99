"""Migrations as dbmate applies them to databases of tests, and what is in a database before and after."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from localfaas.database import migrate
from tests.support.postgres import PROJECT, Database

MIGRATIONS = PROJECT / "db" / "migrations"
DBMATE = Path(sys.executable).parent / "dbmate"
FILES = sorted(MIGRATIONS.glob("*.sql"))
NEWEST = len(FILES)

Row = Mapping[str, Any]
Rows = Mapping[str, list[Row]]
"""What every table of functions holds, by its name with its schema."""


def up(database: Database) -> None:
    migrate(database.url(), MIGRATIONS, DBMATE)


def down(database: Database) -> None:
    """Take the last migration back."""
    migrate(database.url(), MIGRATIONS, DBMATE, "rollback")


def migrate_first(database: Database, count: int, further: Mapping[str, str] | None = None) -> None:
    """Apply the first `count` migrations only, and then `further` ones: file names and what they do."""
    folder = database.server.directory / f"first-{count}-{database.name}"
    folder.mkdir(exist_ok=True)
    for path in FILES[:count]:
        (folder / path.name).write_text(path.read_text())
    for name, statement in (further or {}).items():
        (folder / name).write_text(f"-- migrate:up\n{statement};\n-- migrate:down\nSELECT 1;\n")
    migrate(database.url(), folder, DBMATE)


def rows(database: Database) -> Rows:
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(_TABLES)
        found: dict[str, list[Row]] = {name: [] for (name,) in cursor.fetchall()}
        if found:
            cursor.execute(
                " UNION ALL ".join(f"SELECT '{name}', to_jsonb(a_row) FROM {name} AS a_row" for name in found)
            )
            for name, row in cursor.fetchall():
                found[name].append(row)
    return found


def lost(before: Rows, after: Rows, *, narrowed: bool = False) -> dict[str, int]:
    """How many rows of each table are not there any more as they were; columns that are new do not matter.

    `narrowed`: tables and columns that are gone altogether do not matter either.
    """
    found = {}
    for name, old in before.items():
        if not old or (narrowed and name not in after):
            continue
        new = after.get(name, [])
        columns = set(old[0])
        if narrowed and new:
            columns &= set(new[0])
        missing = Counter(_written(old, columns))
        missing.subtract(_written(new, columns))
        count = sum((+missing).values())
        if count:
            found[name] = count
    return found


def _written(found: Iterable[Row], columns: set[str]) -> list[str]:
    return [
        json.dumps({name: row.get(name, "no such column") for name in columns}, sort_keys=True)
        for row in found
    ]


_TABLES = r"""
SELECT format('%I.%I', nspname, relname)
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r'
  AND nspname !~ '^pg_'
  AND nspname NOT IN ('public', 'extensions', 'information_schema')
ORDER BY 1
"""
