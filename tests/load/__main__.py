"""Load the shop with k6 (`make load`), or compare the hops (`make load-compare`): tokens are made, k6 does the rest."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.report import BenchmarkError
from db.seed.keys import KeyFileError
from localfaas.settings import Settings, SettingsError
from tests.load import scenario
from tests.load.people import NotHereError, told
from tests.load.running import folder_for_summaries, run_k6

PROJECT = Path(__file__).resolve().parents[2]


def build_parser(known: scenario.Scenario) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.load",
        description="Load the shop on this machine with k6.",
        epilog="Exit status: 0 all was well, 99 an answer was wrong or something due was left out, 1 and others: not run.",
    )
    parser.add_argument(
        "--journey", choices=known.journeys, default="shop", help="what visitors do (default: %(default)s)"
    )
    parser.add_argument(
        "--shape", choices=known.shapes, default="smoke", help="how fast they come (default: %(default)s)"
    )
    parser.add_argument(
        "--compare", action="store_true", help="instead: one load direct, through the gateway and the edge"
    )
    parser.add_argument("--base", metavar="URL", help="the edge (default: that of STATE_DIR and PORT_OFFSET)")
    parser.add_argument(
        "--summary", type=Path, metavar="FILE", help="where the JSON goes (default: in STATE_DIR/load)"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    known = scenario.load()
    options = build_parser(known).parse_args(arguments)
    name = "compare" if options.compare else f"{options.journey}-{options.shape}"
    try:
        state = Settings.load(os.environ, PROJECT).state
        summary = folder_for_summaries(options.summary, name, state)
        about = {"JOURNEY": options.journey, "SHAPE": options.shape, "SUMMARY": str(summary)}
        if not options.compare:
            print(
                f"{options.journey}, {options.shape}: {known.visits(options.shape):,.0f} visits of "
                f"{known.requests_per_visit(options.journey):.1f} requests in {known.seconds(options.shape)} s",
                flush=True,
            )
        return run_k6(
            "load_test.js" if options.compare else "k6-test.js", told(os.environ, options.base) | about
        )
    except (BenchmarkError, KeyFileError, NotHereError, SettingsError) as exc:
        print(f"load: {exc}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
