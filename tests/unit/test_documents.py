"""Documents that are run: what is read as what, what is done, and every fault that a document may have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import documents
from tests.support.documents import Block, Command, DocumentFault, Shell, parse

NAME = "page.md"


def fenced(kind: str, *lines: str) -> str:
    return "\n".join([f"```{kind}", *lines, "```", ""])


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    for name in ("project", "scratch"):
        (tmp_path / name).mkdir()
    return Shell(tmp_path / "project", {"PATH": "/usr/bin:/bin"}, tmp_path / "scratch")


def run(shell: Shell, *parts: str, **options: Any) -> None:
    """Run a page that consists of these parts."""
    documents.run(NAME, parse(NAME, "\n".join(parts)), shell, **options)


def fault(shell: Shell, *parts: str, **options: object) -> str:
    with pytest.raises(DocumentFault) as found:
        run(shell, *parts, **options)
    return str(found.value)


def unreadable(text: str) -> str:
    with pytest.raises(DocumentFault) as found:
        parse(NAME, text)
    return str(found.value)


# Reading


def test_blocks_are_read_with_their_kinds_and_lines() -> None:
    page = "\n".join([
        "# Title",
        "",
        fenced("sh", "echo a"),
        fenced("text", "a"),
        fenced('python title="functions/a.py"', "a = 1"),
        fenced("diff", "--- a/x"),
        "1. In a list:",
        "",
        "   ```sh",
        "   echo b",
        "   ```",
    ])  # fmt: skip
    assert parse(NAME, page) == [
        Block("commands", 4, "echo a\n"),
        Block("shown", 8, "a\n"),
        Block("file", 12, "a = 1\n", path="functions/a.py"),
        Block("patch", 16, "--- a/x\n"),
        Block("commands", 22, "echo b\n"),
    ]


def test_blocks_of_a_readme_are_told_apart_by_their_first_lines() -> None:
    parts = ["ls -l", "shown is anything", "a ──▶ b", "x=1; echo $x", "for one in 1; do echo $one; done"]
    blocks = parse(NAME, "\n".join(fenced("", part) for part in parts), may_be_bare=True)
    assert [block.kind for block in blocks] == ["commands", "shown", "drawing", "commands", "commands"]


def test_a_block_that_is_not_run_says_why_and_what_it_shows_is_left_out_too() -> None:
    page = (
        "<!-- not run: needs Docker -->\n"
        + fenced("sh", "exit 1")
        + fenced("text", "never")
        + fenced("sh", "ls")
    )
    blocks = parse(NAME, page)
    assert [block.not_run for block in blocks] == ["needs Docker", "needs Docker", ""]
    assert documents.left_out(blocks) == [Block("commands", 3, "exit 1\n", not_run="needs Docker")]


def test_commands_are_told_apart_however_many_lines_they_take() -> None:
    lines = [
        "# a comment",
        "a=1; b='x",
        "y'",
        "",
        "echo 1 \\",
        "  2",
        "cat <<END",
        "text",
        "END",
        "for one in 1 2; do",
        "  echo $one   # each",
        "done",
        "echo 3 |",
        "  cat",
    ]
    text = "\n".join(lines) + "\n"
    assert list(documents.commands(Block("commands", 10, text))) == [
        Command(11, "a=1; b='x\ny'"),
        Command(14, "echo 1 \\\n  2"),
        Command(16, "cat <<END\ntext\nEND"),
        Command(19, "for one in 1 2; do\n  echo $one   # each\ndone"),
        Command(22, "echo 3 |\n  cat"),
    ]


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (fenced("console", "$ ls"), "page.md:1: a block of code\nexpected: one of sh, text, diff, or with a title\ncame: console"),
        (fenced("", "ls"), "came: one that names no kind"),
        ("a\n\n    indented\n", "page.md:3: a block of code"),
        (fenced("text", "a"), "page.md:1: what is shown\nexpected: commands before it"),
        (fenced("sh", "ls") + fenced("text", "a") + fenced("text", "b"), "page.md:7: what is shown"),
        ("<!-- not run -->\n" + fenced("sh", "ls"), "page.md:1: <!-- not run -->\nexpected: a reason"),
        ("<!-- not run: -->\n" + fenced("sh", "ls"), "expected: a reason"),
        ("<!-- not run: slow -->\n\nA sentence.\n\n" + fenced("sh", "ls"), "expected: a block on the next line"),
        ("<!-- not run: slow -->\n", "expected: a block on the next line"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_fault(page: str, said: str) -> None:
    assert said in unreadable(page)


# Running


def test_variables_functions_and_the_folder_stay_for_the_next_block(shell: Shell) -> None:
    run(
        shell,
        fenced("sh", "mkdir sub; cd sub", "word='two  words", "and a line'", "export PATH=/nowhere:$PATH", "twice() { echo $1$1; }"),
        fenced("sh", 'echo "$word"; twice a', 'echo "${PATH%%:*}"', "basename $PWD"),
        fenced("text", "two words", "and a line", "aa", "/nowhere", "sub"),
        fenced("sh", "bash -c 'echo [$word]'"),
        fenced("text", "[]"),
    )  # fmt: skip


def test_files_are_written_and_patched(shell: Shell) -> None:
    patch = ["--- a/sub/one.txt", "+++ b/sub/one.txt", "@@ -1,2 +1,2 @@", " one", "-two", "+three"]
    run(shell, fenced('text title="sub/one.txt"', "one", "two"), fenced("diff", *patch))
    assert (shell.folder / "sub" / "one.txt").read_text() == "one\nthree\n"


def test_ports_of_this_machine_are_the_platforms_own(shell: Shell) -> None:
    page = [
        fenced("sh", "echo http://localhost:8000/ 127.0.0.1:8443 localhost:3000 other:8000"),
        fenced("text", "http://localhost:8000/ 127.0.0.1:8443 localhost:3000 other:8000"),
        fenced('yaml title="x.yml"', "url: http://localhost:8080"),
    ]
    run(shell, *page, offset=1000)
    assert (shell.folder / "x.yml").read_text() == "url: http://localhost:9080\n"
    ran = shell.run(documents.shifted("echo localhost:8000", 1000), is_shown=False)
    assert ran.output == "localhost:9000\n"


@pytest.mark.parametrize(
    ("expected", "output", "number"),
    [
        ("b\nd", "a\nb\nc\nd", None),
        ("d\nb", "a\nb\nc\nd", 1),
        ("a\n…\nc", "a\nb\nc", None),
        ("pid … of x", "pid 17 of x", None),
        ("pid … of x", "pid 17 of y", 0),
        ("3 passed in 0.21s", "3 passed in 12s", None),
        ("up 0.4 s", "up   1.25 s", None),
        ("up 0.4 s", "up 3 ms", 0),
        ("200 products", "201 products", 0),
        ("a.c", "abc", 0),
    ],
)
def test_lines_are_looked_for_in_their_order(expected: str, output: str, number: int | None) -> None:
    assert documents.missing(expected, output) == number


def test_commands_may_be_left_out_and_read_as_something_else(shell: Shell) -> None:
    page = fenced("sh", "echo one > one", "sleep 1000", "echo ID > two", "echo three > three")
    run(
        shell, page, is_run=lambda command: not command.text.startswith("sleep"), read_as={"ID": "$((1 + 1))"}
    )
    assert [(shell.folder / name).read_text() for name in ("one", "two", "three")] == [
        "one\n", "2\n", "three\n",
    ]  # fmt: skip


def test_a_request_that_is_refused_has_failed_where_nothing_is_shown(shell: Shell) -> None:
    asked = 'cat "$CURL_HOME/.curlrc"'
    assert "fail" in shell.run(asked, is_shown=False).output.splitlines()
    assert "fail" not in shell.run(asked, is_shown=True).output.splitlines()


def test_a_wrong_line_of_output_is_named_with_what_came(shell: Shell) -> None:
    said = fault(shell, "# A\n", fenced("sh", "echo one", "echo two"), fenced("text", "one", "three"))
    assert said == "page.md:10: echo one\necho two\nexpected: the line three\nafter: one\ncame: \none\ntwo\n"


def test_a_command_that_fails_is_named_with_its_line(shell: Shell) -> None:
    said = fault(shell, fenced("sh", "echo begun", "", "ls \\", "  /nosuch", "echo never"))
    assert said.startswith("page.md:")
    assert ": ls \\\n  /nosuch\nexpected: exit code 0\ncame: exit code 2\nbegun\n" in said
    assert "never" not in said


def test_a_command_that_does_not_end_is_ended(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "BLOCK_SECONDS", 0.3)
    assert "came: no end within 0.3 s" in fault(shell, fenced("sh", "sleep 100"))


def test_a_patch_that_does_not_fit_is_a_fault(shell: Shell) -> None:
    (shell.folder / "x").write_text("other\n")
    said = fault(shell, fenced("diff", "--- a/x", "+++ b/x", "@@ -1 +1 @@", "-one", "+two"))
    assert "expected: a patch that fits" in said
    assert [path.name for path in shell.folder.iterdir()] == ["x"]


def test_a_file_outside_of_the_project_is_a_fault(shell: Shell) -> None:
    assert "expected: a path inside the project" in fault(shell, fenced('sh title="../x"', "ls"))
