"""Accounts as clients see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

Role = Literal["customer", "staff", "hq"]


class Registered(BaseModel):
    """The same whether the address was free or had an account already."""

    status: Literal["accepted"]
    detail: str


class Tokens(BaseModel):
    """An access token for all functions, and a refresh token for the next one."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds that the access token lasts.")
    refresh_token: str = Field(description="Good once; the answer of refreshing has the next.")
    customer_id: UUID


class ProfileView(BaseModel):
    customer_id: UUID
    role: Role
    store: str | None
    email: str
    name: str
    phone: str | None
    language: str | None
    version: int = Field(description="Counts the changes; also in ETag.")
    created_at: datetime
    changed_at: datetime
    password_changed_at: datetime


class AccountView(ProfileView):
    """An account as staff see it."""

    deactivated_at: datetime | None
    deactivated_by: str | None


class AccountPage(BaseModel):
    items: list[AccountView]
    next: str | None


class AddressView(BaseModel):
    address_id: UUID
    name: str
    line1: str
    line2: str | None
    city: str
    province: str
    postal_code: str
    country: str
    phone: str | None
    default: bool


class AddressList(BaseModel):
    """The default first."""

    items: list[AddressView]


class SessionView(BaseModel):
    session_id: UUID
    current: bool
    started_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    ended_by: str | None


class SessionList(BaseModel):
    items: list[SessionView]


class Export(BaseModel):
    """All that customers keeps of a person; their orders and carts are with orders and cart."""

    profile: ProfileView
    addresses: list[AddressView]
    sessions: list[SessionView]


class Jwks(BaseModel):
    """JSON Web Key Set (RFC 7517)."""

    keys: list[dict[str, Any]]


class ErasureView(BaseModel):
    customer_id: UUID
    requested_at: datetime


class ErasurePage(BaseModel):
    items: list[ErasureView]
    next: str | None


class ErasureDone(ErasureView):
    done_at: datetime


class ErasureAccepted(BaseModel):
    status: Literal["erased"]
    detail: str
