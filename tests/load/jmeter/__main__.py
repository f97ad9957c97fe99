"""JMeter with the scenario: `python -m tests.load.jmeter` writes shop.jmx anew, `… run` has Maven run it.

Running prepares the shop and gets tokens as k6's tests do (feed.js), and ends with JMeter's HTML report.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.report import BenchmarkError
from db.seed.keys import KeyFileError
from localfaas.settings import Settings, SettingsError
from tests.load import scenario
from tests.load.jmeter.plan import COLUMNS, render, schedules
from tests.load.people import NotHereError, told
from tests.load.running import run_k6

FOLDER = Path(__file__).parent
PROJECT = FOLDER.parents[2]
PLAN = FOLDER / "shop.jmx"
NO_MAVEN = "Maven is not installed: sudo apt-get install maven (with a JDK of 17 or newer); k6 needs neither: make load"
EDGE_PORT = 8000


def build_parser(known: scenario.Scenario) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.load.jmeter",
        description="Write the JMeter plan that scenario.json makes, or run it through Maven.",
        epilog="Exit status of a run: 0 all was well, 1 an answer was wrong, or it could not run.",
    )
    parser.add_argument("what", nargs="?", choices=("write", "run"), default="write")
    parser.add_argument("--journey", choices=known.journeys, default="shop", help="(default: %(default)s)")
    parser.add_argument("--shape", choices=known.shapes, default="smoke", help="(default: %(default)s)")
    parser.add_argument("--base", metavar="URL", help="the edge (default: that of STATE_DIR and PORT_OFFSET)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    known = scenario.load()
    options = build_parser(known).parse_args(arguments)
    if options.what == "write":
        PLAN.write_text(render(known))
        print(f"{PLAN} is written.")
        return 0
    try:
        return run(known, options)
    except (BenchmarkError, KeyFileError, NotHereError, SettingsError) as exc:
        print(f"jmeter: {exc}", file=sys.stderr)
        return 1


def run(known: scenario.Scenario, options: argparse.Namespace) -> int:
    """Prepare the shop, and have Maven run the plan. Raises BenchmarkError when that is not possible."""
    maven = shutil.which("mvn")
    if maven is None:
        raise BenchmarkError(NO_MAVEN)
    target = Settings.load(os.environ, PROJECT).state.resolve() / "jmeter"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    environment = told(os.environ, options.base)
    feed(target, environment | {"JOURNEY": options.journey, "SHAPE": options.shape})
    address = urlsplit(environment["BASE"])
    properties = schedules(known, options.journey, options.shape) | {
        "load.port": str(address.port or EDGE_PORT),
        "load.feed": str(target / "feed.csv"),
    }
    (target / "load.properties").write_text(
        "".join(f"{name}={value}\n" for name, value in properties.items())
    )
    command = [maven, "-B", "-ntp", "-f", str(FOLDER / "pom.xml"), f"-Dload.directory={target}", "verify"]
    with (target / "maven.log").open("w") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    return told_of(target, code)


def feed(target: Path, environment: dict[str, str]) -> None:
    """Prepare the shop, and write what visits begin with to feed.csv. Raises BenchmarkError when the shop refuses."""
    found = target / "feed.json"
    code = run_k6("jmeter/feed.js", environment | {"FEED": str(found)})
    if code or not found.exists():
        raise BenchmarkError("the shop could not be prepared; k6 says why above")
    given: dict[str, Any] = json.loads(found.read_text())
    found.unlink()
    with (target / "feed.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="-", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows(given))


def rows(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Each product in turn, with each customer in turn."""
    products, customers = given["rows"], given["customers"] or ["-"]
    return [
        {
            **products[(given["start"] + place) % len(products)],
            **given["till"],
            "customer_token": customers[place % len(customers)],
            "staff_token": given["staff"] or "-",
        }
        for place in range(max(len(products), len(customers)))
    ]


def told_of(target: Path, code: int) -> int:
    """Print the report's figures and where it is; the exit code."""
    statistics = next(iter(target.glob("jmeter/reports/*/statistics.json")), None)
    if statistics is None:
        raise BenchmarkError(f"JMeter made no report; {target / 'maven.log'} says why")
    print(f"  {'ms':32}{'count':>8}{'wrong':>8}{'p50':>8}{'p90':>8}{'p99':>8}")
    figures = json.loads(statistics.read_text())
    for name, one in sorted(figures.items(), key=lambda item: (item[0] == "Total", item[0])):
        print(
            f"  {name:32}{one['sampleCount']:>8}{one['errorCount']:>8}"
            f"{one['medianResTime']:>8.0f}{one['pct1ResTime']:>8.0f}{one['pct3ResTime']:>8.0f}"
        )
    print(f"Report: {statistics.with_name('index.html')}")
    if code:
        print(f"Not as it should be; {target / 'maven.log'} says more.", file=sys.stderr)
    return min(code, 1)


if __name__ == "__main__":
    sys.exit(main())
