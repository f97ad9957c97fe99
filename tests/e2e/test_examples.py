"""Every example of the page /docs is pasted into a shell as it stands, after what the page says to begin with."""

from __future__ import annotations

import os
from typing import Any

import pytest
import requests

from functions.site.domain import operations
from tests.support.browser import chromium, render
from tests.support.examples import (
    Answered,
    begin_of,
    documented_status,
    record,
    run_all,
    samples_of,
    schema_faults,
)
from tests.support.platform import Platform
from tests.support.shoppers import Street
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

FRESH_SECONDS = 60


@pytest.fixture(scope="module")
def document(shop: Platform) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(shop.edge("/docs/openapi.json"), timeout=20).json()
    return found


@pytest.fixture(scope="module")
def answers(
    shop: Platform, document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> list[Answered]:
    head = Street(shop).head_office()
    # Until sales were summed for the first time, some seconds after the first start, reports are 503.
    wait_for(lambda: head.ask("GET", "/reports/overview").status_code == 200, FRESH_SECONDS, "a first report")
    head.leave()
    begin = begin_of(requests.get(shop.edge("/docs"), timeout=20).text)
    found = run_all(begin, samples_of(document), shop.environment(), tmp_path_factory.mktemp("examples"))
    if os.environ.get("RECORD_EXAMPLES"):
        record(found)
    return found


def test_every_example_works_as_it_stands(document: dict[str, Any], answers: list[Answered]) -> None:
    known = {operation["operationId"]: operation for _, _, operation in operations(document)}
    assert {answered.operation for answered in answers} == known.keys()
    wrong = [
        str(answered)
        for answered in answers
        if str(answered.status) != documented_status(known[answered.operation])
    ]
    assert wrong == []


def test_every_answer_is_what_the_document_shows(document: dict[str, Any], answers: list[Answered]) -> None:
    known = {operation["operationId"]: operation for _, _, operation in operations(document)}
    for answered in answers:
        response = known[answered.operation]["responses"][str(answered.status)]
        for kind, content in response.get("content", {}).items():
            if kind.endswith("json"):
                assert schema_faults(document, content["schema"], answered.body) == [], answered
                assert answered.body.keys() == content["example"].keys(), answered


@pytest.mark.skipif(
    chromium() is None, reason="no Chromium: sudo apt-get install chromium, or run .ci/run once"
)
def test_the_page_shows_an_example_with_a_button_that_copies_it(shop: Platform) -> None:
    page, said = render(f"{shop.browsers_edge}/docs#/cart/cart.set_quantity")
    opened = page.partition(r'id="operations-cart-cart\.set_quantity"')[2]
    assert "curl -s -X PUT" in opened
    assert '<a href="#/customers/customers.sign_in">POST /api/customers/sessions</a>' in opened
    assert '<button type="button" class="copy">Copy</button>' in opened
    assert [line for line in said if "rror" in line] == []
