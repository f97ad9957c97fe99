"""Whatever was sold, taken back and voided: every report says what plain Python makes of the same rows."""

from __future__ import annotations

import calendar
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.books import ZONES, Books, Entry, Line, facts, open_books
from tests.support.postgres import PostgresServer

DAY = timedelta(days=1)
CATALOGUE = {"A": ("toys", 1_000), "B": ("toys", 250), "C": ("garden", 1), "D": ("", 99_999)}
"""SKU to category and price; D is not in the catalogue."""
GROUPINGS = (
    (), ("store",), ("channel",), ("category",), ("product",), ("hour",), ("day",), ("week",), ("month",),
    ("store", "day"), ("month", "category"), ("product", "month"), ("store", "hour", "week"),
    ("product", "category", "store"),
)  # fmt: skip

# Days around both changes of the clock, the end of a short month, and the end of a year.
ANCHORS = [datetime(2025, 2, 27, tzinfo=UTC), datetime(2025, 3, 8, 12, tzinfo=UTC), datetime(2025, 11, 1, 12, tzinfo=UTC),
           datetime(2025, 12, 31, tzinfo=UTC)]  # fmt: skip
moments = st.builds(
    lambda anchor, minutes: anchor + timedelta(minutes=minutes),
    st.sampled_from(ANCHORS),
    st.integers(0, 3 * 24 * 60),
)
goods = st.builds(
    Line,
    sku=st.sampled_from("ABCD"),
    quantity=st.integers(1, 40),
    price_cents=st.integers(0, 3_000),
    tax_cents=st.integers(0, 500),
    category=st.sampled_from(["toys", "garden", "old toys"]),
)
charges = st.builds(
    Line,
    sku=st.sampled_from(["POST", "A"]),
    price_cents=st.integers(-50, 900),
    tax_cents=st.integers(50, 90),
    category=st.just("charges"),
    charge=st.just(True),
)
stores = st.sampled_from(sorted(ZONES))


@dataclass(frozen=True)
class Happening:
    """One thing that happens at the till or in the web shop; `which` picks the sale or order that it happens to."""

    what: str
    store: str
    at: datetime
    lines: Sequence[Line]
    which: int

    def write(self, books: Books, complete: list[str], pending: list[str], ordered: list[str]) -> None:
        if self.what.startswith("order"):
            self._write_order(books, ordered)
        elif self.what == "sale":
            complete.append(books.sell(self.store, self.at, *self.lines))
        elif self.what == "return":
            books.take_back(self.store, self.at, *self.lines)
        elif self.what == "pending":
            pending.append(books.sell(self.store, self.at, *self.lines, status="pending"))
        elif self.what == "refused":
            books.take_back(self.store, self.at, *self.lines, status="refused")
        elif self.what == "complete" and pending:
            complete.append(pending.pop(self.which % len(pending)))
            books.complete(complete[-1])
        elif self.what == "void" and complete:
            books.void(complete.pop(self.which % len(complete)))

    def _write_order(self, books: Books, ordered: list[str]) -> None:
        """Orders are of goods only."""
        goods = [line for line in self.lines if not line.charge]
        if self.what == "order":
            ordered.append(books.order(self.store, self.at, *goods))
        elif self.what == "order unpaid":
            books.order(self.store, self.at, *goods, paid=False)
        elif self.what == "order cancelled" and ordered:
            books.cancel_order(ordered.pop(self.which % len(ordered)), self.at, refunded=self.which > 2)
        elif self.what == "order returned" and ordered:
            order_id = ordered[self.which % len(ordered)]
            books.return_order(order_id, self.at, self.which, complete=self.which > 0)
        elif self.what == "order erased" and ordered:
            books.erase_order(ordered.pop(self.which % len(ordered)))


