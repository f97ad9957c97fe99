"""What a cart decides by itself: totals and taxes, limits, new prices, merging."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.cart import domain
from functions.cart.domain import Item, Limits, TaxRates
from functions.shared import Conflict, Invalid
from functions.shared.catalogue import Product

RATES = TaxRates("TPS=5,TVQ=9.975")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = Limits(quantity=10, items=3)


def item(sku="A", quantity=1, price=100, **more):
    return Item(sku, quantity, product_id=1, product_version=1, name=sku, unit_price_cents=price, **more)


def offer(sku="A", version=2, price=100, currency="CAD", active=True):
    return Product(1, sku, version, f"new {sku}", "", price, currency, active)


def test_taxes_are_taken_once_on_the_whole_subtotal():
    # Three at 3.33: item by item TVQ would be 3 x 33 = 99 cents, on the document it is 99.65.
    sums = domain.totals([item(price=333, sku=sku) for sku in "ABC"], RATES)
    assert sums.subtotal_cents == 999
    assert [tax.amount_cents for tax in sums.taxes] == [50, 100]
    assert sums.total_cents == 1149


@pytest.mark.parametrize(("subtotal", "tps"), [(9, 0), (10, 1), (29, 1), (30, 2), (50, 3), (0, 0)])
def test_half_a_cent_is_rounded_up(subtotal, tps):
    sums = domain.totals([item(price=subtotal)], TaxRates("TPS=5"))
    assert sums.taxes[0].amount_cents == tps


def test_known_receipt_adds_up():
    # 100.00 $: TPS 5.00, TVQ 9.975 is rounded to 9.98.
    assert domain.totals([item(price=10_000)], RATES).total_cents == 11_498


def test_what_cannot_be_bought_is_not_charged():
    assert (
        domain.totals([item(price=500), item("B", price=900, available=False)], RATES).subtotal_cents == 500
    )


@given(st.lists(st.tuples(st.integers(1, 10_000), st.integers(0, 100_000_000)), max_size=100))
def test_taxes_stay_within_half_a_cent(lines):
    sums = domain.totals([item(str(n), quantity, price) for n, (quantity, price) in enumerate(lines)], RATES)
    assert sums.subtotal_cents == sum(quantity * price for quantity, price in lines)
    for tax in sums.taxes:
        assert abs(tax.amount_cents - sums.subtotal_cents * tax.percent / 100) <= Decimal("0.5")


@pytest.mark.parametrize("text", ["TPS", "=5", "TPS=x", "TPS=-1", "TPS=101", "TPS=NaN", "TPS=5;TVQ=9"])
def test_malformed_rates_are_refused(text):
    with pytest.raises(ValueError, match="NAME=PERCENT"):
        TaxRates(text)


def test_no_rates_mean_no_taxes():
    assert domain.totals([item()], TaxRates("")).total_cents == 100


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (None, "unknown_product"),
        (offer(active=False), "inactive_product"),
        (offer(currency="USD"), "other_currency"),
    ],
)
def test_what_cannot_be_sold_is_refused_by_its_field(found, code):
    with pytest.raises(Invalid) as refusal:
        domain.check_offer(found, "CAD")
    assert refusal.value.code == code
    assert refusal.value.errors[0]["field"] == "sku"


def test_limits_allow_what_they_name_and_no_more():
    domain.check_quantity(10, LIMITS)
    domain.check_size(3, LIMITS)
    with pytest.raises(Invalid):
        domain.check_quantity(11, LIMITS)
    with pytest.raises(Conflict):
        domain.check_size(4, LIMITS)


def test_new_price_is_shown_with_the_one_before():
    newer = domain.refreshed(item(price=100), offer(price=120), "CAD", NOON)
    assert (newer.unit_price_cents, newer.previous_price_cents, newer.price_changed_at) == (120, 100, NOON)
    assert newer.product_version == 2


def test_new_name_alone_is_no_price_change():
    newer = domain.refreshed(item(price=100), offer(price=100), "CAD", NOON)
    assert newer.name == "new A"
    assert newer.previous_price_cents is None


def test_price_in_another_currency_is_never_taken_over():
    newer = domain.refreshed(item(price=100), offer(price=7, currency="USD"), "CAD", NOON)
    assert newer.unit_price_cents == 100
    assert not newer.available


def test_older_price_never_overwrites_a_newer_one():
    held = [item("A"), item("B")]
    assert domain.outdated(held, {"A": offer("A", version=1), "B": offer("B", version=2)}) == [held[1]]


def test_merge_adds_quantities_up_to_the_limit_and_tells():
    done = domain.merge([item("A", 7)], [item("A", 5), item("B", 2)], LIMITS)
    assert [(line.sku, line.quantity) for line in done.items] == [("A", 10), ("B", 2)]
    assert done.limited == {"A": 2}


def test_merge_leaves_out_what_the_cart_has_no_room_for():
    held = [item("A"), item("B")]
    done = domain.merge(held, [item("C"), item("D"), item("A")], LIMITS)
    assert [line.sku for line in done.items] == ["C", "A"]
    assert done.left_out == ["D"]


carts = st.dictionaries(st.sampled_from("ABCDEF"), st.integers(1, 10), max_size=3)


@given(carts, carts)
def test_merge_neither_loses_nor_invents(held, brought):
    done = domain.merge(
        [item(sku, quantity) for sku, quantity in held.items()],
        [item(sku, quantity) for sku, quantity in brought.items()],
        LIMITS,
    )
    after = held | {line.sku: line.quantity for line in done.items}
    lost = sum(done.limited.values()) + sum(brought[sku] for sku in done.left_out)
    assert sum(after.values()) == sum(held.values()) + sum(brought.values()) - lost
    assert len(after) <= LIMITS.items
    assert all(quantity <= LIMITS.quantity for quantity in after.values())
