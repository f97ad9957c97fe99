"""Pages laid out for the site: links lead where they led, and lists begin where the generator sees them."""

from pathlib import Path

import pytest

from docs.source.site import relinked, spaced

KNOWN = {
    Path("README.md"),
    Path("docs/a.md"),
    Path("docs/deep/README.md"),
    Path("docs/deep/b.md"),
    Path("kong/README.md"),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in (*map(str, KNOWN), "kong/kong.yml", "docs/images/one.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("page", "link", "there"),
    [
        ("docs/a.md", "[b](deep/b.md#c)", "[b](deep/b.md#c)"),
        ("docs/a.md", "[deep](deep/)", "[deep](deep/index.md)"),
        ("docs/a.md", "[top](../README.md)", "[top](../readme.md)"),
        ("docs/a.md", "[the edge](../kong/README.md#routes)", "[the edge](../kong/index.md#routes)"),
        ("docs/a.md", "[the file](../kong/kong.yml)", "the file (`kong/kong.yml`)"),
        ("README.md", "[`kong/kong.yml`](kong/kong.yml)", "`kong/kong.yml`"),
        ("README.md", "![one](docs/images/one.png)", "![one](docs/images/one.png)"),
        (
            "docs/a.md",
            "[out](https://example.com/a.md), [here](#b)",
            "[out](https://example.com/a.md), [here](#b)",
        ),
        ("docs/a.md", "`[no](../kong/kong.yml)`", "`[no](../kong/kong.yml)`"),
        ("docs/a.md", "[nowhere](gone.md)", "[nowhere](gone.md)"),
    ],
)
def test_a_link_leads_where_it_led(project, page, link, there):
    assert relinked(link, Path(page), KNOWN, project) == there


def test_code_keeps_what_looks_like_a_link(project):
    text = "```\n[the file](../kong/kong.yml)\n```"
    assert relinked(text, Path("docs/a.md"), KNOWN, project) == text


def test_lists_and_tables_begin_after_an_empty_line():
    assert (
        spaced("Said:\n- one\n- two\nAnd:\n| a |\n|---|\n") == "Said:\n\n- one\n- two\nAnd:\n\n| a |\n|---|\n"
    )


def test_code_is_not_spaced():
    assert spaced("```\na\n- b\n```\n") == "```\na\n- b\n```\n"
