"""Order numbers that people can read to each other: `M7K3-F92Q-X`, eight characters at random and one that checks them.

The alphabet is Douglas Crockford's base 32 (https://www.crockford.com/base32.html): no I, L, O or U, and whoever
writes one of the first three is understood. Its own check symbol needs five characters that nobody can spell
(`*~$=U`), so ours is another: a number is valid when the sum of its characters, each times a weight of its place,
is nothing in the field of 32 elements (polynomial x⁵ + x² + 1). Weights differ and none is nothing, so one wrong
character always shows, and so do any two that changed places.
"""

from __future__ import annotations

import secrets
import unicodedata
from functools import reduce
from operator import xor

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 9
RANDOM_CHARACTERS = LENGTH - 1

_LOOK_ALIKES = str.maketrans("OIL", "011")
_DASHES = str.maketrans("", "", "-‐‑‒–—_./ ")
_POLYNOMIAL = 0b100101


def new_number() -> str:
    """A number at random, one of 2⁴⁰; whether it is taken already is for who keeps it to see to."""
    return with_check("".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS)))


def with_check(characters: str) -> str:
    """The number whose first eight characters these are."""
    return characters + ALPHABET[_sum(characters)]


def show_number(number: str) -> str:
    """As people read it: in groups of four."""
    return "-".join(number[start : start + 4] for start in range(0, len(number), 4))


def read_number(text: str) -> str | None:
    """The number that somebody wrote, in any case, with any dashes and the usual mistakes; None when it cannot be one."""
    number = unicodedata.normalize("NFKC", text).upper().translate(_DASHES).translate(_LOOK_ALIKES)
    if len(number) != LENGTH or not set(number) <= set(ALPHABET):
        return None
    return number if with_check(number[:RANDOM_CHARACTERS]) == number else None


def _sum(characters: str) -> int:
    values = [ALPHABET.index(character) for character in characters]
    return reduce(xor, map(_times, values, _WEIGHTS))


def _times(one: int, other: int) -> int:
    """Multiplication in the field of 32 elements."""
    product = 0
    for bit in range(5):
        if other >> bit & 1:
            product ^= one << bit
    for bit in (8, 7, 6, 5):
        if product >> bit & 1:
            product ^= _POLYNOMIAL << (bit - 5)
    return product


def _powers() -> tuple[int, ...]:
    """x, x², … x⁸: all different, and none is 1, which is the weight of the check character."""
    powers = [2]
    while len(powers) < RANDOM_CHARACTERS:
        powers.append(_times(powers[-1], 2))
    return tuple(powers)


_WEIGHTS = _powers()
