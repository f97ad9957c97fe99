"""What stock and carts do when they are asked one thing after the other: the models that histories are held to.

Written from the functions' READMEs and not from their code; a model gives every answer that may be given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.support.histories import Model, Operation

Lines = tuple[tuple[str, int], ...]
"""SKU and quantity of each line of a cart, by SKU."""


class Reservation(NamedTuple):
    state: str
    quantity: int
    on_hand: int = 0
    """What was there after it was committed."""


class Stock(NamedTuple):
    """One SKU at one location."""

    on_hand: int
    reserved: int = 0
    reservations: frozenset[tuple[str, Reservation]] = frozenset()

    def find(self, name: str) -> Reservation | None:
        return next((one for known, one in self.reservations if known == name), None)

    def settle(self, name: str, old: Reservation | None, new: Reservation) -> Stock:
        """With the reservation's new state, and what that does to the stock."""
        promised = sum(
            sign * one.quantity
            for sign, one in ((-1, old), (1, new))
            if one is not None and one.state == "open"
        )
        left = new.quantity if new.state == "committed" else 0
        known = self.reservations - {(name, old)} if old is not None else self.reservations
        return Stock(self.on_hand - left, self.reserved + promised, known | {(name, new)})

    def __str__(self) -> str:
        open_ones = sorted(name for name, one in self.reservations if one.state == "open")
        by_whom = f" ({', '.join(open_ones)})" if open_ones else ""
        return f"{self.on_hand} on hand, {self.reserved} reserved{by_whom}"


StockOutcomes = Iterator[tuple[Any, Stock]]


@dataclass(frozen=True)
class StockModel(Model):
    """`initial` on hand; a reservation's name is its id."""

    initial: Stock

    def outcomes(self, state: Stock, kind: str, arguments: tuple[Any, ...]) -> StockOutcomes:
        match kind, arguments:
            case "read", ():
                yield (state.on_hand, state.reserved), state
            case "receive" | "adjust", (quantity,):
                yield self._change(state, quantity)
            case "reserve", (name, quantity):
                yield self._reserve(state, name, quantity)
            case "confirm", (name,):
                yield self._confirm(state, name, state.find(name))
            case "release", (name,):
                yield self._release(state, name, state.find(name))
            case _:
                raise ValueError(f"stock knows no {kind}")

    @staticmethod
    def _change(state: Stock, quantity: int) -> tuple[Any, Stock]:
        on_hand = state.on_hand + quantity
        if on_hand < state.reserved:
            return "insufficient_stock", state
        return on_hand, state._replace(on_hand=on_hand)

    @staticmethod
    def _reserve(state: Stock, name: str, quantity: int) -> tuple[Any, Stock]:
        known = state.find(name)
        if known is not None and known.state == "released":
            return "reservation_released", state
        if known is not None:
            return (known.state if known.quantity == quantity else "reservation_taken"), state
        if state.on_hand - state.reserved < quantity:
            return "insufficient_stock", state
        return "open", state.settle(name, None, Reservation("open", quantity))

    @staticmethod
    def _confirm(state: Stock, name: str, known: Reservation | None) -> tuple[Any, Stock]:
        if known is None:
            return "reservation_not_found", state
        if known.state == "open":
            after = state.on_hand - known.quantity
            settled = Reservation("committed", known.quantity, after)
            return ("committed", after), state.settle(name, known, settled)
        if known.state == "committed":
            return ("committed", known.on_hand), state
        return "reservation_released", state

    @staticmethod
    def _release(state: Stock, name: str, known: Reservation | None) -> tuple[Any, Stock]:
        if known is None:  # a service's release of what was never reserved: it never will be
            return "released", state.settle(name, None, Reservation("released", 0))
        if known.state == "committed":
            return "reservation_committed", state
        if known.state == "open":
            return "released", state.settle(name, known, Reservation("released", known.quantity))
        return "released", state


class Cart(NamedTuple):
    """A holder's cart; version 0 while there is none."""

    version: int = 0
    lines: Lines = ()

    def __str__(self) -> str:
        return f"version {self.version} with {', '.join(f'{n} {sku}' for sku, n in self.lines) or 'nothing'}"


NO_CART = Cart()
CartOutcomes = Iterator[tuple[Any, Cart]]


@dataclass(frozen=True)
class CartModel(Model):
    """A cart whose every answer shows it as it is afterwards."""

    initial: Cart = NO_CART
    may_expire: bool = False
    """If it never does, its version only grows."""

    def is_past(self, state: Cart, one: Operation) -> bool:
        if self.may_expire or not isinstance(one.answer, Cart):
            return False
        lowest = one.answer.version if one.kind == "read" else max(one.answer.version - 1, 0)
        return state.version > lowest

    def outcomes(self, state: Cart, kind: str, arguments: tuple[Any, ...]) -> CartOutcomes:
        held = dict(state.lines)
        match kind, arguments:
            case "read", ():
                yield state, state
                return
            case "expire", ():
                yield "expired", NO_CART
                return
            case "remove" | "clear", _ if state.version == 0:
                yield state, state
                return
            case "merge", (brought,):
                # If somebody else has merged it before, that may count as a change of nothing.
                yield ("nothing merged", state), state
                touched = state._replace(version=state.version + 1)
                yield ("nothing merged", touched), touched
                for sku, quantity in brought:
                    held[sku] = held.get(sku, 0) + quantity
                merged = _cart(state, held)
                yield ("merged", merged), merged
                return
            case "add", (sku, quantity):
                held[sku] = held.get(sku, 0) + quantity
            case "set", (sku, quantity):
                held[sku] = quantity
            case "remove", (sku,):
                held.pop(sku, None)
            case "clear", ():
                held.clear()
            case _:
                raise ValueError(f"carts know no {kind}")
        after = _cart(state, held)
        yield after, after


def _cart(before: Cart, held: dict[str, int]) -> Cart:
    return Cart(before.version + 1, tuple(sorted(held.items())))
