"""Accounts, their addresses and erasures: one function for each statement; the caller owns the transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from functions.shared import Connection, Prepared, Row, execute, fetch_all, fetch_one

_PROFILE: Final = """customer_id::text AS customer_id, role, store, email, name, phone, language, version,
    created_at, changed_at, password_changed_at"""
_ADDRESS: Final = """address_id::text AS address_id, name, line1, line2, city, province, postal_code, country,
    phone, is_default"""


def register(connection: Connection, account: Mapping[str, Any]) -> bool:
    """Make a customer's account unless its address has one; whether it was made. Both write one row."""
    row = fetch_one(connection, _REGISTER, account)
    return row is not None and row["registrations"] == 1


def add_staff(connection: Connection, account: Mapping[str, Any]) -> Row:
    """Make an account for staff. Fails on `accounts_email_key_key`."""
    row = fetch_one(connection, _ADD_STAFF, account)
    assert row is not None
    return row


def credentials(connection: Connection, email_key: str) -> Row | None:
    """What signing in needs: `customer_id`, `role`, `store`, `password_hash`, `active`."""
    return fetch_one(connection, _CREDENTIALS, {"email_key": email_key})


def profile(connection: Connection, customer_id: str, session_id: str | None) -> Row | None:
    """An account that may be used; None when it or the session has ended."""
    return _PROFILE_OF.fetch_one(connection, customer_id, session_id)


def lock_account(connection: Connection, customer_id: str) -> Row | None:
    """The account, locked until the transaction ends; None when there is none or it is erased."""
    return fetch_one(connection, _LOCK, {"customer_id": customer_id})


def change_profile(
    connection: Connection, customer_id: str, version: int | None, change: Mapping[str, Any]
) -> Row | None:
    """Set what `change` has; None when the account is not at `version`."""
    return fetch_one(connection, _CHANGE_PROFILE, {**change, "customer_id": customer_id, "version": version})


def change_password(connection: Connection, customer_id: str, old_hash: str, new_hash: str) -> bool:
    """Replace the very hash that was verified; false when it has changed since."""
    values = {"customer_id": customer_id, "old_hash": old_hash, "new_hash": new_hash}
    return execute(connection, _CHANGE_PASSWORD, values) == 1


def store_rehash(connection: Connection, customer_id: str, new_hash: str) -> None:
    """The same password under other parameters."""
    execute(connection, _REHASH, {"customer_id": customer_id, "new_hash": new_hash})


def deactivate(connection: Connection, customer_id: str, who: str) -> Row | None:
    """Keep an account from being signed in to; once deactivated it stays as it is."""
    return fetch_one(connection, _DEACTIVATE, {"customer_id": customer_id, "who": who})


def activate(connection: Connection, customer_id: str) -> Row | None:
    return fetch_one(connection, _ACTIVATE, {"customer_id": customer_id})


def is_deactivated(connection: Connection, customer_id: str) -> bool:
    """Whether there is such an account and it has ended."""
    return fetch_one(connection, _IS_DEACTIVATED, {"customer_id": customer_id}) is not None


def account(connection: Connection, customer_id: str, role: str | None) -> Row | None:
    """An account as staff see it; with `role` only one of that role."""
    return fetch_one(connection, _ACCOUNT, {"customer_id": customer_id, "role": role})


def list_accounts(connection: Connection, filters: Mapping[str, Any]) -> list[Row]:
    """Up to `limit` accounts by name that fit every filter that is not None; `words` has four texts or None."""
    words = {f"word_{index}": word for index, word in enumerate(filters["words"])}
    return fetch_all(connection, _LIST, {**filters, **words})


def addresses(connection: Connection, customer_id: str) -> list[Row]:
    return fetch_all(connection, _ADDRESSES, {"customer_id": customer_id})


def address(connection: Connection, customer_id: str, address_id: str) -> Row | None:
    return fetch_one(connection, _ONE_ADDRESS, {"customer_id": customer_id, "address_id": address_id})


def add_address(connection: Connection, customer_id: str, values: Mapping[str, Any]) -> str:
    """Add an address that is not the default one; its id."""
    row = fetch_one(connection, _ADD_ADDRESS, {**values, "customer_id": customer_id})
    assert row is not None
    return str(row["address_id"])


def change_address(
    connection: Connection, customer_id: str, address_id: str, values: Mapping[str, Any]
) -> bool:
    keys = {"customer_id": customer_id, "address_id": address_id}
    return execute(connection, _CHANGE_ADDRESS, {**values, **keys}) == 1


def remove_address(connection: Connection, customer_id: str, address_id: str) -> bool:
    keys = {"customer_id": customer_id, "address_id": address_id}
    return execute(connection, _REMOVE_ADDRESS, keys) == 1


def choose_default(connection: Connection, customer_id: str, address_id: str | None) -> None:
    """Make this address the default; without one the present default, or else the latest, is it."""
    chosen = fetch_one(connection, _CHOOSE, {"customer_id": customer_id, "address_id": address_id})
    if chosen is None or chosen["is_default"]:
        return
    values = {"customer_id": customer_id, "address_id": chosen["address_id"]}
    execute(connection, _NO_DEFAULT, values)
    execute(connection, _DEFAULT, values)


