"""`python -m docs.source <verb>`: `reference` writes settings.md, ports.md and api.md; `diagrams` draws; `site` builds;
`session` records."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from docs.source import api, diagrams, ports, session, settings, site

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"
SITE = PROJECT / ".local" / "site"


def reference() -> Mapping[str, str]:
    """The generated pages: name below docs/, and text."""
    return {
        "settings.md": settings.text(PROJECT),
        "ports.md": ports.text(PROJECT),
        "api.md": api.text(api.document()),
    }


def write_reference() -> None:
    """Write every page that is not as it should be."""
    for name, text in reference().items():
        path = DOCS / name
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote docs/{name}")


def draw_diagrams() -> None:
    """Draw what changed."""
    for picture in diagrams.draw(DOCS / "diagrams"):
        print(f"drew {picture.relative_to(PROJECT)}")


def build_site() -> None:
    """Build the site, and say where it is."""
    with tempfile.TemporaryDirectory() as folder:
        site.lay_out(PROJECT, Path(folder) / "site")
        site.build(Path(folder) / "site", SITE)
    print(f"file://{SITE / 'index.html'}")


def record_session() -> None:
    """Record the first commands of README.md as they run, on the usual ports."""
    print(f"recorded {session.record(PROJECT).relative_to(PROJECT)}")


VERBS = {
    "reference": write_reference,
    "diagrams": draw_diagrams,
    "site": build_site,
    "session": record_session,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m docs.source", description=__doc__)
    parser.add_argument("verb", choices=VERBS)
    try:
        VERBS[parser.parse_args().verb]()
    except (diagrams.NoDrawerError, session.SessionError, site.SiteError) as error:
        print(f"docs: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"docs: {error.stderr.strip()}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
