"""Database: the functions' pools and queries, and what PostgreSQL says of itself."""

from __future__ import annotations

from . import promql, style
from .board import ALERTS, FUNCTIONS, Board, Row
from .panels import bars, dial, graph, listing, number
from .promql import FUNCTION, Query

QUERIES = "database_query_duration_seconds"
DATABASES = 'datname!~"template.*|postgres"'
EXPORTED = "Told by PostgreSQL's exporter."


def queries() -> Row:
    failed = " + ".join(
        f"({promql.or_zero(promql.rate(counter, FUNCTION))})"
        for counter in ("database_connect_failures_total", "database_transactions_repeated_total")
    )
    return Row(
        "How do the functions' queries fare?",
        [
            graph(
                "Rate",
                "Statements in a second that functions send, by kind.",
                Query(promql.rate(f"{QUERIES}_count", FUNCTION, "operation"), "{{operation}}"),
                unit=style.PER_SECOND,
            ),
            graph(
                "Errors",
                "Connections that could not be made, and transactions that had to be repeated because of a "
                "deadlock or a conflict, in a second. 0 is right; repeats are bad only when they are many.",
                Query(failed, "both"),
                Query(promql.rate("database_connect_failures_total", FUNCTION), "not connected"),
                Query(promql.rate("database_transactions_repeated_total", FUNCTION), "repeated"),
                unit=style.PER_SECOND,
                colours={"not connected": style.RED, "repeated": style.YELLOW, "both": style.GREY},
            ),
            graph(
                "Duration",
                "Time of a statement, from the function's side, over all chosen functions.",
                *(
                    Query(promql.quantile(share, QUERIES, FUNCTION), name)
                    for share, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))
                ),
                unit=style.SECONDS,
                colours=style.PERCENTILES,
            ),
        ],
    )


def pools() -> Row:
    used = f'sum by (function) (database_pool_connections{{{FUNCTION}, state="used"}})'
    waited = promql.quantile(0.99, "database_pool_wait_seconds", FUNCTION, "function")
    size = f"sum by (function) (database_pool_size{{{FUNCTION}}})"
    return Row(
        "Are the pools of connections large enough?",
        [
            graph(
                "Used",
                "Connections of each function's pools that are in use now, over all replicas.",
                Query(used, "{{function}}"),
                unit=style.COUNT,
                width=6,
            ),
            bars(
                "Used of what there is",
                "Share of a function's pools that is in use. At 1 the next request waits.",
                Query(f"{used} / {size}", "{{function}}"),
                unit=style.SHARE,
                width=6,
                limits=style.BUSY,
                maximum=1,
            ),
            graph(
                "Waiting",
                "Requests that wait for a connection now. More than a moment's worth is bad: queries are slow, or "
                "the pool is too small.",
                Query(f"sum by (function) (database_pool_waiting{{{FUNCTION}}})", "{{function}}"),
                unit=style.COUNT,
                width=6,
            ),
            graph(
                "Time waited, p99",
                "Of the requests that had to wait for a connection, one in a hundred waited longer; 0 when none had to.",
                Query(f"({waited} >= 0) or 0 * {size}", "{{function}}"),
                unit=style.SECONDS,
                width=6,
            ),
        ],
    )


def slow() -> Row:
    per_request = (
        f"{promql.rate(f'{QUERIES}_count', FUNCTION, 'function')}"
        f" / ({promql.rate('http_request_duration_seconds_count', FUNCTION, 'function')} > 0)"
    )
    return Row(
        "What is slow, and who makes the work?",
        [
            graph(
                "By kind of statement, p99",
                "One statement in a hundred takes longer, by kind.",
                Query(promql.quantile(0.99, QUERIES, FUNCTION, "operation"), "{{operation}}"),
                unit=style.SECONDS,
                width=6,
            ),
            graph(
                "By function, p99",
                "One statement in a hundred takes longer, by function. One that leaves the others has a slow "
                "query, or waits for a lock.",
                Query(promql.quantile(0.99, QUERIES, FUNCTION, "function"), "{{function}}"),
                unit=style.SECONDS,
                width=6,
            ),
            graph(
                "Time in the database",
                "Seconds in a second that each function's statements take: who uses the database most.",
                Query(promql.rate(f"{QUERIES}_sum", FUNCTION, "function"), "{{function}}"),
                unit=style.SECONDS,
                width=6,
                stacked=True,
            ),
            graph(
                "Statements for a request",
                "How many statements a request of each function makes. A climb without new code is a list that "
                "grew, or many retries.",
                Query(per_request, "{{function}}"),
                unit=style.COUNT,
                width=6,
            ),
        ],
    )