def count_addresses(connection: Connection, customer_id: str) -> int:
    row = fetch_one(connection, _COUNT_ADDRESSES, {"customer_id": customer_id})
    return row["addresses"] if row else 0


def erase(connection: Connection, customer_id: str) -> bool:
    """Take everything personal out of an account and note that the others must, too; false if it was done before."""
    values = {"customer_id": customer_id}
    if execute(connection, _ERASE, values) == 0:
        return False
    execute(connection, _ERASE_ADDRESSES, values)
    execute(connection, _ERASE_SESSIONS, values)
    execute(connection, _ADD_ERASURE, values)
    return True


def open_erasures(connection: Connection, after: tuple[datetime, str] | None, limit: int) -> list[Row]:
    """Erasures that others have not finished, the oldest first."""
    after_at, after_id = after or (None, None)
    return fetch_all(connection, _OPEN_ERASURES, {"after_at": after_at, "after_id": after_id, "limit": limit})


def finish_erasure(connection: Connection, customer_id: str) -> bool:
    """Note that all others have done it; false when that is noted already, or nothing was to be erased."""
    return execute(connection, _FINISH_ERASURE, {"customer_id": customer_id}) == 1


def erasure(connection: Connection, customer_id: str) -> Row | None:
    return fetch_one(connection, _ERASURE, {"customer_id": customer_id})


_REGISTER = """
INSERT INTO accounts (role, email, email_key, name, language, password_hash)
VALUES ('customer', %(email)s, %(email_key)s, %(name)s, %(language)s, %(password_hash)s)
ON CONFLICT ON CONSTRAINT accounts_email_key_key DO UPDATE
SET registrations = LEAST(accounts.registrations, 1000000) + 1
RETURNING registrations
"""

_ADD_STAFF = f"""
INSERT INTO accounts (role, store, email, email_key, name, password_hash)
VALUES (%(role)s, %(store)s, %(email)s, %(email_key)s, %(name)s, %(password_hash)s)
RETURNING {_PROFILE}, deactivated_at, deactivated_by
"""  # noqa: S608 - columns are a constant

_CREDENTIALS = """
SELECT customer_id::text AS customer_id, role, store, password_hash, deactivated_at IS NULL AS active
FROM accounts
WHERE email_key = %(email_key)s
"""

_PROFILE_OF = Prepared(
    "profile_of",
    f"""
SELECT {_PROFILE}
FROM accounts
WHERE customer_id = $1::uuid
  AND erased_at IS NULL
  AND deactivated_at IS NULL
  AND (
    $2::text IS NULL
    OR EXISTS (
        SELECT
        FROM sessions
        WHERE sessions.session_id = $2::uuid
          AND sessions.customer_id = accounts.customer_id
          AND sessions.ended_at IS NULL
    )
  )
""",  # noqa: S608
)

_LOCK = f"""
SELECT {_PROFILE}, password_hash, deactivated_at IS NULL AS active
FROM accounts
WHERE customer_id = %(customer_id)s AND erased_at IS NULL
FOR NO KEY UPDATE
"""  # noqa: S608

_CHANGE_PROFILE = f"""
UPDATE accounts
SET name = coalesce(%(name)s, name),
    phone = CASE WHEN %(set_phone)s THEN %(phone)s ELSE phone END,
    language = coalesce(%(language)s, language),
    version = version + 1,
    changed_at = now()
WHERE customer_id = %(customer_id)s
  AND erased_at IS NULL
  AND (%(version)s::integer IS NULL OR version = %(version)s)
RETURNING {_PROFILE}
"""  # noqa: S608

_CHANGE_PASSWORD = """
UPDATE accounts
SET password_hash = %(new_hash)s, password_changed_at = now()
WHERE customer_id = %(customer_id)s AND password_hash = %(old_hash)s AND deactivated_at IS NULL
"""  # noqa: S105

_REHASH = "UPDATE accounts SET password_hash = %(new_hash)s WHERE customer_id = %(customer_id)s"

_DEACTIVATE = f"""
UPDATE accounts
SET deactivated_at = coalesce(deactivated_at, now()),
    deactivated_by = coalesce(deactivated_by, %(who)s),
    version = version + (deactivated_at IS NULL)::integer,
    changed_at = CASE WHEN deactivated_at IS NULL THEN now() ELSE changed_at END
WHERE customer_id = %(customer_id)s AND erased_at IS NULL
RETURNING {_PROFILE}, deactivated_at, deactivated_by
"""  # noqa: S608

_ACTIVATE = f"""
UPDATE accounts
SET deactivated_at = NULL,
    deactivated_by = NULL,
    version = version + (deactivated_at IS NOT NULL)::integer,
    changed_at = CASE WHEN deactivated_at IS NULL THEN changed_at ELSE now() END
WHERE customer_id = %(customer_id)s AND erased_at IS NULL
RETURNING {_PROFILE}, deactivated_at, deactivated_by
"""  # noqa: S608

