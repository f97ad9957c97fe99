"""Every message that the page on troubleshooting quotes can be said by the code."""

import pytest

from tests.support.messages import PAGE, is_said, quoted, sayable

MESSAGES = list(dict.fromkeys(quoted(PAGE.read_text())))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return sayable()


def test_each_quoted_message_is_said_by_the_code(texts):
    assert [message for message in MESSAGES if not is_said(message, texts)] == []


def test_the_page_is_about_many_messages():
    assert len(MESSAGES) > 100


@pytest.mark.parametrize(
    "message",
    [
        "port … is occupied",
        "The platform is not running. Start it with … down",
        "error finding function …: server returned status 404",
        "unauthorised",
    ],
)
def test_a_message_that_nobody_says_is_found(texts, message):
    assert not is_said(message, texts)


def test_messages_are_those_of_first_columns():
    page = "\n".join(
        [
            "| you see | because |",
            "|---|---|",
            "| `one …`, `two` | `three` |",
            "",
            "| port |",
            "|---|",
            "| `four` |",
        ]
    )
    assert list(quoted(page)) == ["one …", "two"]
