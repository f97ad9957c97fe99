"""What visits ask of each part, from the measured processor times and the load tests' scenario.

Only whole requests were measured, so two parts are worked out: a list of products costs what is left of the journey
when all else is taken off, and a checkout's time is shared out evenly over the calls that it makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from deploy.way_up.measured import GROUPS, Measured
from tests.load.scenario import load

LISTS = ("browse", "search")
CHECKOUT_CALLS = (
    ("cart", 1), ("products", 0), ("inventory", 1), ("orders", 1), ("payments", 1),
    ("inventory", 1), ("payments", 1), ("orders", 1), ("cart", 1),
)  # fmt: skip
"""Whom a checkout asks, one after the other, and whether that waits for the disk: docs/benchmarks.md."""
OWN_PARTS = 3
"""Of its processor time checkout keeps so many parts; each call has one."""
OWN_COMMITS = 1


@dataclass(frozen=True)
class Call:
    """One request to a function, and what it does before it answers: processor seconds, commits, calls of others."""

    function: str
    cpu: float
    database: float = 0.0
    commits: int = 0
    calls: tuple[Call, ...] = ()
    direct: bool = False
    """From the edge straight to a replica, as the edge balances it itself; else through the gateway."""
    reads: bool = False
    """Changes nothing, so a copy of the database may answer."""
    one_row: bool = False
    """Locks the row of its product until it commits."""

    def whole(self) -> Iterator[Call]:
        """This one and all below it."""
        yield self
        for call in self.calls:
            yield from call.whole()


@dataclass(frozen=True)
class Shop:
    """Kinds of visits by share, each a sequence of requests; reports are visits of staff."""

    edge: float
    gateway: float
    visits: Mapping[str, tuple[float, Sequence[Call]]]


def shop(measured: Measured) -> Shop:
    """The journey `shop` of tests/load/scenario.json."""
    journey = load().journeys["shop"]
    shares = {name: visit.of_100 / 100 for name, visit in journey.items()}
    actions = _actions(
        measured, _times_a_visit(measured, {n: (s, journey[n].actions) for n, s in shares.items()})
    )
    buying = {
        name: (share, tuple(call for action in journey[name].actions for call in actions[action]))
        for name, share in shares.items()
    }
    whole = 1 + measured.reports_a_visit
    visits = {name: (share / whole, calls) for name, (share, calls) in buying.items()}
    visits["report"] = (measured.reports_a_visit / whole, (_report(measured),))
    return Shop(measured.cpu["journey"]["edge"], measured.cpu["products"]["gateway"], visits)


def _times_a_visit(
    measured: Measured, visits: Mapping[str, tuple[float, Sequence[str]]]
) -> Mapping[str, float]:
    """What a list of products costs, by group: the rest of the journey."""
    times = {
        action: sum(share * actions.count(action) for share, actions in visits.values())
        for action in ("browse", "search", "view", "cart", "checkout")
    }
    lists = sum(times[name] for name in LISTS)
    subjects = {"view": "products", "cart": "cart", "checkout": "checkout"}
    found = {}
    for group in GROUPS:
        others = sum(times[action] * measured.cpu[subject][group] for action, subject in subjects.items())
        left = sum(times.values()) * measured.cpu["journey"][group] - others
        # Never cheaper than a read of one product: subjects are from runs of their own and need not add up.
        found[group] = max(left / lists, measured.cpu["products"][group])
    return found


def _actions(measured: Measured, listed: Mapping[str, float]) -> Mapping[str, tuple[Call, ...]]:
    view, cart = measured.cpu["products"], measured.cpu["cart"]
    looked_up = Call("products", view["replicas"], view["postgres"], reads=True)
    put = Call(
        "cart", cart["replicas"] - view["replicas"], cart["postgres"] - view["postgres"],
        commits=1, calls=(looked_up,), direct=True,
    )  # fmt: skip
    list_of = Call("products", listed["replicas"], listed["postgres"], reads=True)
    return {
        **dict.fromkeys(LISTS, (list_of,)),
        "view": (looked_up,),
        "cart": (put,),
        "checkout": (put, _checkout(measured)),
    }


def _checkout(measured: Measured) -> Call:
    """The checkout alone: what was measured also puts something into the cart."""
    cpu = measured.cpu["checkout"]["replicas"] - measured.cpu["cart"]["replicas"]
    database = measured.cpu["checkout"]["postgres"] - measured.cpu["cart"]["postgres"]
    part = cpu / (len(CHECKOUT_CALLS) + OWN_PARTS)
    each = database / (len(CHECKOUT_CALLS) + OWN_PARTS)
    reserved = False
    calls = []
    for function, commits in CHECKOUT_CALLS:
        first = function == "inventory" and not reserved
        reserved = reserved or first
        calls.append(Call(function, part, each, commits, reads=not commits, one_row=first))
    return Call("checkout", part * OWN_PARTS, each * OWN_PARTS, OWN_COMMITS, tuple(calls))


def _report(measured: Measured) -> Call:
    cpu = measured.cpu["reports"]
    return Call("reports", cpu["replicas"], cpu["postgres"], reads=True)
