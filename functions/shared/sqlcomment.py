"""Comments that tell PostgreSQL, its log and its views which request a statement belongs to (sqlcommenter's format).

    SELECT … /*application='cart',route='%2Fitems',traceparent='00-…-01'*/

https://google.github.io/sqlcommenter/spec/ : keys in order, values percent-encoded and quoted.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote


def commented(statement: str, tags: Mapping[str, str], *, doubled: bool) -> str:
    """`statement` with `tags` at its end. Nothing in them ends the comment: of a value only `A-Za-z0-9_.-~%` is left.

    `doubled` says that percent signs are written twice, as psycopg2 reads them where there are parameters.
    """
    text = ",".join(f"{key}='{quote(value, safe='')}'" for key, value in sorted(tags.items()))
    return f"{statement.rstrip()} /*{text.replace('%', '%%') if doubled else text}*/"
