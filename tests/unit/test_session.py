"""The picture of a session: what a terminal would show, in the order in which it came, and nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.source.session import ROWS, Screen, SessionError, commands, drawn

PROJECT = Path(__file__).resolve().parents[2]
PROMPT = "\x1b]0;ready\x07\x1b[1;32m$\x1b[0m "


def shown(*pieces: str) -> Screen:
    screen = Screen()
    for at, piece in enumerate(pieces):
        screen.show(piece, float(at))
    return screen


def test_readme_still_has_the_commands() -> None:
    typed = commands((PROJECT / "README.md").read_text())
    assert typed[0] == "make up"
    assert any("/checkout" in line for line in typed)


def test_a_readme_without_the_purchase_is_refused() -> None:
    with pytest.raises(SessionError, match="shop="):
        commands("```\nmake up\n```\n")


def test_a_spinner_leaves_its_last_line_alone() -> None:
    """As rich draws one: the line is erased each time, and at its end the cursor goes up again."""
    screen = shown(
        "\x1b[?25l⠋ start",
        "\r\x1b[2K⠙ start",
        "\r\x1b[2K✓ start\r\n⠹ next",
        "\r\n\r\x1b[1A\x1b[2K",
        "✓ next\r\n",
    )
    assert screen.lines == ["✓ start", "✓ next", ""]


def test_a_prompt_begins_a_line_of_its_own() -> None:
    assert len(shown("no newline", PROMPT).lines) == 2


def texts(picture: str) -> list[str]:
    root = ElementTree.fromstring(picture)
    return [(node.text or "").replace("\xa0", " ") for node in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_picture_has_typed_lines_whole_and_shown_ones_cut() -> None:
    screen = shown(f"{PROMPT}echo {'a' * 200}\r\n", "b" * 300 + "\r\n", PROMPT)
    picture = drawn(screen)
    assert "".join(texts(picture)).count("a") == 200
    assert "".join(texts(picture)).count("b") < 110
    assert "…" in "".join(texts(picture))


def test_the_picture_scrolls_and_fetches_nothing() -> None:
    picture = drawn(shown(*(f"line {number}\r\n" for number in range(ROWS + 9)), PROMPT))
    assert "@keyframes scroll" in picture
    assert f"translateY({-9 * 24.4:.1f}px)" in picture
    assert "url(http" not in picture
    assert picture.count("http") == 1, "the namespace"


def test_the_session_that_is_shown_was_paid_for() -> None:
    picture = (PROJECT / "docs" / "images" / "session.svg").read_text()
    said = "".join(texts(picture))
    assert "make up" in said
    assert "secretssecrets" not in said, "what a hook says shares no line with a spinner"
    assert '"status":"paid"' in said.replace(" ", "")