WHATS = (
    "sale", "sale", "sale", "return", "pending", "complete", "void", "refused",
    "order", "order", "order unpaid", "order cancelled", "order returned", "order erased",
)  # fmt: skip
happenings = st.builds(
    Happening,
    st.sampled_from(WHATS),
    stores,
    moments,
    st.lists(goods, min_size=1, max_size=4).flatmap(
        lambda lines: st.lists(charges, max_size=1).map(lambda more: [*lines, *more])
    ),
    st.integers(0, 9),
)
batches = st.lists(st.lists(happenings, min_size=1, max_size=6), min_size=1, max_size=3)
periods = st.one_of(
    st.sampled_from([(date(2025, 3, 1), date(2025, 3, 31)), (date(2025, 11, 1), date(2026, 1, 31))]),
    st.tuples(
        st.dates(date(2025, 2, 20), date(2026, 1, 5)), st.dates(date(2025, 2, 20), date(2026, 1, 5))
    ).map(lambda pair: (min(pair), max(pair))),
)
stocks = st.dictionaries(
    st.tuples(stores, st.sampled_from("ABCD")),
    st.tuples(st.integers(0, 300), st.integers(0, 300), st.none() | st.integers(0, 50), st.integers(0, 20)),
    max_size=12,
)


@pytest.fixture(scope="module")
def books_of_all(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Books]:
    with open_books(postgres_server, tmp_path_factory.mktemp("books")) as books:
        yield books


Stock = dict[tuple[str, str], tuple[int, int, int | None, int]]
"""Location and SKU to what is on hand, reserved, the threshold, and what has been asked for."""

PENCIL = Line("A", 30, 100, 450)
WRAPPING = Line("A", 1, 50, 60, category="charges", charge=True)
BEFORE, WITHIN = datetime(2025, 2, 28, 4, 30, tzinfo=UTC), datetime(2025, 4, 12, 6, 30, tzinfo=UTC)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches, periods, stocks)
# A period in odd months whose past has a whole one; a charge under the SKU of a product; a request that suffices, and
# one that does not; late evenings, which are another day in Vancouver; more coming back than was sold.
@example(
    [
        [
            Happening("sale", "S1", BEFORE, [PENCIL, WRAPPING], 0),
            Happening("sale", "S5", BEFORE, [PENCIL], 0),
        ],
        [
            Happening("sale", "S1", WITHIN, [WRAPPING], 0),
            Happening("sale", "S5", WITHIN, [PENCIL, WRAPPING], 0),
        ],
        [Happening("void", "S1", BEFORE, [PENCIL], 0), Happening("return", "S5", WITHIN, [PENCIL], 0)],
    ],
    (date(2025, 3, 9), date(2025, 4, 20)),
    {
        ("S1", "A"): (3, 0, 5, 10),
        ("S5", "A"): (3, 1, 5, 2),
        ("W1", "A"): (1, 0, None, 0),
        ("S1", "B"): (9, 9, 0, 1),
    },
)
@example(
    [
        [
            Happening("sale", "S4", WITHIN, [PENCIL] * 3 + [WRAPPING] * 4, 0),
            Happening("return", "S2", WITHIN, [PENCIL], 0),
        ]
    ],
    (date(2025, 4, 1), date(2025, 4, 20)),
    {
        ("S4", "A"): (30, 0, None, 0),
        ("S2", "A"): (20, 0, 3, 0),
        ("W1", "A"): (500, 0, None, 0),
        ("S4", "B"): (1, 0, 1, 0),
    },
)
# The web shop: an order at a store beside its sales, one that is cancelled on another day, one whose refund is still
# to come, one that comes back in parts (the last not yet refunded) and is then erased, one that was never paid.
@example(
    [
        [
            Happening("sale", "S5", BEFORE, [PENCIL, WRAPPING], 0),
            Happening("order", "S5", BEFORE, [PENCIL], 0),
            Happening("order", "W1", BEFORE, [PENCIL, Line("B", 2, 250, 75)], 0),
            Happening("order", "W1", WITHIN, [PENCIL], 0),
            Happening("order", "W1", WITHIN, [Line("C", 7, 1, 1, "garden")], 0),
            Happening("order unpaid", "W1", WITHIN, [PENCIL], 0),
        ],
        [
            Happening("order cancelled", "W1", WITHIN, [], 8),
            Happening("order cancelled", "W1", WITHIN, [], 2),
            Happening("order returned", "S1", WITHIN, [], 5),
            Happening("order returned", "S1", WITHIN, [], 3),
        ],
        [Happening("order returned", "S1", WITHIN, [], 0), Happening("order erased", "W1", WITHIN, [], 1)],
    ],
    (date(2025, 2, 20), date(2025, 4, 20)),
    {("W1", "A"): (500, 0, None, 0), ("S5", "A"): (3, 0, 5, 0)},
)
def test_every_report_equals_the_documents(
    books_of_all: Books, batches: list[list[Happening]], period: tuple[date, date], stock: Stock
) -> None:
    books = books_of_all
    books.empty()
    fill_stock(books, stock)
    complete: list[str] = []
    pending: list[str] = []
    ordered: list[str] = []
    for batch in batches:
        for happening in batch:
            happening.write(books, complete, pending, ordered)
        books.connection.commit()
        books.refresh()
    model = Model(books.entries(), books.voids(), *period)
    check_sales(books, model)
    check_rankings(books, model, stock)
    check_trends(books, model)
    check_stock(books, model, stock)
    check_composed(books, model)
    check_rebuild(books)


