"""A page on another origin in a real browser: what it may do with the shop, and what a stranger's may not."""

from __future__ import annotations

import time
import urllib.parse
import uuid
from pathlib import Path
from typing import Any

import pytest

from db.seed.token import TokenRequest, mint
from localfaas.stack import load_stack
from tests.support.browser import chromium, render, visit
from tests.support.platform import PROJECT, Platform

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        chromium() is None, reason="no Chromium: sudo apt-get install chromium, or run .ci/run once"
    ),
]

PAGES = Path(__file__).parent / "other_origin"
LISTED = "http://localhost:5173"
NOT_LISTED = "http://evil.example"
FUNCTIONS = load_stack(PROJECT / "stack.yml", {}).functions
SIGN_IN, CHECKOUT = "customers" in FUNCTIONS, "checkout" in FUNCTIONS
STEPS = [
    "search", "add", "visitor's cart", "register", "sign in", "merge", "customer's cart", "check out",
]  # fmt: skip


def shop_from(shop: Platform, origin: str) -> dict[str, Any]:
    """What a page of `origin` sees of the shop while it signs in, fills a cart and checks out."""
    subject = f"customer-{uuid.uuid4()}"
    token = mint(TokenRequest(("customer",), subject), shop.secrets, time.time())
    return visit(PAGES, origin, "/?" + urllib.parse.urlencode({"shop": shop.browsers_edge, "token": token}))


@pytest.fixture(scope="module")
def listed(shop: Platform) -> dict[str, Any]:
    return shop_from(shop, LISTED)


@pytest.fixture(scope="module")
def stranger(shop: Platform) -> dict[str, Any]:
    return shop_from(shop, NOT_LISTED)


def test_page_of_a_listed_origin_fills_a_cart(listed: dict[str, Any]) -> None:
    """With a preflight for the Idempotency-Key, and the cookie that came with the first item."""
    assert listed["search"]["status"] == 200
    assert listed["add"]["status"] in (200, 201)
    assert listed["visitor's cart"]["body"]["item_count"] == 2


@pytest.mark.parametrize("name", ["x-cart-token", "x-request-id", "x-served-by", "etag"])
def test_page_of_a_listed_origin_sees_the_headers_that_it_needs(listed: dict[str, Any], name: str) -> None:
    assert listed["add"]["headers"][name]


def test_page_of_a_listed_origin_sends_a_customers_token(listed: dict[str, Any]) -> None:
    assert listed["merge"]["status"] == 200
    assert listed["customer's cart"]["body"]["item_count"] == 2


def test_page_of_a_listed_origin_signs_in_and_checks_out(listed: dict[str, Any]) -> None:
    """Without these functions the page can at least read that they are not there."""
    statuses = {step: listed[step]["status"] for step in ("register", "sign in", "check out")}
    assert statuses == {
        "register": 202 if SIGN_IN else 404,
        "sign in": 201 if SIGN_IN else 404,
        "check out": 201 if CHECKOUT else 404,
    }


def test_page_of_another_origin_learns_nothing_and_changes_nothing(stranger: dict[str, Any]) -> None:
    assert {step: stranger[step]["status"] for step in STEPS} == dict.fromkeys(STEPS, 0)
    assert all("Failed to fetch" in stranger[step]["error"] for step in STEPS)


def test_documentation_is_shown_by_a_viewer_that_breaks_no_rule_of_its_page(shop: Platform) -> None:
    html, said = render(shop.edge("/docs"))
    assert 'data-ready="true"' in html
    assert html.count("opblock-summary-path") > 50
    assert said == []
