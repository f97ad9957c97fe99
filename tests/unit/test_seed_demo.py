"""The demonstration catalogue: the same from the same seed, believable, and never in anyone's way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest

from db.seed import demo
from db.seed.catalogue import LONGEST_NAME, Answer, Catalogue, UploadError


def test_the_same_seed_makes_the_same_catalogue_on_every_machine() -> None:
    text = json.dumps(demo.demo_rows("L"), sort_keys=True).encode()
    assert (
        hashlib.sha256(text).hexdigest() == "fbf4b5ae633a1428b86fc6c68cef69509b6898cd2d2d3e8d0ebac1945ca52fb7"
    )


def test_another_seed_makes_another_catalogue() -> None:
    assert demo.demo_rows("S", seed=1) != demo.demo_rows("S", seed=2)


@pytest.mark.parametrize(("size", "count"), [("S", 200), ("M", 2_000), ("L", 20_000)])
def test_a_smaller_size_is_the_beginning_of_a_larger_one(size: str, count: int) -> None:
    assert demo.demo_rows(size) == demo.demo_rows("L")[:count]


def test_every_product_is_one_of_a_kind_and_fits_the_shop() -> None:
    rows = demo.demo_rows("L")
    assert len({row["sku"] for row in rows}) == len({row["name"] for row in rows}) == 20_000
    assert max(len(row["name"]) for row in rows) <= LONGEST_NAME
    assert all(49 <= row["price_cents"] <= 30_000 for row in rows)


def test_even_the_smallest_size_has_every_category_both_languages_and_inactive_products() -> None:
    rows = demo.demo_rows("S")
    names = " ".join(row["name"] for row in rows)
    assert {row["category"] for row in rows} == set(demo.CATEGORIES)
    assert all(letter in names for letter in "éèà’")
    assert "set of" in names and "lot de" in names
    assert 1 <= sum(not row["active"] for row in rows) <= 20


class ScriptedShop:
    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, method: str, path: str, _body: bytes | None, _headers: Mapping[str, str]) -> Answer:
        self.asked.append(f"{method} {path}")
        return self.answers.pop(0)


def catalogue(shop: ScriptedShop) -> Catalogue:
    return Catalogue(send=shop, say=lambda _sentence: None)


def answer(status: int, **body: Any) -> Answer:
    return Answer(status, {}, json.dumps(body).encode())


def test_a_loaded_catalogue_is_known_by_its_last_product_in_one_request() -> None:
    shop = ScriptedShop(answer(200))
    assert demo.is_loaded(catalogue(shop), "M")
    assert shop.asked == ["GET /api/products/sku/MAG-02000"]


def test_a_product_that_is_not_there_means_not_loaded() -> None:
    assert not demo.is_loaded(catalogue(ScriptedShop(answer(404, code="product_not_found"))), "S")


def test_an_edge_without_the_route_is_no_empty_shop() -> None:
    with pytest.raises(UploadError, match="is it deployed"):
        demo.is_loaded(
            catalogue(ScriptedShop(answer(404, message="no Route matched with those values"))), "S"
        )


def test_a_size_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEMO_SIZE", "XXL")
    with pytest.raises(SystemExit):
        demo.main([])
    assert "'XXL'" in capsys.readouterr().err


def test_no_demonstration_data_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_SIZE", "none")
    monkeypatch.setenv("EDGE_URL", "http://127.0.0.1:9")
    assert demo.main([]) == 0