def fill_stock(books: Books, stock: Stock) -> None:
    for sku, (category, price) in CATALOGUE.items():
        if category:
            books.stock_product(sku, price, category, active=sku != "C")
    for (location, sku), (on_hand, reserved, low_at, asked) in stock.items():
        books.put_stock(location, sku, on_hand, min(reserved, on_hand), low_at)
        if asked:
            books.ask(location, sku, asked)
    books.connection.commit()


@dataclass(frozen=True)
class Model:
    """What plain Python knows of the documents."""

    entries: list[Entry]
    voids: list[tuple[str, str, date, int]]
    first: date
    last: date

    @property
    def period(self) -> str:
        return f"from={self.first}&to={self.last}"

    def previous(self) -> tuple[date, date]:
        if self.first.day == 1 and (self.last + DAY).day == 1:
            first = self.first
            for _ in range(self.months()):
                first = (first - DAY).replace(day=1)
            return first, self.first - DAY
        return self.first - (self.last - self.first) - DAY, self.first - DAY

    def months(self) -> int:
        return (self.last.year - self.first.year) * 12 + self.last.month - self.first.month + 1

    def moved(self, day: date) -> date:
        """Where a day of the previous period is compared."""
        if self.first.day == 1 and (self.last + DAY).day == 1:
            year, month = divmod(day.year * 12 + day.month - 1 + self.months(), 12)
            return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
        return day + (self.last - self.first) + DAY

    def sums(
        self, by: Sequence[str], chosen: Callable[[Entry], bool] = lambda _: True
    ) -> dict[Any, dict[str, Any]]:
        """Key to measures, of every key that has an entry, a void or a past."""
        rows: dict[Any, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
        documents = set()
        before = self.previous()
        for entry in filter(chosen, self.entries):
            if self.first <= entry.day <= self.last:
                row = rows[key_of(entry, by, entry.day)]
                sign = 1 if entry.kind == "sale" else -1
                went = "sold" if entry.kind == "sale" else "returned"
                row[f"units_{went}"] += entry.quantity
                row[f"{went}_cents"] += entry.total_cents
                row["net_cents"] += sign * entry.total_cents
                row["tax_cents"] += sign * entry.tax_cents
                row["total_cents"] += sign * (entry.total_cents + entry.tax_cents)
                if entry.document not in documents:
                    row[f"{entry.kind}_count"] += 1
                documents.add(entry.document)
            elif before[0] <= entry.day <= before[1]:
                sign = 1 if entry.kind == "sale" else -1
                row = rows[key_of(entry, by, self.moved(entry.day))]
                row["previous_net_cents"] += sign * entry.total_cents
                row["previous_units"] += sign * entry.quantity
        return rows


def key_of(entry: Entry, by: Sequence[str], day: date) -> tuple[Any, ...]:
    values = {
        "store": entry.store, "channel": entry.channel, "category": entry.category, "product": entry.sku,
        "hour": entry.hour, "day": str(day), "week": str(day - day.weekday() * DAY), "month": str(day.replace(day=1)),
    }  # fmt: skip
    return tuple(values[dimension] for dimension in by)


MONEY = (
    "units_sold", "units_returned", "sold_cents", "returned_cents", "net_cents", "tax_cents", "total_cents",
    "previous_net_cents", "previous_units",
)  # fmt: skip


def check_sales(books: Books, model: Model) -> None:
    for by in GROUPINGS:
        asked = "&".join(f"by={dimension}" for dimension in by) or "by=channel"
        answer = books.report(f"/sales?{model.period}&{asked}")
        (whole,) = model.sums(()).values() or [defaultdict(int)]
        assert measured(answer["total"]) == measured(whole)
        assert_counts(answer["total"], model, whole)
        if by:
            rows = {
                tuple(row["sku" if key == "product" else key] for key in by): row for row in answer["items"]
            }
            expected = model.sums(by)
            assert {key: measured(row) for key, row in rows.items() if any(measured(row).values())} == {
                key: measured(row) for key, row in expected.items() if any(measured(row).values())
            }
            assert len(rows) == len(answer["items"]), "a key is in one row"
            for row in rows.values():
                assert row["change_cents"] == row["net_cents"] - row["previous_net_cents"]
    for query, chosen in (
        ("store=S5&by=day", lambda entry: entry.store == "S5"),
        ("category=toys&by=product", lambda entry: entry.category == "toys"),
        ("sku=A&by=week", lambda entry: entry.sku == "A"),
        ("sku=A&category=charges&by=product", lambda entry: (entry.sku, entry.category) == ("A", "charges")),
        ("channel=web&by=store", lambda entry: entry.channel == "web"),
    ):
        answer = books.report(f"/sales?{model.period}&{query}")
        (whole,) = model.sums((), chosen).values() or [defaultdict(int)]
        assert measured(answer["total"]) == measured(whole)
        for measure in MONEY:
            assert sum(row[measure] for row in answer["items"]) == whole[measure]


def measured(row: dict[str, Any]) -> dict[str, int]:
    return {measure: row[measure] for measure in MONEY}


def assert_counts(row: dict[str, Any], model: Model, expected: dict[str, Any]) -> None:
    voids = sum(model.first <= day <= model.last for _, _, day, _ in model.voids)
    assert (row["sale_count"], row["return_count"], row["void_count"]) == (
        expected["sale_count"], expected["return_count"], voids,
    )  # fmt: skip


def check_rankings(books: Books, model: Model, stock: Stock) -> None:
    sold = model.sums(("product",), lambda entry: not entry.charge)
    for measure in ("net", "units"):
        value = {
            sku: row["net_cents"] if measure == "net" else row["units_sold"] - row["units_returned"]
            for (sku,), row in sold.items()
        }
        in_period = {
            entry.sku
            for entry in model.entries
            if model.first <= entry.day <= model.last and not entry.charge
        }
        top = books.report(f"/products/top?{model.period}&measure={measure}")["items"]
        assert [row["sku"] for row in top] == sorted(in_period, key=lambda sku: (-value[sku], sku))
        assert {row["sku"]: row["net_cents"] for row in top} == {
            sku: sold[sku,]["net_cents"] for sku in in_period
        }
        slow = books.report(f"/products/slow?{model.period}&measure={measure}")["items"]
        on_hand: dict[str, int] = defaultdict(int)
        for (_, sku), (quantity, *_) in stock.items():
            on_hand[sku] += quantity
        here = [sku for sku in "AB" if on_hand[sku]]
        assert [row["sku"] for row in slow] == sorted(
            here, key=lambda sku: (value.get(sku, 0), -on_hand[sku] * CATALOGUE[sku][1], sku)
        )
        for row in slow:
            assert row["net_cents"] == sold[row["sku"],]["net_cents"]
            days = [entry.day for entry in model.entries if (entry.sku, entry.kind) == (row["sku"], "sale")]
            assert row["last_sold_on"] == (str(max(days)) if days else None)


def check_trends(books: Books, model: Model) -> None:
    window = 3
    answer = books.report(f"/trends?{model.period}&window={window}&store=S1")["items"]
    net: dict[date, int] = defaultdict(int)
    for entry in model.entries:
        if entry.store == "S1":
            net[entry.day] += entry.total_cents if entry.kind == "sale" else -entry.total_cents
    days = [model.first + index * DAY for index in range((model.last - model.first).days + 1)]
    assert [(row["start"], row["net_cents"]) for row in answer] == [(str(day), net[day]) for day in days]
    for day, row in zip(days, answer, strict=True):
        exact = sum(net[day - back * DAY] for back in range(window)) / window
        assert abs(row["average_net_cents"] - exact) <= 0.5


def check_stock(books: Books, model: Model, stock: Stock) -> None:
    rows = books.report("/stock?by=location&by=product")["items"]
    assert {
        (row["location"], row["sku"]): (row["on_hand"], row["available"], row["value_cents"]) for row in rows
    } == {
        key: (
            on_hand,
            on_hand - min(reserved, on_hand),
            on_hand * (CATALOGUE[key[1]][1] if key[1] != "D" else 0),
        )
        for key, (on_hand, reserved, _, _) in stock.items()
    }
    low = books.report("/stock/low")["items"]
    assert {(row["location"], row["sku"]): row["short_by"] for row in low} == {
        key: low_at - on_hand + min(reserved, on_hand)
        for key, (on_hand, reserved, low_at, _) in stock.items()
        if low_at is not None and on_hand - min(reserved, on_hand) <= low_at
    }
    window, until = 28, model.last
    velocity: dict[tuple[str, str], int] = defaultdict(int)
    for entry in model.entries:
        if not entry.charge and until - (window - 1) * DAY <= entry.day <= until:
            units = entry.quantity if entry.kind == "sale" else -entry.quantity
            velocity["W1", entry.sku] += units
            if entry.store != "W1":
                velocity[entry.store, entry.sku] += units
    check_overstock(books, stock, velocity, until)
    check_replenishment(books, stock, velocity, until)


def check_overstock(books: Books, stock: Stock, velocity: dict[Any, int], until: date) -> None:
    rows = books.report(f"/stock/over?until={until}&cover_days=30")["items"]
    expected = {}
    for (location, sku), (on_hand, reserved, _, _) in stock.items():
        enough = -(-max(velocity[location, sku], 0) * 30 // 28)
        available = on_hand - min(reserved, on_hand)
        if sku in "AB" and available > enough:
            expected[location, sku] = available - enough
    assert {(row["location"], row["sku"]): row["excess"] for row in rows} == expected
    for location in ("S1", "W1"):
        alone = books.report(f"/stock/over?until={until}&cover_days=30&store={location}")["items"]
        assert alone == [row for row in rows if row["location"] == location]


def check_replenishment(books: Books, stock: Stock, velocity: dict[Any, int], until: date) -> None:
    policy = "lead_time_days=3&safety_days=4&cover_days=14"
    rows = books.report(f"/replenishment?until={until}&{policy}")["items"]
    expected = {}
    for (location, sku), (on_hand, reserved, low_at, asked) in stock.items():
        units = max(velocity[location, sku], 0)
        coming = on_hand - min(reserved, on_hand) + asked
        threshold = -1 if low_at is None else low_at
        point, up_to = max(-(-units * 7 // 28), threshold), max(-(-units * 21 // 28), threshold + 1)
        if sku in "AB" and coming <= point and up_to > coming:
            expected[location, sku] = (max(point, 0), up_to, up_to - coming)
    assert {
        (row["location"], row["sku"]): (row["reorder_point"], row["order_up_to"], row["suggested_quantity"])
        for row in rows
    } == expected


def check_composed(books: Books, model: Model) -> None:
    """Their sections are the reports that were compared above."""
    overview = books.report(f"/overview?{model.period}")
    sales = books.report(f"/sales?{model.period}&by=store")
    assert (overview["total"], overview["stores"]) == (sales["total"], sales["items"])
    assert overview["categories"] == books.report(f"/sales?{model.period}&by=category")["items"]
    assert overview["channels"] == books.report(f"/sales?{model.period}&by=channel")["items"]
    assert overview["stock"] == books.report("/stock")["items"]
    store = books.report(f"/stores/S5?{model.period}")
    sales = books.report(f"/sales?{model.period}&store=S5&by=day")
    assert (store["total"], store["days"]) == (sales["total"], sales["items"])
    hours = books.report(f"/sales?{model.period}&store=S5&by=hour&compare=none")["items"]
    assert store["hours"] == hours


def check_rebuild(books: Books) -> None:
    before = facts(books)
    response = books.client().post("/rebuild", headers=books.secrets.bearer("hq"))
    assert response.status_code == 200
    days = {(entry.store, entry.day) for entry in books.entries()} | {
        (store, day) for store, _, day, _ in books.voids()
    }
    assert books.refresh() == len(days)
    assert facts(books) == before
