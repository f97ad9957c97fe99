"""Facts follow the documents: nothing that commits late is missed, nothing is counted twice, nobody else writes them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg2
import pytest
from psycopg2 import errors

from tests.support.books import Books, Line, facts, open_books
from tests.support.functions import problem
from tests.support.postgres import PostgresServer

NOON = datetime(2025, 6, 2, 16, tzinfo=UTC)
ALL = "from=2025-01-01&to=2025-12-31"


@pytest.fixture(scope="module")
def books_of_all(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Books]:
    with open_books(postgres_server, tmp_path_factory.mktemp("books")) as books:
        yield books


@pytest.fixture
def books(books_of_all: Books) -> Books:
    books_of_all.empty()
    return books_of_all


@contextmanager
def another_till(books: Books) -> Iterator[Books]:
    """The same books over a connection of its own."""
    with closing(books.database.connect()) as connection:
        yield replace(books, connection=connection)


def net(books: Books, query: str = "") -> int:
    total: int = books.report(f"/sales?{ALL}&{query}")["total"]["net_cents"]
    return total


def xid(books: Books, sale_id: str) -> int:
    (row,) = books.rows("SELECT changed_xid::text FROM sales.sales WHERE sale_id = %(id)s", {"id": sale_id})
    return int(row["changed_xid"])


def post(books: Books, path: str, role: str = "service") -> Any:
    store = "S1" if role == "staff" else None
    return books.client().post(path, headers=books.secrets.bearer(role, subject="maintenance", store=store))


def test_a_sale_that_commits_after_later_ones_were_counted_is_not_missed(books: Books) -> None:
    with another_till(books) as slow:
        late = slow.sell("S1", NOON, Line(price_cents=700))
        early = books.sell("S1", NOON, Line(price_cents=20))
        assert xid(slow, late) < xid(books, early)
        books.connection.commit()
        books.refresh()
        assert net(books) == 20
        slow.connection.commit()
        books.refresh()
    assert net(books) == 720


def test_a_void_that_commits_late_is_not_missed(books: Books) -> None:
    first, second = (books.sell("S2", NOON, Line(price_cents=cents)) for cents in (5, 60))
    books.connection.commit()
    books.refresh()
    with another_till(books) as slow:
        slow.void(first)
        books.void(second)
        books.connection.commit()
        books.refresh()
        assert net(books) == 5
        slow.connection.commit()
        books.refresh()
    assert net(books) == 0
    assert books.rows("SELECT count(*) AS rows FROM reports.product_sales") == [{"rows": 0}]
    (day,) = books.report(f"/sales?{ALL}&by=day")["items"]
    assert (day["sale_count"], day["void_count"]) == (0, 2)


def test_an_order_that_is_cancelled_late_is_not_missed(books: Books) -> None:
    first, second = (books.order("W1", NOON, Line(price_cents=cents)) for cents in (5, 60))
    books.connection.commit()
    books.refresh()
    assert net(books, "channel=web") == 65
    with another_till(books) as slow:
        slow.cancel_order(first, NOON.replace(day=9))
        books.cancel_order(second, NOON)
        books.connection.commit()
        books.refresh()
        assert net(books) == 5
        slow.connection.commit()
        books.refresh()
    days = {row["day"]: row["net_cents"] for row in books.report(f"/sales?{ALL}&by=day")["items"]}
    assert days == {"2025-06-02": 5, "2025-06-09": -5}


def test_what_rolls_back_is_not_counted(books: Books) -> None:
    with another_till(books) as other:
        other.sell("S1", NOON, Line())
        books.refresh()
        other.connection.rollback()
    books.refresh()
    assert net(books) == 0


def test_each_change_is_summed_once(books: Books) -> None:
    books.sell("S1", NOON, Line(), Line(sku="B"))
    books.connection.commit()
    assert [books.refresh() for _ in range(3)] == [1, 0, 0]
    assert net(books) == 200


def test_a_day_that_is_scanned_again_is_not_counted_again(books: Books) -> None:
    with another_till(books) as open_all_day:
        open_all_day.sell("S3", NOON, Line())
        for _ in range(3):
            books.sell("S1", NOON, Line())
            books.connection.commit()
            assert books.refresh() == 1, "the open transaction has the others scanned again"
    assert net(books) == 300


def test_as_of_moves_when_all_that_was_found_is_summed(books: Books) -> None:
    with_little_time = replace(books, app=_app_with(books, refresh_budget_ms="0"))
    for day in (1, 2, 3):
        books.sell("S1", NOON.replace(day=day), Line())
    books.connection.commit()
    answers = [post(with_little_time, "/refresh").get_json() for _ in range(4)]
    assert [(answer["refreshed"], answer["more"]) for answer in answers] == [(1, True)] * 3 + [(0, False)]
    assert [answer["as_of"] for answer in answers[:2]] == [None, None]
    assert answers[2]["as_of"] < answers[3]["as_of"] == books.report("/sales")["as_of"]
    with_little_time.app.service.database.close()


def _app_with(books: Books, **settings: str) -> Any:
    from functions.reports.handler import create_app

    return create_app({**books.secrets.environ, **settings})


def test_before_the_first_refresh_there_are_no_reports(books: Books) -> None:
    response = books.get("/sales")
    assert problem(response) == (503, "reports_not_ready")
    assert response.headers["Retry-After"] == "5"
    books.refresh()
    assert books.report("/sales")["items"] == []


def test_who_refreshes_second_leaves_it_to_the_first(books: Books) -> None:
    books.sell("S1", NOON, Line())
    books.connection.commit()
    with closing(books.database.connect()) as first, first.cursor() as cursor:
        cursor.execute("SELECT FROM reports.progress FOR UPDATE")
        assert post(books, "/refresh").get_json() == {"refreshed": 0, "more": False, "as_of": None}
        first.rollback()
    assert books.refresh() == 1


def test_many_refreshes_at_once_come_to_the_same_sums(books: Books) -> None:
    for hour in range(6):
        books.sell("S1", NOON.replace(hour=hour), Line())
        books.sell("S4", NOON.replace(hour=hour), Line(price_cents=7))
    books.connection.commit()
    with ThreadPoolExecutor(4) as pool:
        statuses = [answer.status_code for answer in pool.map(lambda _: post(books, "/refresh"), range(16))]
    assert statuses == [200] * 16
    books.refresh()
    assert net(books) == 642


def test_a_copy_of_the_data_in_another_server_counts_what_happens_there(books: Books) -> None:
    books.sell("S1", NOON, Line())
    books.connection.commit()
    books.refresh()
    # A restored dump keeps the number of the last scan, and transactions are numbered anew.
    books.rows("UPDATE reports.progress SET scanned_xid = '9000000000000'")
    books.sell("S1", NOON, Line())
    books.connection.commit()
    books.refresh()
    assert net(books) == 200


def test_a_copy_of_the_data_in_another_server_is_summed_once_and_not_at_every_refresh(books: Books) -> None:
    sale = books.sell("S1", NOON, Line())
    books.connection.commit()
    books.refresh()
    ahead = 9_000_000_000_000
    books.rows(f"UPDATE sales.sales SET changed_xid = '{ahead}'")
    books.rows("UPDATE reports.progress SET server = server + 1")
    books.connection.commit()
    assert xid(books, sale) == ahead
    assert [books.refresh(), books.refresh()] == [1, 0]
    books.sell("S1", NOON, Line())
    books.connection.commit()
    assert [books.refresh(), books.refresh()] == [1, 0]
    assert net(books) == 200


def test_a_rebuild_mends_what_was_broken_and_reports_stay_whole_until_then(books: Books) -> None:
    books.sell("S1", NOON, Line(price_cents=300))
    books.sell("S5", NOON.replace(month=7), Line(price_cents=40))
    books.connection.commit()
    books.refresh()
    before = facts(books)
    books.rows("UPDATE reports.product_sales SET sold_cents = sold_cents + 1")
    books.rows("UPDATE reports.product_sales SET tax_cents = 50 WHERE period = 'month' AND store = '*'")
    books.rows("UPDATE reports.hour_sales SET hour = 3 WHERE period = 'month'")
    books.rows("DELETE FROM reports.category_sales WHERE store = 'S1'")
    books.rows("UPDATE reports.day_sales SET sold_cents = 1 WHERE store = 'S5'")
    books.rows(
        "INSERT INTO reports.day_sales SELECT 'S2', '2025-02-03', channel, 1, 0, 0, 1, 1, 0, 5, 0, 0 FROM reports.day_sales LIMIT 1"
    )
    books.connection.commit()
    assert post(books, "/rebuild", "hq").get_json() == {"days": 3}
    assert post(books, "/rebuild", "hq").get_json() == {"days": 3}
    assert net(books) == 306, "as broken as before, and no more"
    books.refresh()
    assert net(books) == 340
    assert facts(books) == before


def test_refreshing_outside_one_snapshot_is_refused(books: Books) -> None:
    with (
        closing(books.database.connect()) as connection,
        connection.cursor() as cursor,
        pytest.raises(errors.InvalidTransactionState, match="one snapshot"),
    ):
        cursor.execute("SELECT reports.refresh(1000)")


def test_only_services_refresh_and_the_head_office_rebuilds(books: Books) -> None:
    for path, allowed in (("/refresh", {"service"}), ("/rebuild", {"service", "hq"})):
        assert problem(books.client().post(path))[0] == 401
        for role in ("customer", "staff", "hq", "service"):
            status = post(books, path, role).status_code
            assert status == (200 if role in allowed else 403), (path, role)


@pytest.fixture
def reader(books: Books) -> Iterator[psycopg2.extensions.connection]:
    """The role as it logs in, but in sessions that may write: what refuses then is the lack of privileges."""
    connection = psycopg2.connect(
        books.database.url("reports"), options="-c default_transaction_read_only=off"
    )
    connection.autocommit = True
    yield connection
    connection.close()


NOT_A_TABLE = (errors.ObjectNotInPrerequisiteState, errors.WrongObjectType, errors.FeatureNotSupported)
"""What PostgreSQL says of a view that nobody can write through, before it looks at privileges."""


def relations(books: Books, *schemas: str) -> list[tuple[str, str]]:
    rows = books.rows(
        "SELECT relnamespace::regnamespace::text || '.' || relname AS name, relkind::text AS kind FROM pg_class"
        " WHERE relnamespace::regnamespace::text = ANY(%(schemas)s) AND relkind IN ('r', 'v')",
        {"schemas": list(schemas)},
    )
    return [(row["name"], row["kind"]) for row in rows]


def test_the_role_can_write_nothing(books: Books, reader: psycopg2.extensions.connection) -> None:
    everything = relations(books, "reports", "sales", "inventory", "products", "cart", "public")
    assert len(everything) > 30
    with reader.cursor() as cursor:
        for name, kind in everything:
            (column,) = books.rows(
                "SELECT attname FROM pg_attribute WHERE attrelid = %(name)s::regclass AND attnum = 1",
                {"name": name},
            )
            for verb in (
                f"INSERT INTO {name} DEFAULT VALUES",
                f"UPDATE {name} SET {column['attname']} = DEFAULT",
                f"DELETE FROM {name}",
                f"TRUNCATE {name}",
            ):
                with pytest.raises((errors.InsufficientPrivilege, *(NOT_A_TABLE if kind == "v" else ()))):
                    cursor.execute(verb)


def test_the_role_reads_no_table_but_its_own(books: Books, reader: psycopg2.extensions.connection) -> None:
    readable = set()
    with reader.cursor() as cursor:
        for name, kind in relations(books, "sales", "inventory", "products", "cart"):
            try:
                cursor.execute(f"SELECT * FROM {name} LIMIT 0")
            except errors.InsufficientPrivilege:
                continue
            readable.add((name, kind))
    assert readable == {
        ("inventory.report_locations", "v"), ("inventory.report_stock", "v"), ("inventory.report_requests", "v"),
        ("products.report_products", "v"),
    }  # fmt: skip


def test_sessions_of_the_role_only_read_unless_they_say_otherwise(books: Books) -> None:
    with closing(books.database.connect("reports")) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        assert cursor.fetchone() == ("on",)
        with pytest.raises(errors.ReadOnlySqlTransaction):
            cursor.execute("SELECT reports.rebuild()")


def test_the_role_calls_two_functions_of_the_owner_and_no_step_of_them(
    reader: psycopg2.extensions.connection,
) -> None:
    with reader.cursor() as cursor:
        cursor.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'reports'::regnamespace AND prokind <> 'a'"
            " AND has_function_privilege(current_user, oid, 'EXECUTE') ORDER BY 1"
        )
        assert cursor.fetchall() == [("rebuild",), ("refresh",)]
