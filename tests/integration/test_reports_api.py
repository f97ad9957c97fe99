"""Reports over HTTP: who sees what, JSON and CSV, long answers, what is refused, and a database that is away."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from jsonschema import Draft202012Validator

from tests.support.books import Books, Line, open_books
from tests.support.functions import faulty_fields, problem
from tests.support.postgres import PostgresServer
from tests.support.replicas import running_replicas
from tests.support.waiting import wait_for

NOON = datetime(2025, 6, 2, 16, tzinfo=UTC)
JUNE = "from=2025-06-01&to=2025-06-30"
REPORTS = (
    f"/sales?{JUNE}&by=store", f"/sales?{JUNE}&by=day&by=product", f"/products/top?{JUNE}", f"/products/slow?{JUNE}",
    f"/trends?{JUNE}", "/stock", "/stock?by=category&by=product", "/stock/low", "/stock/over?until=2025-06-30",
    "/replenishment?until=2025-06-30", f"/stores/S1?{JUNE}", f"/overview?{JUNE}",
)  # fmt: skip


@pytest.fixture(scope="module")
def books(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    """A small shop in June 2025, which these tests only read."""
    with open_books(postgres_server, tmp_path_factory.mktemp("books")) as books:
        books.empty()
        for sku, name in (("A", 'Lantern, "white"'), ("B", "Thé à l'érable\nen vrac"), ("=1+1", "=1+1")):
            books.stock_product(sku, 250)
            books.rows(
                "UPDATE products.products SET name = %(name)s WHERE sku = %(sku)s", {"sku": sku, "name": name}
            )
            books.put_stock("S1", sku, 40, 3, low_at=50)
            books.put_stock("W1", sku, 500)
        books.sell("S1", NOON, Line("A", 2, 250, 75), Line("B", 1, 250, 37))
        books.sell(
            "S1",
            NOON.replace(day=20),
            Line("A", 60, 250, 2246),
            Line("POST", 1, 900, category="charges", charge=True),
        )
        books.sell("S5", NOON.replace(day=30), Line("=1+1", 1, 3))
        books.take_back("S1", NOON.replace(day=21), Line("A", 1, 250, 37))
        books.connection.commit()
        books.refresh()
        yield books


def as_role(books: Books, path: str, *roles: str, store: str | None = None) -> Any:
    subject = "maintenance" if "service" in roles else "someone"
    return books.client().get(path, headers=books.secrets.bearer(*roles, subject=subject, store=store))


@pytest.mark.parametrize("path", REPORTS)
def test_reports_need_a_token_of_staff_or_of_the_head_office(books: Books, path: str) -> None:
    assert problem(books.client().get(path)) == (401, "unauthorized")
    for role in ("customer", "service"):
        assert problem(as_role(books, path, role)) == (403, "forbidden")


@pytest.mark.parametrize("path", [path for path in REPORTS if not path.startswith(("/overview", "/stores"))])
def test_staff_see_their_own_store_whether_they_name_it_or_not(books: Books, path: str) -> None:
    unnamed = as_role(books, path, "staff", store="S1").get_json()
    separator = "&" if "?" in path else "?"
    for role, store in (("staff", "S1"), ("hq", None)):
        named = as_role(books, f"{path}{separator}store=S1", role, store=store).get_json()
        assert {**named, "as_of": None} == {**unnamed, "as_of": None}
    assert unnamed["store"] == "S1"
    refused = as_role(books, f"{path}{separator}store=S5", "staff", store="S1")
    assert problem(refused) == (403, "not_your_store")


def test_a_stores_report_is_for_its_staff_and_the_overview_for_the_head_office(books: Books) -> None:
    assert as_role(books, "/stores/S1", "staff", store="S1").status_code == 200
    assert problem(as_role(books, "/stores/S5", "staff", store="S1")) == (403, "not_your_store")
    assert problem(as_role(books, "/overview", "staff", store="S1")) == (403, "forbidden")
    assert as_role(books, "/overview", "hq").status_code == 200


def test_staff_see_nothing_of_other_stores(books: Books) -> None:
    total = as_role(books, f"/sales?{JUNE}", "staff", store="S5").get_json()["total"]
    assert (total["net_cents"], total["sale_count"]) == (3, 1)
    stock = as_role(books, "/stock?by=product", "staff", store="S5").get_json()
    assert stock["items"] == []


def test_a_store_that_there_is_none_of_is_named(books: Books) -> None:
    assert faulty_fields(books.get("/sales?store=S9")) == ["store"]
    assert problem(books.get("/stores/S9")) == (404, "store_not_found")
    assert problem(books.get("/stores/S1%00"))[0] == 404


@pytest.mark.parametrize("path", REPORTS)
def test_every_answer_says_of_when_it_is(books: Books, path: str) -> None:
    response = books.get(path)
    as_of = response.get_json()["as_of"]
    assert as_of.endswith("Z")
    assert response.headers["X-As-Of"] == as_of
    table = read_csv(books.get(f"{path}{'&' if '?' in path else '?'}format=csv"))
    assert all(row["as_of"].endswith("Z") for row in table)
    if not path.startswith("/stock"):
        assert all(row["as_of"] == as_of for row in table)


@pytest.fixture
def priced_in_euros(books: Books) -> Iterator[str]:
    """A product whose price is in another currency than sales."""
    for currency in ("EUR", "CAD"):
        books.rows(
            "UPDATE products.products SET currency = %(currency)s WHERE sku = 'B'", {"currency": currency}
        )
        books.connection.commit()
        if currency == "EUR":
            yield "B"


def test_only_prices_in_the_currency_of_sales_are_summed(books: Books, priced_in_euros: str) -> None:
    (whole,) = books.report("/stock?store=S1")["items"]
    assert (whole["value_cents"], whole["unpriced_count"]) == (2 * 40 * 250, 1)
    rows = {row["sku"]: row for row in books.report("/stock?store=S1&by=product")["items"]}
    assert (rows["B"]["value_cents"], rows["B"]["unpriced_count"]) == (0, 1)
    assert (rows["A"]["value_cents"], rows["A"]["unpriced_count"]) == (10_000, 0)
    over = books.report("/stock/over?until=2025-06-30&store=W1")["items"]
    assert [row["excess_value_cents"] == 0 for row in over] == [row["sku"] == "B" for row in over]
    assert over[-1]["sku"] == "B"
    slow = books.report(f"/products/slow?{JUNE}&store=S1")["items"]
    assert [row["sku"] for row in slow if row["value_cents"] == 0] == ["B"]
    assert books.report(f"/overview?{JUNE}")["stock"][0]["unpriced_count"] == 1


@pytest.mark.parametrize(
    ("by", "asked_from", "first"),
    [
        ("day", "2025-06-04", "2025-06-04"),
        ("week", "2025-06-04", "2025-06-02"),
        ("month", "2025-06-04", "2025-06-01"),
    ],
)
def test_a_trend_says_from_when_its_first_week_or_month_is(
    books: Books, by: str, asked_from: str, first: str
) -> None:
    answer = books.report(f"/trends?by={by}&from={asked_from}&to=2025-06-30")
    assert (answer["from"], answer["to"], answer["items"][0]["start"]) == (first, "2025-06-30", first)
    sold = books.report(f"/sales?from={first}&to=2025-06-30")["total"]["net_cents"]
    assert sum(row["net_cents"] for row in answer["items"]) == sold


def read_csv(response: Any) -> list[dict[str, str]]:
    assert response.status_code == 200, response.data
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    text = response.data.decode()
    assert text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.mark.parametrize("path", [path for path in REPORTS if not path.startswith(("/overview", "/stores"))])
def test_csv_says_what_json_says(books: Books, path: str) -> None:
    items = books.get(path).get_json()["items"]
    table = read_csv(books.get(f"{path}{'&' if '?' in path else '?'}format=csv"))
    assert items, "an empty report shows nothing"
    assert [{name: value for name, value in row.items() if name != "as_of"} for row in table] == [
        {name: "" if value is None else str(value) for name, value in item.items()} for item in items
    ]


def test_sections_in_csv_are_rows_of_one_table(books: Books) -> None:
    overview = books.get(f"/overview?{JUNE}").get_json()
    table = read_csv(books.get(f"/overview?{JUNE}&format=csv"))
    values = {(row["section"], row["item"], row["measure"]): row["value"] for row in table}
    assert len(values) == len(table), "each is said once"
    assert values["total", "", "net_cents"] == str(overview["total"]["net_cents"])
    assert values["stores", "S1", "tax_cents"] == str(overview["stores"][0]["tax_cents"])
    assert values["top_products", "A", "rank"] == "1"
    assert values["stock", "W1", "on_hand"] == "1500"


def test_the_client_says_which_format_it_takes(books: Books) -> None:
    for accept, kind in (
        ("text/csv", "text/csv"),
        ("text/csv;q=0.4, application/json;q=0.9", "application/json"),
        ("text/html, text/csv;q=0.9, */*;q=0.8", "text/csv"),
        ("*/*", "application/json"),
        ("image/png", "application/json"),
    ):
        assert books.get("/sales", Accept=accept).mimetype == kind, accept
    assert books.get("/sales?format=json", Accept="text/csv").mimetype == "application/json"
    assert books.get("/sales?format=csv", Accept="application/json").mimetype == "text/csv"


def test_a_text_is_written_as_it_is(books: Books) -> None:
    table = read_csv(books.get(f"/products/top?{JUNE}&format=csv"))
    assert {row["sku"]: row["name"] for row in table} == {
        "A": 'Lantern, "white"', "B": "Thé à l'érable\nen vrac", "=1+1": "=1+1",
    }  # fmt: skip


def test_charges_are_in_the_sums_and_are_no_products(books: Books) -> None:
    total = books.report(f"/sales?{JUNE}&store=S1")["total"]
    assert (total["net_cents"], total["sold_cents"], total["returned_cents"]) == (16_400, 16_650, 250)
    assert (total["tax_cents"], total["total_cents"]) == (2_321, 18_721)
    categories = {
        row["category"]: row["net_cents"] for row in books.report(f"/sales?{JUNE}&by=category")["items"]
    }
    assert categories == {"toys": 15_503, "charges": 900}
    assert "POST" not in [row["sku"] for row in books.report(f"/products/top?{JUNE}")["items"]]
    assert "POST" in [row["sku"] for row in books.report(f"/sales?{JUNE}&by=product")["items"]]


def test_a_period_is_compared_with_the_one_before(books: Books) -> None:
    answer = books.report("/sales?from=2025-06-20&to=2025-07-08&by=store")
    assert answer["previous"] == {"from": "2025-06-01", "to": "2025-06-19"}
    (first, second) = answer["items"]
    assert (first["net_cents"], first["previous_net_cents"], first["change_percent"]) == (15_650, 750, 1986.7)
    assert (second["previous_net_cents"], second["change_percent"]) == (0, None)
    alone = books.report("/sales?from=2025-06-20&to=2025-07-08&by=store&compare=none")
    assert alone["previous"] is None
    assert "previous_net_cents" not in alone["items"][0] | alone["total"]


def test_without_dates_a_report_is_of_the_last_28_days(books: Books) -> None:
    answer = books.report("/sales")
    first, last = (datetime.fromisoformat(answer[end]) for end in ("from", "to"))
    assert (last - first).days == 27
    assert abs((datetime.fromisoformat(answer["as_of"]) - last.replace(tzinfo=UTC)).days) <= 1


def test_rankings_and_limits(books: Books) -> None:
    rows = books.report(f"/sales?{JUNE}&by=product&limit=1")["items"]
    assert [row["sku"] for row in rows] == ["A"]
    units = books.report(f"/sales?{JUNE}&by=product&order=units")["items"]
    assert [row["units_sold"] - row["units_returned"] for row in units] == [61, 1, 1, 1]
    slow = books.report(f"/products/slow?{JUNE}&limit=2")["items"]
    assert [(row["rank"], row["sku"], row["last_sold_on"]) for row in slow] == [
        (1, "=1+1", "2025-06-30"), (2, "B", "2025-06-02"),
    ]  # fmt: skip


def test_what_should_be_ordered(books: Books) -> None:
    rows = books.report("/replenishment?until=2025-06-28&store=S1")["items"]
    (lantern,) = (row for row in rows if row["sku"] == "A")
    assert (lantern["units_sold"], lantern["available"], lantern["low_at"]) == (61, 37, 50)
    assert (lantern["reorder_point"], lantern["order_up_to"]) == (50, 51)
    assert (lantern["suggested_quantity"], lantern["warehouse_available"]) == (14, 500)
    longer = books.report(
        "/replenishment?until=2025-06-28&store=S1&lead_time_days=28&safety_days=0&cover_days=28"
    )
    assert [row["suggested_quantity"] for row in longer["items"] if row["sku"] == "A"] == [122 - 37]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/sales?from=2025-07-01&to=2025-06-30", ""),
        ("/sales?from=2010-01-01&to=2025-06-30", "from"),
        ("/sales?from=1999-12-31", "from"),
        ("/sales?to=2200-01-01", "to"),
        ("/sales?from=20250601", "from"),
        ("/sales?from=1750000000", "from"),
        ("/sales?from=2025-02-30", "from"),
        ("/sales?from=2025-06-01T00:00:00", "from"),
        ("/sales?from=x", "from"),
        ("/sales?by=colour", "by.0"),
        ("/sales?by=store&by=store", "by"),
        ("/sales?by=store&by=channel&by=category&by=product", "by"),
        ("/sales?by=hour&by=product", ""),
        ("/sales?by=hour&sku=A", ""),
        ("/sales?by=hour&category=toys", ""),
        ("/sales?by=day&by=week", ""),
        ("/sales?order=colour", "order"),
        ("/sales?limit=0", "limit"),
        ("/sales?limit=99999999999999999999", "limit"),
        ("/sales?compare=last", "compare"),
        ("/sales?format=xml", "format"),
        ("/sales?colour=red", "colour"),
        ("/sales?sku=", "sku"),
        ("/sales?sku=" + "x" * 65, "sku"),
        ("/sales?store=S1&store=S2", "store"),
        ("/products/top?limit=501", "limit"),
        ("/products/top?measure=colour", "measure"),
        ("/trends?window=1", "window"),
        ("/trends?by=hour", "by"),
        ("/stock?by=day", "by.0"),
        ("/stock/over?window_days=0", "window_days"),
        ("/stock/over?cover_days=0", "cover_days"),
        ("/replenishment?lead_time_days=-1", "lead_time_days"),
        ("/overview?store=S1", "store"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(books: Books, path: str, field: str) -> None:
    response = books.get(path)
    assert problem(response) == (422, "invalid")
    assert faulty_fields(response) == [field]


@pytest.mark.parametrize("value", ["'", '"', "%", "\\", "%s", "%(by)s", "☕", "*", "{S1}", "S1'--", "x;y"])
def test_no_character_of_a_filter_is_special(books: Books, value: str) -> None:
    for name in ("sku", "category", "channel"):
        response = books.client().get(
            "/sales", query_string={name: value, "by": "product"}, headers=books.secrets.bearer("hq")
        )
        assert (response.status_code, response.get_json()["items"]) == (200, [])
    refused = books.client().get("/sales", query_string={"store": value}, headers=books.secrets.bearer("hq"))
    assert faulty_fields(refused) == ["store"]


def test_nul_is_a_bad_request(books: Books) -> None:
    assert problem(books.get("/sales?sku=%00")) == (400, "bad_parameter")


def test_answers_fit_their_schemas(books: Books) -> None:
    content = books.client().get("/openapi.json").get_json()
    for path in REPORTS:
        template = path.split("?")[0].replace("/S1", "/{store}")
        schema = content["paths"][template]["get"]["responses"]["200"]["content"]["application/json"][
            "schema"
        ]
        Draft202012Validator({**schema, "components": content["components"]}).validate(books.report(path))
    called = {path.split("?")[0].replace("/S1", "/{store}") for path in REPORTS}
    assert called | {"/refresh", "/rebuild"} == set(content["paths"])


@pytest.fixture
def long_report(books: Books) -> Iterator[str]:
    """A year of 40 products a day in S2, written as facts: 14,600 rows."""
    books.rows(
        "WITH product AS (INSERT INTO reports.products (sku, category, charge, name)"
        " SELECT 'L' || number, 'long', false, 'n' FROM generate_series(1, 40) AS number RETURNING product_key)"
        " INSERT INTO reports.product_sales SELECT 'day', 'S2', day, 'store', product_key, 1, 1, 0, 5, 0, 1"
        " FROM product, generate_series('2020-01-01'::date, '2020-12-30'::date, '1 day') AS day"
    )
    books.connection.commit()
    yield "/sales?from=2020-01-01&to=2020-12-30&store=S2&by=day&by=product&compare=none"
    books.rows("DELETE FROM reports.product_sales WHERE store = 'S2'")
    books.rows("DELETE FROM reports.products WHERE category = 'long'")
    books.connection.commit()


def test_a_long_report_is_sent_while_it_is_read(books: Books, long_report: str) -> None:
    response = books.get(f"{long_report}&format=csv")
    assert "Content-Length" not in response.headers
    pieces = list(response.iter_encoded())
    assert len(pieces) > 10
    assert max(map(len, pieces)) < 100_000
    rows = list(csv.DictReader(io.StringIO(b"".join(pieces).decode())))
    assert (len(rows), sum(int(row["net_cents"]) for row in rows)) == (14_600, 73_000)
    assert [(row["day"], row["sku"]) for row in rows] == sorted((row["day"], row["sku"]) for row in rows)
    items = json.loads(b"".join(books.get(long_report).iter_encoded()))["items"]
    assert [item["sku"] for item in items] == [row["sku"] for row in rows]


def test_who_stops_reading_leaves_no_connection_behind(books: Books, long_report: str) -> None:
    for _ in range(12):
        response = books.get(long_report)
        next(response.iter_encoded())
        response.close()
    assert books.get("/sales").status_code == 200


def test_a_real_replica_survives_readers_that_hang_up(books: Books, long_report: str, tmp_path: Path) -> None:
    """As a process, with its one thread and two connections: whoever hangs up must leave neither busy."""
    headers = books.secrets.bearer("hq")
    with running_replicas("reports", 1, tmp_path, books.secrets.environ) as (replica,):
        for _ in range(6):
            with requests.get(
                replica.url + long_report, headers=headers, stream=True, timeout=10
            ) as response:
                assert response.headers["Transfer-Encoding"] == "chunked"
                assert next(response.iter_content(1000))
        whole = requests.get(replica.url + long_report, headers=headers, timeout=10)
        assert len(whole.json()["items"]) == 14_600


def test_a_database_that_is_away_is_said_and_comes_back(books: Books) -> None:
    with books.database.server.outage():
        for path in ("/sales", "/overview", "/stock?format=csv"):
            assert problem(books.get(path)) == (503, "database_unavailable")
        response = books.client().post(
            "/refresh", headers=books.secrets.bearer("service", subject="maintenance")
        )
        assert problem(response) == (503, "database_unavailable")
    books.connection = books.database.connect()
    # A replica does not try a database that it has just found away; that lasts a quarter of a second.
    wait_for(lambda: books.get("/sales").status_code == 200, what="an answer")
