"""A guided tour of a running shop in the terminal: `python -m tests.load.demo`, `make demo`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from rich.console import Console

from db.seed.keys import KeyFileError
from localfaas.settings import Settings, SettingsError
from localfaas.supervisor import SupervisorError
from tests.load.demo.drawing import explanations, table_of, verdict
from tests.load.demo.outcome import SUM, Outcome
from tests.load.demo.scenes import SCENES
from tests.load.demo.screens import PLAIN_COLUMNS, Lines, Terminal, draw
from tests.load.demo.shop import Shop
from tests.load.demo.stage import Screen
from tests.load.demo.tour import EXPECTED, signals, tour
from tests.load.demo.visits import PACE
from tests.load.running import folder_for_summaries

PROJECT = Path(__file__).resolve().parents[3]
SCENE_SECONDS = 12.0
FAST_SECONDS = 0.5
LONGEST_SECONDS = 600.0
NOT_AS_TOLD, NOT_RUN, STOPPED = 1, 2, 130


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.load.demo",
        description="A guided tour of the shop that runs here, under a light load. It ends with everything as it was found.",
        epilog="Exit status: 0 all was as told, 1 something was not, 2 not run, 130 stopped by Ctrl-C. "
        f"Scenes: {'; '.join(f'{scene.name}, {scene.title}' for scene in SCENES)}.",
    )
    parser.add_argument(
        "--scene", action="append", choices=[scene.name for scene in SCENES], help="only this one; may be repeated"
    )  # fmt: skip
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--seconds", type=_seconds, default=SCENE_SECONDS, help="how long a scene lasts at least (%(default)g)"
    )  # fmt: skip
    length.add_argument("--fast", action="store_true", help="each scene as short as it can be")
    parser.add_argument(
        "--summary", type=Path, metavar="FILE", help="where the JSON goes (default: in STATE_DIR/load)"
    )
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="write how the last scene looks at its end, as SVG"
    )
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from exc
    if not 0 < value <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"must be above 0, and {LONGEST_SECONDS:g} at most")
    return value


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    try:
        shop = Shop(Settings.load(os.environ, PROJECT))
        shop.running()
    except SettingsError as exc:
        return _not_run(str(exc))
    except SupervisorError:
        return _not_run("nothing is up here. Start it with `make up`, then `make demo` again.")
    try:
        with signals(signal.default_int_handler):
            return _run(shop, options)
    except KeyboardInterrupt:  # while nothing has been changed yet, or all has been put back
        print("Stopped.", file=sys.stderr)
        return STOPPED
    except (*EXPECTED, KeyFileError) as exc:
        return _not_run(f"{exc}. `make doctor` says what is wrong.")


def _not_run(why: str) -> int:
    print(f"demo: {why}", file=sys.stderr)
    return NOT_RUN


def _run(shop: Shop, options: argparse.Namespace) -> int:
    console = Console(highlight=False)
    live = console.is_terminal and not console.is_dumb_terminal
    if not live:
        console = Console(highlight=False, no_color=True, width=PLAIN_COLUMNS)
    console.print(_greeting(shop), soft_wrap=True)
    scenes = [scene for scene in SCENES if not options.scene or scene.name in options.scene]
    screen: Screen = Terminal(console) if live else Lines(console)
    outcome = tour(shop, scenes, screen, FAST_SECONDS if options.fast else options.seconds)
    _tell(console, outcome)
    summary = folder_for_summaries(options.summary, "demo", shop.settings.state)
    summary.write_text(json.dumps(outcome.as_json(), indent=1, ensure_ascii=False) + "\n")
    if options.picture and outcome.picture:
        draw(options.picture, outcome.picture)
    if outcome.stopped:
        return STOPPED
    return 0 if outcome.as_told else NOT_AS_TOLD


def _greeting(shop: Shop) -> str:
    limits = (
        "which its limits on rates (kong.yml) allow"
        if shop.limits_rates
        else "and its limits on rates are off (RATE_LIMITS=off)"
    )
    return f"A tour of the shop at http://localhost:{shop.edge}/: it is asked {PACE} times a second at most, {limits}. Ctrl-C ends it."


def _tell(console: Console, outcome: Outcome) -> None:
    """The sum: requests by scene, what failed and what that means, and what must be so of all."""
    console.print()
    console.print(table_of(outcome.sums))
    for scene, its in outcome.sums.items():
        for text in explanations(its):
            console.print(f"  {scene}: {text}", markup=False, soft_wrap=True)
    for claim in outcome.claims[SUM]:
        console.print(verdict(claim), soft_wrap=True)
    untrue = sum(not claim.holds for its in outcome.claims.values() for claim in its)
    if outcome.stopped:
        console.print("Stopped before its end.")
    elif untrue:
        console.print(f"{untrue} of it was not as told: see the lines with ✗.")
    else:
        console.print("All was as told.")


if __name__ == "__main__":
    sys.exit(main())
