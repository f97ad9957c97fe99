"""Messages name commands that their reader has: make in a checkout, localfaas everywhere else."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from localfaas import commands
from localfaas.cli import parser
from localfaas.commands import WITHOUT_A_TARGET, as_typed, installing_anew
from tests.support.literals import HOLE, literals

CHECKOUT = Path(__file__).resolve().parents[2]
RECIPES = dict(
    re.findall(r"^([a-z-]+):.*## .*\n((?:\t.*\n)*)", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
)
"""By target of the Makefile."""
TARGETS = re.compile(rf"\bmake ({'|'.join(RECIPES)})\b")
COMMAND = re.compile(r"`((?:[A-Z_]+=\S+ )*localfaas [^`]+)`")


def said() -> Iterator[str]:
    """What localfaas can say to whoever runs it, and what its pages show."""
    for path in sorted((CHECKOUT / "localfaas").rglob("*")):
        if path.suffix == ".py" and path != Path(commands.__file__):
            yield from literals(path.read_text())
        elif path.suffix in {".html", ".js", ".lua"} and "vendor" not in path.parts:
            yield path.read_text()


def named() -> list[str]:
    found = {command.replace(HOLE, "x") for text in said() for command in COMMAND.findall(text)}
    assert len(found) > 10
    return sorted(found)


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("`localfaas up`", "`make up`"),
        ("see `localfaas logs cart-1`, then `localfaas deploy cart`", "see `make logs f=cart-1`, then `make deploy f=cart`"),
        ("`localfaas scale cart 4`", "`make scale f=cart n=4`"),
        ("`localfaas restore --yes /a folder/b`", "`make restore from=/a folder/b`"),
        ("`PORT_OFFSET=1000 localfaas up`", "`PORT_OFFSET=1000 make up`"),
        ("`localfaas build`", "`.venv/bin/python -m localfaas build`"),
        ("localfaas runs functions; `echo localfaas up`", "localfaas runs functions; `echo localfaas up`"),
    ],
)  # fmt: skip
def test_commands_are_makes_in_a_checkout_and_localfaas_own_elsewhere(
    tmp_path: Path, written: str, typed: str
) -> None:
    assert as_typed(written, CHECKOUT) == typed
    (tmp_path / "Makefile").write_text("up:\n\techo something else\n")
    assert as_typed(written, tmp_path) == written


def test_checkout_without_a_makefile_has_localfaas_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "CHECKOUT", tmp_path)
    assert as_typed("`localfaas up`", tmp_path) == "`localfaas up`"
    assert "make" not in installing_anew(tmp_path)
    (tmp_path / "Makefile").touch()
    assert as_typed("`localfaas up`", tmp_path) == "`make up`"
    assert "make up" in installing_anew(tmp_path)


def test_no_message_names_make_by_itself() -> None:
    assert [text for text in said() if TARGETS.search(text)] == []


def test_message_that_names_make_is_found() -> None:
    said = literals('raise UpError(f"{name} is away; see `make status`")')
    assert any(TARGETS.search(text) for text in said)
    assert not TARGETS.search("make a function, and make room")


def test_every_command_that_is_named_can_be_run() -> None:
    for command in named():
        words = shlex.split(command.partition("localfaas ")[2])
        assert parser().parse_args(words).verb == words[0], command


def test_verbs_without_a_target_are_those_that_the_makefile_does_not_run() -> None:
    run = {verb for recipe in RECIPES.values() for verb in re.findall(r"\$\(LOCALFAAS\) ([a-z-]+)", recipe)}
    (verbs,) = (action.choices for action in parser()._actions if action.dest == "verb")
    assert set(verbs or ()) - run - {"serve", "dashboards"} == WITHOUT_A_TARGET


def test_every_command_that_is_named_has_its_target_with_these_variables() -> None:
    for command in named():
        verb = command.partition("localfaas ")[2].split()[0]
        if verb in WITHOUT_A_TARGET:
            continue
        recipe = RECIPES[verb]
        assert f"$(LOCALFAAS) {verb}" in recipe
        variables = re.findall(
            r" (\w+)=", as_typed(f"`localfaas {command.partition('localfaas ')[2]}`", CHECKOUT)
        )
        assert all(f"$({variable})" in recipe for variable in variables), command
