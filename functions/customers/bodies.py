"""What customers takes: bodies and queries, and how much of each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from functions.shared import ONE_LINE, Body, Name, Query

LONGEST_EMAIL = 320
LONGEST_PASSWORD = 1000
"""Of what is looked at; passwords.py says how long one may be."""


def _country(code: str) -> str:
    return code.upper()


EmailText = Annotated[str, Field(min_length=1, max_length=LONGEST_EMAIL, examples=["ada@example.com"])]
Password = Annotated[
    str, StringConstraints(strip_whitespace=False, max_length=LONGEST_PASSWORD), Field(repr=False)
]
Text = Annotated[str, Field(min_length=1, max_length=100), ONE_LINE]
Phone = Annotated[str, Field(pattern=r"^[0-9+() .-]{3,30}$")]
StoreCode = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{0,9}$", description="with the role staff")]
RefreshToken = Annotated[str, Field(min_length=1, max_length=200, repr=False)]
Language = Literal["en", "fr"]


class Registration(Body):
    """A new customer."""

    email: EmailText
    password: Password
    name: Name
    language: Language | None = None


class NewStaff(Body):
    """A new account for someone who works here."""

    email: EmailText
    password: Password
    name: Name
    role: Literal["staff", "hq"]
    store: StoreCode | None = None


class Credentials(Body):
    email: EmailText
    password: Password


class Refresh(Body):
    refresh_token: RefreshToken


class PasswordChange(Body):
    password: Password
    new_password: Password


class ProfileChange(Body):
    """What is not given stays; an empty phone takes it away."""

    name: Name | None = None
    phone: Phone | Literal[""] | None = None
    language: Language | None = None


class AddressBody(Body):
    """Where things are sent, and to whom."""

    name: Name
    line1: Text
    line2: Text | None = None
    city: Text
    province: Text
    postal_code: Annotated[str, Field(min_length=1, max_length=20), ONE_LINE]
    country: Annotated[str, Field(pattern=r"^[A-Za-z]{2}$"), AfterValidator(_country)] = "CA"
    phone: Phone | None = None
    default: bool = Field(default=False, description="Make it the one that is proposed first.")


class AccountQuery(Query):
    q: str | None = Field(default=None, max_length=200, description="Words of name or e-mail address.")
    role: Literal["customer", "staff", "hq"] | None = None
    store: StoreCode | None = None
    active: bool | None = None
    limit: int = Field(default=20, ge=1, le=100)
    after: str | None = Field(default=None, max_length=2000)


class ErasureQuery(Query):
    limit: int = Field(default=50, ge=1, le=200)
    after: str | None = Field(default=None, max_length=500)
