"""Shop: what is sold, where checkouts stop, whether there is stock, and whether the books agree."""

from __future__ import annotations

from . import promql, style
from .board import ALERTS, STORES, Board, Row
from .panels import Panel, bars, graph, listing, number
from .promql import Query

STORE = 'store=~"$store"'
DEALING = 'hop="edge", function=~"cart|checkout|customers|orders|sales"'
STEPS = ("freeze", "price", "reserve", "order", "authorise", "commit", "capture", "mark_paid", "clear")
"""Of a checkout, as functions/checkout/saga.py has them."""

SALES = ("sales_total", "sales_cents_total")
ORDERS = ("orders_total", "orders_cents_total")


def dealing() -> Row:
    return Row(
        "Are customers and tills served?",
        [
            graph(
                "Rate",
                "Requests in a second at the edge, of the functions that customers and tills deal with.",
                Query(f"sum by (function) (hop:http_requests:rate1m{{{DEALING}}})", "{{function}}"),
                unit=style.REQUESTS_PER_SECOND,
            ),
            graph(
                "Errors",
                "Share of answers with a status of 500 or more. Each is a customer or a till that was let down.",
                Query(f"hop:http_errors:ratio1m{{{DEALING}}}", "{{function}}"),
                unit=style.SHARE,
                limits=style.ERRORS,
            ),
            graph(
                "Duration, p99",
                "One request in a hundred takes longer. Signing in takes a tenth of a second on purpose, a "
                "checkout asks five functions.",
                Query(f"hop:http_duration_seconds:p99_1m{{{DEALING}}}", "{{function}}"),
                unit=style.SECONDS,
            ),
        ],
    )


def sold() -> Row:
    return Row(
        "What is sold?",
        [
            figure("Orders", "Orders that were paid in the web shop in the time shown.", ORDERS[0]),
            money("Web shop", "What those orders came to, taxes included.", ORDERS[1]),
            figure("Sales", "Sales at the tills in the time shown.", SALES[0]),
            money("Tills", "What those sales came to, taxes included.", SALES[1]),
            money(
                "Given back",
                "Refunds of the web shop and the tills in the time shown.",
                "refunds_cents_total",
                width=8,
            ),
            by_channel("Documents in a minute", "Orders and sales that were paid in a minute.", 0),
            by_channel(
                "Amount in a minute", "What was paid in a minute. What was given back is not subtracted.", 1
            ),
            listing(
                "By store",
                "Orders that the store fulfils, and sales at its tills, in the time shown.",
                *(
                    Query(dollars(counted) if "cents" in counter else counted, heading)
                    for counter, heading in zip((*ORDERS, *SALES), HEADINGS, strict=True)
                    for counted in [promql.counted(counter, STORE, "store")]
                ),
                columns={"store": "store"},
                units=dict(zip(HEADINGS, (style.COUNT, style.DOLLARS) * 2, strict=True)),
                width=8,
                empty="Nothing has been sold in the time shown.",
            ),
        ],
    )


HEADINGS = ("orders", "paid in the web shop", "sales", "paid at tills")


def dollars(cents: str) -> str:
    return f"({cents}) / 100"


def figure(title: str, description: str, counter: str) -> Panel:
    query = Query(promql.or_zero(promql.counted(counter, STORE)), title.lower())
    return number(title, description, query, unit=style.COUNT)


def money(title: str, description: str, counter: str, width: int = 4) -> Panel:
    query = Query(promql.or_zero(dollars(promql.counted(counter, STORE))), title.lower())
    return number(title, description, query, unit=style.DOLLARS, width=width)


def by_channel(title: str, description: str, place: int) -> Panel:
    counters = (SALES[place], ORDERS[place])
    both = " or ".join(promql.per_minute(counter, STORE, "channel") for counter in counters)
    return graph(
        title,
        description + " The first of a store that had none before does not show: a rate needs two values.",
        Query(dollars(both) if place else both, "{{channel}}"),
        unit=style.DOLLARS if place else style.PER_MINUTE,
        colours=style.CHANNELS,
        stacked=True,
    )


