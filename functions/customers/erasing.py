"""One's own data: given out whole, and erased here and, through an outbox, by the functions that have some, too.

Maintenance reads the outbox, tells orders, checkout and cart, and says when all have done it.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prometheus_client import Counter

from functions.shared import Answer, NotFound, current, decode_moment_cursor, encode_cursor, page

from . import store
from .addresses import shown_addresses
from .bodies import ErasureQuery
from .people import signed_in
from .routes import ALL, PRIVATE, api
from .sessions import shown_sessions
from .views import ErasureAccepted, ErasureDone, ErasurePage, Export

ERASURES = Counter("customers_erasures_total", "Accounts erased here, and finished by all others.", ["state"])


@api.get("/me/export", answers={200: Export}, roles=ALL, problems=[503])
def export_oneself() -> Answer:
    """All that this function keeps of the one who asks."""
    _, account = signed_in()
    body = {
        "profile": account,
        "addresses": shown_addresses(account["customer_id"]),
        "sessions": shown_sessions(),
    }
    headers = {**PRIVATE, "Content-Disposition": 'attachment; filename="account.json"'}
    return Answer(body, headers=headers)


@api.delete("/me", answers={202: ErasureAccepted}, roles=ALL, problems=[503])
def erase_oneself() -> Answer:
    """Erase one's account and all that is personal, everywhere; it cannot be undone.

    Sums of orders stay, without a name or an address. Orders under way are erased when they are closed.
    """
    _, account = signed_in()
    with current().database.transaction() as connection:
        erased = store.erase(connection, account["customer_id"])
    if erased:
        ERASURES.labels("requested").inc()
    detail = "The account is erased; orders and carts follow within minutes, orders under way once they are closed."
    return Answer({"status": "erased", "detail": detail}, 202)


@api.get("/erasures", query=ErasureQuery, answers={200: ErasurePage}, roles=["service"], problems=[400, 503])
def list_erasures(query: ErasureQuery) -> dict[str, Any]:
    """Who is to be forgotten by the other functions, longest waiting first; for maintenance."""
    after = decode_moment_cursor(query.after) if query.after else None
    rows = current().database.read(store.open_erasures, after, query.limit + 1)
    return page(
        rows, query.limit, lambda row: encode_cursor(row["requested_at"].isoformat(), row["customer_id"])
    )


@api.post(
    "/erasures/<uuid:customer_id>/done", answers={200: ErasureDone}, roles=["service"], problems=[404, 503]
)
def finish_erasure(customer_id: UUID) -> dict[str, Any]:
    """Note that every other function has forgotten this person. Twice is as good as once."""
    with current().database.transaction() as connection:
        finished = store.finish_erasure(connection, str(customer_id))
        row = store.erasure(connection, str(customer_id))
    if row is None:
        raise NotFound("There is no such erasure.", code="erasure_not_found")
    if finished:
        ERASURES.labels("finished").inc()
    return row
