"""The page at :8011 in a real browser: it draws every panel of every dashboard, dark and light, on a wall and on a phone.

With SCREENSHOTS=<folder> the pictures are kept there, and LOAD_SECONDS=<n> is how long there is trade before they are taken.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from PIL import Image, ImageChops

from tests.support import dashboards
from tests.support.browser import chromium, render
from tests.support.platform import Platform
from tests.support.shoppers import Street
from tests.support.traffic import requests_going_on, trade
from tests.support.waiting import wait_for
from tests.support.watching import QUERIES, WITHOUT_DATA, Prometheus

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        chromium() is None, reason="no Chromium: sudo apt-get install chromium, or run .ci/run once"
    ),
]

BOARDS = dashboards.boards()
DARK = "--blink-settings=preferredColorScheme=0"
WALL, PHONE = (1500, 3600), (420, 900)
AT_ONCE = 2
MAY_BE_EMPTY = {query.panel for query in QUERIES if str(query) in WITHOUT_DATA and query.instant}
"""Tables of what is wrong."""
KEPT = os.environ.get("SCREENSHOTS")
LOAD_SECONDS = float(os.environ.get("LOAD_SECONDS", "0"))
SHOWN = "now-5m"


@dataclass(frozen=True)
class Drawn:
    """A dashboard as a browser drew it: each panel's title and state, and what was said on the console."""

    panels: list[tuple[str, str]]
    said: list[str]
    html: str


def shrink(picture: Path) -> None:
    """Cut off what is empty below, and keep 128 colours: a third of the bytes."""
    with Image.open(picture) as image:
        flat = image.convert("RGB")
    background = Image.new("RGB", flat.size, flat.getpixel((1, flat.height - 1)))
    box = ImageChops.difference(flat, background).getbbox()
    used = flat.crop((0, 0, flat.width, min(flat.height, box[3] + 10) if box else flat.height))
    used.quantize(128).save(picture, optimize=True)


def drawn(url: str, size: tuple[int, int], picture: Path, *options: str) -> Drawn:
    html, said = render(url, size, picture, "--hide-scrollbars", *options)
    if KEPT:
        shrink(picture)
    found = re.findall(r'<section class="panel"([^>]*)><h3>([^<]*)', html)
    states = [(title, re.findall(r'data-state="([^"]*)"', attributes)[0]) for attributes, title in found]
    return Drawn(states, said, html)


@pytest.fixture(scope="module")
def page(shop: Platform) -> str:
    """Where the page is, once it is up."""
    address = f"http://localhost:{shop.settings.port('dashboards')}"
    wait_for(lambda: requests.get(address + "/healthz", timeout=5).status_code == 200, 20, "the page")
    return address


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(KEPT) if KEPT else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def boards(shop: Platform, watched: Prometheus, page: str, pictures: Path) -> Iterator[dict[str, Drawn]]:
    """Every dashboard, dark, as large as it is, while there is trade."""
    street, end = Street(shop), time.monotonic() + LOAD_SECONDS
    with requests_going_on(shop), ThreadPoolExecutor(AT_ONCE) as pool:
        while time.monotonic() < end:
            trade(street)
        urls = {name: f"{page}/d/{board['uid']}?from={SHOWN}&refresh=off" for name, board in BOARDS.items()}
        asked = {
            name: pool.submit(drawn, url, WALL, pictures / f"dashboard-{name}.png", DARK)
            for name, url in urls.items()
        }
        yield {name: one.result() for name, one in asked.items()}


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_is_drawn(name: str, boards: dict[str, Drawn]) -> None:
    wanted = [panel.get("title", "") for panel in BOARDS[name]["panels"] if panel["type"] != "row"]
    states = boards[name].panels
    assert len(states) == len(wanted)
    assert [one for one in states if one[1] != "drawn" and one[0] not in MAY_BE_EMPTY] == []


@pytest.mark.parametrize("name", BOARDS)
def test_nothing_is_said_on_the_console(name: str, boards: dict[str, Drawn]) -> None:
    assert boards[name].said == []


def test_every_picture_shows_something(boards: dict[str, Drawn], pictures: Path) -> None:
    sizes = {name: (pictures / f"dashboard-{name}.png").stat().st_size for name in boards}
    assert min(sizes.values()) > 30_000, sizes


def test_it_says_that_it_is_not_grafana(boards: dict[str, Drawn]) -> None:
    assert all("This is not Grafana" in one.html for one in boards.values())


def test_on_a_phone_in_the_light_the_panels_on_the_screen_are_drawn_and_the_rest_wait(
    page: str, pictures: Path
) -> None:
    found = drawn(f"{page}/d/magasin-shop?from={SHOWN}&refresh=off", PHONE, pictures / "dashboard-phone.png")
    states = [state for _, state in found.panels]
    assert states[0] == "drawn"
    assert "waiting" in states
    assert 'data-theme="light"' in found.html
    assert found.said == []