def checkouts() -> Row:
    def reached(step: str) -> str:
        return promql.or_zero(promql.counted("checkout_steps_total", f'step="{step}", outcome="done"'))

    finished = "checkout_finished_total"
    return Row(
        "Where do checkouts stop?",
        [
            bars(
                "From cart to order",
                "Checkouts in the time shown: those that were started, and those for which each step was done. "
                "Customers are lost where a bar is shorter than the one above it.",
                Query(promql.or_zero(promql.counted("checkout_started_total")), "started"),
                *(Query(reached(step), f"{place} {step}") for place, step in enumerate(STEPS, 1)),
                Query(promql.or_zero(promql.counted(finished, 'outcome="complete"')), "complete"),
                unit=style.COUNT,
                height=12,
            ),
            bars(
                "Refusals",
                "Why checkouts of the time shown were refused, by code: insufficient_stock, card_declined, "
                "price_changed and so on.",
                Query(promql.counted(finished, 'outcome!="complete"', "outcome") + " > 0", "{{outcome}}"),
                unit=style.COUNT,
                height=12,
            ),
            graph(
                "Duration of each step, p90",
                "One in ten takes longer. `undo-` is the way back of a checkout that was refused. The slowest "
                "step says whom to ask.",
                Query(promql.quantile(0.9, "checkout_step_duration_seconds", by="step"), "{{step}}"),
                unit=style.SECONDS,
                height=12,
            ),
            graph(
                "Settled in a minute",
                "Checkouts that came to an end in a minute, by outcome: bought (complete), or a refusal's code.",
                Query(promql.per_minute(finished, by="outcome"), "{{outcome}}"),
                unit=style.PER_MINUTE,
                stacked=True,
            ),
            graph(
                "Under way",
                "Checkouts that are neither bought nor refused, by state. Some are always under way while people "
                "buy; some that stay are stuck.",
                Query(promql.or_zero("sum(shop_checkouts)"), "all of them"),
                Query("sum by (state) (shop_checkouts)", "{{state}}"),
                unit=style.COUNT,
            ),
            graph(
                "Oldest under way",
                "Age of the oldest checkout that is not settled. After five minutes it should have been finished "
                "or undone.",
                Query(promql.or_zero("max(shop_checkouts_oldest_seconds)"), "oldest"),
                unit=style.SECONDS,
                limits=(60, 300),
            ),
        ],
    )


def stock() -> Row:
    return Row(
        "Is there enough stock?",
        [
            bars(
                "Out of stock",
                "Products of which a location has none left to sell, by location. As few as can be.",
                Query("sum by (location) (shop_stockouts)", "{{location}}"),
                unit=style.COUNT,
            ),
            graph(
                "Refused for lack of stock",
                "Requests in a minute that found too little stock, by code.",
                Query(promql.or_zero(promql.per_minute("inventory_refusals_total")), "all of them"),
                Query(promql.per_minute("inventory_refusals_total", by="code"), "{{code}}"),
                unit=style.PER_MINUTE,
            ),
            graph(
                "Reservations",
                "Stock promised to checkouts: open ones, and those whose time is over and which maintenance has "
                "not released yet. Overdue ones that stay are bad: nobody can buy what they hold.",
                Query("sum by (state) (shop_reservations)", "{{state}}"),
                unit=style.COUNT,
                colours={"open": style.GREEN, "overdue": style.RED},
            ),
            graph(
                "What becomes of reservations",
                "Reservations in a minute that were created, committed, released or expired.",
                Query(promql.per_minute("inventory_reservations_total", by="outcome"), "{{outcome}}"),
                unit=style.PER_MINUTE,
                width=12,
            ),
            graph(
                "Movements of stock",
                "Rows written to the ledger in a minute, by kind.",
                Query(promql.per_minute("inventory_movements_total", by="kind"), "{{kind}}"),
                unit=style.PER_MINUTE,
                width=12,
            ),
        ],
    )


def people() -> Row:
    sign_ins = "customers_sign_ins_total"
    return Row(
        "Do people fill carts, and get in?",
        [
            number(
                "Carts",
                "Carts that are open now.",
                Query(promql.or_zero("sum(shop_carts)"), "carts"),
                unit=style.COUNT,
                height=8,
            ),
            graph(
                "Changes of carts in a minute",
                "What people do with carts, by kind.",
                Query(promql.per_minute("cart_changes_total", by="change"), "{{change}}"),
                unit=style.PER_MINUTE,
                width=10,
            ),
            graph(
                "Sign-ins in a minute",
                "Attempts by outcome: opened, wrong (address or password), inactive, throttled. Many wrong ones "
                "are somebody who guesses.",
                Query(promql.per_minute(sign_ins, by="outcome"), "{{outcome}}"),
                unit=style.PER_MINUTE,
                width=10,
                colours=style.SIGN_INS,
            ),
        ],
    )


def books() -> Row:
    def nought(title: str, description: str, metric: str) -> Panel:
        query = Query(f"sum({metric})", title.lower())
        return number(
            title, f"{description} 0 is right.", query, unit=style.COUNT, width=6, limits=style.ANY_IS_BAD
        )

    return Row(
        "Do the books agree?",
        [
            nought(
                "Stock that is not its ledger",
                "Rows of stock that differ from the sum of their movements.",
                "shop_stock_mismatches",
            ),
            nought(
                "Reserved, but for nobody",
                "Rows of stock whose reserved quantity differs from the open reservations.",
                "shop_reserved_mismatches",
            ),
            nought(
                "Sales left half-way",
                "Sales and returns that are not settled; maintenance settles them within seconds.",
                "shop_sales_unsettled",
            ),
            number(
                "Orders to be packed",
                "Orders that are paid and not yet packed.",
                Query(promql.or_zero('sum(shop_orders{state="paid"})'), "orders"),
                unit=style.COUNT,
                width=6,
            ),
            graph(
                "Orders by state",
                "How many orders there are in each state.",
                Query("sum by (state) (shop_orders)", "{{state}}"),
                unit=style.COUNT,
                width=24,
            ),
        ],
    )


BOARD = Board(
    uid="magasin-shop",
    description="What is sold, where checkouts stop, whether there is stock, and whether the books agree.",
    since="now-1h",
    rows=[dealing(), sold(), checkouts(), stock(), people(), books()],
    choices=[STORES],
    marks=[ALERTS],
)