_IS_DEACTIVATED = """
SELECT customer_id
FROM accounts
WHERE customer_id = %(customer_id)s AND num_nonnulls(deactivated_at, erased_at) > 0
"""

_ACCOUNT = f"""
SELECT {_PROFILE}, deactivated_at, deactivated_by
FROM accounts
WHERE customer_id = %(customer_id)s
  AND erased_at IS NULL
  AND (%(role)s::text IS NULL OR role = %(role)s)
"""  # noqa: S608

_LIST = f"""
SELECT {_PROFILE}, deactivated_at, deactivated_by, sort_name
FROM accounts
WHERE erased_at IS NULL
  AND (%(role)s::text IS NULL OR role = %(role)s)
  AND (%(store)s::text IS NULL OR store = %(store)s)
  AND (%(active)s::boolean IS NULL OR (deactivated_at IS NULL) = %(active)s)
  AND (%(word_0)s::text IS NULL OR search_text LIKE containing(%(word_0)s))
  AND (%(word_1)s::text IS NULL OR search_text LIKE containing(%(word_1)s))
  AND (%(word_2)s::text IS NULL OR search_text LIKE containing(%(word_2)s))
  AND (%(word_3)s::text IS NULL OR search_text LIKE containing(%(word_3)s))
  AND (%(after_id)s::uuid IS NULL OR (sort_name, customer_id) > (%(after_name)s::text, %(after_id)s::uuid))
ORDER BY sort_name, customer_id
LIMIT %(limit)s
"""  # noqa: S608

_ADDRESSES = f"""
SELECT {_ADDRESS}
FROM addresses
WHERE customer_id = %(customer_id)s
ORDER BY is_default DESC, created_at, address_id
"""  # noqa: S608

_ONE_ADDRESS = f"""
SELECT {_ADDRESS}
FROM addresses
WHERE customer_id = %(customer_id)s AND address_id = %(address_id)s
"""  # noqa: S608

_ADD_ADDRESS = """
INSERT INTO addresses (
    customer_id, name, line1, line2, city, province, postal_code, country, phone, is_default
)
VALUES (
    %(customer_id)s, %(name)s, %(line1)s, %(line2)s, %(city)s, %(province)s, %(postal_code)s, %(country)s,
    %(phone)s, false
)
RETURNING address_id::text AS address_id
"""

_CHANGE_ADDRESS = """
UPDATE addresses
SET name = %(name)s, line1 = %(line1)s, line2 = %(line2)s, city = %(city)s, province = %(province)s,
    postal_code = %(postal_code)s, country = %(country)s, phone = %(phone)s
WHERE customer_id = %(customer_id)s AND address_id = %(address_id)s
"""

_REMOVE_ADDRESS = """
DELETE FROM addresses
WHERE customer_id = %(customer_id)s AND address_id = %(address_id)s
"""

_CHOOSE = """
SELECT address_id::text AS address_id, is_default
FROM addresses
WHERE customer_id = %(customer_id)s
  AND (%(address_id)s::uuid IS NULL OR address_id = %(address_id)s::uuid)
ORDER BY is_default DESC, created_at DESC
LIMIT 1
"""

_NO_DEFAULT = "UPDATE addresses SET is_default = false WHERE customer_id = %(customer_id)s AND is_default"

_DEFAULT = """
UPDATE addresses
SET is_default = true
WHERE customer_id = %(customer_id)s AND address_id = %(address_id)s
"""

_COUNT_ADDRESSES = "SELECT count(*) AS addresses FROM addresses WHERE customer_id = %(customer_id)s"

_ERASE = """
UPDATE accounts
SET email = NULL, email_key = NULL, name = NULL, phone = NULL, language = NULL, password_hash = NULL,
    deactivated_at = NULL, deactivated_by = NULL, erased_at = now(), changed_at = now(),
    version = version + 1
WHERE customer_id = %(customer_id)s AND erased_at IS NULL
"""

_ERASE_ADDRESSES = "DELETE FROM addresses WHERE customer_id = %(customer_id)s"

_ERASE_SESSIONS = "DELETE FROM sessions WHERE customer_id = %(customer_id)s"

_ADD_ERASURE = "INSERT INTO erasures (customer_id) VALUES (%(customer_id)s)"

_OPEN_ERASURES = """
SELECT customer_id::text AS customer_id, requested_at
FROM erasures
WHERE done_at IS NULL
  AND (
    %(after_at)s::timestamptz IS NULL
    OR (requested_at, customer_id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
  )
ORDER BY requested_at, customer_id
LIMIT %(limit)s
"""

_FINISH_ERASURE = """
UPDATE erasures
SET done_at = now()
WHERE customer_id = %(customer_id)s AND done_at IS NULL
"""

_ERASURE = """
SELECT customer_id::text AS customer_id, requested_at, done_at
FROM erasures
WHERE customer_id = %(customer_id)s
"""