def limits() -> Row:
    held = "sum(pg_stat_database_numbackends)"
    touched = f"sum(rate(pg_stat_database_blks_hit{{{DATABASES}}}[{promql.RATE}]))"
    read = f"sum(rate(pg_stat_database_blks_read{{{DATABASES}}}[{promql.RATE}]))"
    return Row(
        "Is PostgreSQL near a limit?",
        [
            number(
                "Reachable",
                f"Whether the exporter reaches PostgreSQL: 1 is right. {EXPORTED}",
                Query("max(pg_up)", "up"),
                unit=style.COUNT,
                height=8,
                limits=(1,),
                falling=True,
            ),
            dial(
                "Connections used",
                f"Connections of what PostgreSQL allows at most. At 1 nobody else gets in. {EXPORTED}",
                Query(f"{held} / max(pg_settings_max_connections)", "used"),
                unit=style.SHARE,
                limits=style.BUSY,
                width=5,
            ),
            dial(
                "Found in memory",
                "Share of blocks that were found in PostgreSQL's own memory, in the last moments. Below 0.9 for "
                f"long, memory is short; little is asked when the platform idles. {EXPORTED}",
                Query(f"{touched} / (({touched} + {read}) > 0) or vector(1)", "found"),
                unit=style.SHARE,
                limits=(0.9, 0.99),
                width=5,
                falling=True,
            ),
            graph(
                "Connections by state",
                f"What connections do: active, idle, idle in a transaction (bad when it lasts). {EXPORTED}",
                Query("sum by (state) (pg_stat_activity_count) > 0", "{{state}}"),
                unit=style.COUNT,
                width=10,
                stacked=True,
            ),
        ],
    )


def work() -> Row:
    def of_database(name: str) -> str:
        return promql.rate(f"pg_stat_database_{name}", DATABASES)

    return Row(
        "What does PostgreSQL do?",
        [
            graph(
                "Transactions",
                f"Transactions in a second that were committed and rolled back. {EXPORTED}",
                Query(of_database("xact_commit"), "committed"),
                Query(of_database("xact_rollback"), "rolled back"),
                unit=style.PER_SECOND,
                colours={"committed": style.GREEN, "rolled back": style.RED},
            ),
            graph(
                "Locks",
                f"Locks held or waited for, by mode. AccessExclusiveLock that stays blocks everybody. {EXPORTED}",
                Query(f"sum by (mode) (pg_locks_count{{{DATABASES}}}) > 0", "{{mode}}"),
                unit=style.COUNT,
            ),
            graph(
                "Deadlocks",
                f"Transactions in a minute that PostgreSQL broke off because they waited for each other. {EXPORTED}",
                Query(promql.per_minute("pg_stat_database_deadlocks", DATABASES), "deadlocks"),
                unit=style.PER_MINUTE,
                colours={"deadlocks": style.RED},
            ),
            graph(
                "Size",
                f"Size of each database on disk. {EXPORTED}",
                Query(f"sum by (datname) (pg_database_size_bytes{{{DATABASES}}})", "{{datname}}"),
                unit=style.BYTES,
            ),
            listing(
                "Tables with most dead rows",
                "Rows that were changed or deleted and are not yet cleared away, of the ten tables with most, "
                f"beside those that live. Many dead for few living: autovacuum does not keep up. {EXPORTED}",
                Query("topk(10, sum by (schemaname, relname) (pg_stat_user_tables_n_dead_tup))", "dead"),
                Query(
                    "sum by (schemaname, relname) (pg_stat_user_tables_n_live_tup)"
                    " and topk(10, sum by (schemaname, relname) (pg_stat_user_tables_n_dead_tup))",
                    "living",
                ),
                columns={"schemaname": "schema", "relname": "table"},
                units={"dead": style.COUNT, "living": style.COUNT},
                width=16,
            ),
        ],
    )


BOARD = Board(
    uid="magasin-database",
    description="The functions' pools and queries, and what PostgreSQL says of itself.",
    since="now-30m",
    rows=[queries(), pools(), slow(), limits(), work()],
    choices=[FUNCTIONS],
    marks=[ALERTS],
)
