"""What each card does, by its token: the ways in which a payment goes well, badly, or nobody knows how.

A token is one of the names below, with any suffix behind an underscore (`tok_declined_7`).
"""

from __future__ import annotations

from dataclasses import dataclass

from functions.shared import Invalid


@dataclass(frozen=True)
class Card:
    """How the provider behaves when this card pays."""

    decline_code: str | None = None
    times_out: bool = False
    """The first attempts of a reference have no effect and no answer."""
    unavailable_once: bool = False
    """The first attempt of a reference is answered 503."""
    late: bool = False
    """The bank takes long to decide; by then the caller may be gone."""
    loses_answer: bool = False
    """The amount is authorised, and the answer that says so is lost."""
    loses_capture: bool = False
    """The amount is captured, and the answer that says so is lost."""
    refuses_capture: bool = False


CARDS = {
    "tok_ok": Card(),
    "tok_declined": Card(decline_code="do_not_honour"),
    "tok_insufficient_funds": Card(decline_code="insufficient_funds"),
    "tok_expired": Card(decline_code="expired_card"),
    "tok_timeout": Card(times_out=True),
    "tok_late": Card(late=True),
    "tok_lost_answer": Card(loses_answer=True),
    "tok_lost_capture": Card(loses_capture=True),
    "tok_capture_refused": Card(refuses_capture=True),
    "tok_unavailable_once": Card(unavailable_once=True),
}


def card_of(token: str) -> Card:
    """The card with this token; raises Invalid naming `card_token` when there is none."""
    for name, card in CARDS.items():
        if token == name or token.startswith(f"{name}_"):
            return card
    message = f"is not a card; known are {', '.join(CARDS)}, with any suffix such as tok_ok_7"
    raise Invalid(errors=[{"field": "card_token", "message": message}])
