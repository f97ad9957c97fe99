"""Generated pages and pictures are up to date, the two READMEs agree, and the site has no broken link."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from docs.source import diagrams, ports, settings, site
from docs.source.__main__ import DOCS, PROJECT, reference
from localfaas.settings import PORTS, Settings
from tests.support import documents

_TAG = re.compile(r"<(?:link|script|img|iframe|source)\b[^>]*>")
"""What has a browser fetch something by itself."""
_ELSEWHERE = re.compile(r"""\b(?:href|src)=["']?((?:https?:)?//[^"'\s>]+)""")
_ONLY_NAMED = re.compile(r"\brel=[\"']?(?:canonical|alternate|prev|next)\b")
_MERMAID = re.compile(r"<[^>]+\bclass=[\"']?mermaid\b")
NEEDED_BY_THE_GENERATOR = pytest.mark.skipif(
    not Path(sys.executable).with_name("zensical").is_file(), reason="zensical is not installed"
)


# Pages of experiments


@pytest.mark.parametrize("page", sorted((DOCS / "experiments").glob("*.md")), ids=lambda page: page.stem)
def test_page_of_an_experiment_says_of_which_commit_and_by_which_command_its_figures_are(page):
    text = page.read_text()
    assert f"make experiment name={page.stem}" in text
    assert re.search(r"\bcommit [0-9a-f]{7}\b", text)


# Reference pages


@pytest.fixture(scope="module")
def made() -> Mapping[str, str]:
    return reference()


@pytest.mark.parametrize("name", ["settings.md", "ports.md", "api.md"])
def test_generated_page_is_what_the_code_says(made, name):
    assert (DOCS / name).read_text() == made[name], "run `make reference`"


def test_a_changed_port_makes_the_page_old(made, monkeypatch):
    monkeypatch.setitem(PORTS, "edge", 8765)
    assert ports.text(PROJECT) != made["ports.md"]


class Asked(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.names.add(key)
        return "on" if key == "TRACES" else default


def test_every_variable_that_the_platform_reads_has_a_row(tmp_path):
    asked = Asked()
    Settings.load(asked, tmp_path)
    assert {row[0].strip("`") for row in settings.of_the_platform()} == asked.names


def test_every_fixed_port_has_a_meaning():
    assert set(ports.OF_PARTS) == set(PORTS)


# Diagrams


def test_every_picture_was_drawn_from_its_source():
    assert list(diagrams.outdated(DOCS / "diagrams")) == []


@pytest.mark.skipif(diagrams.program() is None, reason="d2 is not installed")
def test_drawing_again_gives_the_same_picture():
    source = DOCS / "diagrams" / "read.d2"
    assert diagrams.drawn(source) == source.with_suffix(".svg").read_text()


def test_a_changed_source_makes_its_picture_old(tmp_path):
    shutil.copytree(DOCS / "diagrams", tmp_path / "diagrams")
    changed = tmp_path / "diagrams" / "read.d2"
    changed.write_text(changed.read_text() + "# changed\n")
    (tmp_path / "diagrams" / "stray.svg").touch()
    assert list(diagrams.outdated(tmp_path / "diagrams")) == ["read.d2", "stray.svg"]


# The two READMEs


def commands(page: str) -> list[str]:
    """Every line of a page's commands, without comments."""
    blocks = documents.parse("README", page, may_be_bare=True)
    lines = [line for block in blocks if block.kind == "commands" for line in block.text.splitlines()]
    return [re.sub(r"\s+# .*", "", line).rstrip() for line in lines]


def test_both_readmes_have_the_same_commands():
    english, french = (commands((PROJECT / name).read_text()) for name in ("README.md", "README.fr.md"))
    assert len(english) > 30
    assert french == english


def test_both_readmes_have_the_same_sections_and_pictures():
    for pattern in (r"^## ", r"!\[[^\]]*\]\(([^)]+)\)"):
        english, french = (
            re.findall(pattern, (PROJECT / name).read_text(), re.MULTILINE)
            for name in ("README.md", "README.fr.md")
        )
        assert french == english


def test_a_command_that_differs_is_found():
    page = "```\nmake up   # start\ncurl x\n```\n"
    assert commands(page) == ["make up", "curl x"] != commands(page.replace("make up", "make down"))


# The site


def fetched_from_elsewhere(page: str) -> list[str]:
    """What a page has a browser fetch from elsewhere; a block that the theme would fetch a script for counts too."""
    found = []
    for tag in _TAG.findall(page):
        address = _ELSEWHERE.search(tag)
        if address and not _ONLY_NAMED.search(tag):
            found.append(address.group(1))
    return found + _MERMAID.findall(page)


def fetched_by_styles(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*.css"):
        yield from re.findall(r"url\(\s*[\"']?((?:https?:)?//[^)\"']+)", path.read_text())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    site.lay_out(PROJECT, folder / "source")
    site.build(folder / "source", folder / "site")
    return folder / "site"


@NEEDED_BY_THE_GENERATOR
def test_site_has_every_page_and_no_broken_link(built):
    assert len(list(built.rglob("*.html"))) >= len(site.pages(PROJECT))


@NEEDED_BY_THE_GENERATOR
def test_site_fetches_nothing_from_elsewhere(built):
    fetched = {path.name: fetched_from_elsewhere(path.read_text()) for path in built.rglob("*.html")}
    assert {name: found for name, found in fetched.items() if found} == {}
    assert list(fetched_by_styles(built)) == []


def test_what_a_page_fetches_from_elsewhere_is_found():
    page = '<link rel="stylesheet" href="https://fonts.example/css"><script src="//cdn.example/x.js"></script><img src="a.png">'
    assert fetched_from_elsewhere(page) == ["https://fonts.example/css", "//cdn.example/x.js"]
    assert len(fetched_from_elsewhere('<pre class="mermaid">a --&gt; b</pre>')) == 1


@NEEDED_BY_THE_GENERATOR
@pytest.mark.parametrize("link", ["gone.md", "b.md#no-such-heading"])
def test_a_broken_link_stops_the_build(tmp_path, link):
    for name, text in (
        ("README.md", "# A\n"),
        ("docs/index.md", f"# I\n\n[x]({link})\n"),
        ("docs/b.md", "# B\n"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    site.lay_out(tmp_path, tmp_path / "source")
    with pytest.raises(site.SiteError):
        site.build(tmp_path / "source", tmp_path / "site")
