"""People who asked to be forgotten: customers keeps the list, and each function that knows them is told.

Every step may be repeated, and is until none of them has anything open; only then is customers told that it is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from functions.shared import Problem, Unavailable, current

KNOWN_BY = ("cart", "checkout", "orders")
"""All that keep something of a customer beside customers itself."""
PAGE = 50


class EraseCustomers:
    """A task of maintenance. It goes over the list in rounds, and a round may take several runs."""

    name = "erase_customers"

    def __init__(self) -> None:
        self._asked: set[str] = set()
        """Who was asked about in this round."""

    def batches(self) -> Iterator[int]:
        """Go over all that are to be forgotten, yielding 1 for each that is now forgotten everywhere, else 0.

        One who cannot be forgotten yet, or takes longer than a run lasts, does not keep the others waiting: nobody is
        asked about again before all were. The first failure is raised at the end.
        """
        failure: Problem | None = None
        for customer_id in _waiting():
            if customer_id in self._asked:
                continue
            self._asked.add(customer_id)
            try:
                yield int(_forget(customer_id))
            except Unavailable as problem:
                failure = failure or problem
        self._asked.clear()
        if failure is not None:
            raise failure


def _waiting() -> Iterator[str]:
    after: str | None = None
    while True:
        params = {"limit": str(PAGE), **({"after": after} if after else {})}
        page = _answer("GET", "customers", "/erasures", params=params)
        try:
            customer_ids = [str(item["customer_id"]) for item in page["items"]]
            after = page["next"]
        except (KeyError, TypeError) as error:
            raise Unavailable("customers/erasures answered something else.") from error
        yield from customer_ids
        if after is None:
            return


def _forget(customer_id: str) -> bool:
    """Whether nobody has anything open of this person any more; customers is told then."""
    still_open = 0
    for function in KNOWN_BY:
        answer = _answer("POST", function, "/erasures", json={"customer_id": customer_id})
        try:
            still_open += int(answer["open"])
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable(f"{function}/erasures answered something else.") from error
    if still_open:
        return False
    _answer("POST", "customers", f"/erasures/{customer_id}/done")
    return True


def _answer(method: str, function: str, path: str, **content: Any) -> Any:
    response = current().client.call(method, function, path, **content)
    if response.status_code != 200:
        raise Unavailable(f"{function}{path} answered {response.status_code}.")
    try:
        return response.json()
    except ValueError as error:
        raise Unavailable(f"{function}{path} answered something else.") from error
