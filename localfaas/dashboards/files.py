"""What the page shows of the project's files, read at each request: a changed file shows at once."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

DASHBOARDS = Path("monitoring") / "grafana" / "dashboards"
RUNBOOKS = Path("docs") / "runbooks"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")


@dataclass(frozen=True)
class Summary:
    """A dashboard in the list of all."""

    uid: str
    title: str
    description: str


def summaries(project: Path) -> list[Summary]:
    """Every dashboard of the project, Overview first; a file that cannot be read is left out of the list."""
    found = []
    for path in sorted((project / DASHBOARDS).glob("*.json")):
        board = _read(path)
        if board:
            found.append(Summary(board["uid"], board.get("title", path.stem), board.get("description", "")))
    return sorted(found, key=lambda one: (not one.uid.endswith("overview"), one.title))


def dashboard(project: Path, uid: str) -> dict[str, Any] | None:
    """The dashboard with that uid, with the Markdown of its text panels rendered as `html`; None when there is none."""
    for path in sorted((project / DASHBOARDS).glob("*.json")):
        board = _read(path)
        if board and board["uid"] == uid:
            for panel in board.get("panels", []):
                for one in (panel, *panel.get("panels", ())):
                    if one.get("type") == "text":
                        one["html"] = rendered(one.get("options", {}).get("content", ""))
            return board
    return None


def runbook_names(project: Path) -> list[str]:
    """The alerts that have a page."""
    return sorted(path.stem for path in (project / RUNBOOKS).glob("*.md") if path.stem != "README")


def runbook(project: Path, name: str) -> str | None:
    """The page of an alert as HTML; None when there is none."""
    path = project / RUNBOOKS / f"{name}.md"
    if not _NAME.fullmatch(name) or not path.is_file():
        return None
    # Pages link to each other as files; here they are reached without the ending.
    return re.sub(r'href="([A-Za-z0-9_-]+)\.md"', r'href="/runbooks/\1"', rendered(path.read_text()))


def rendered(markdown: str) -> str:
    """Markdown as HTML; HTML within it is shown as text."""
    return str(_markdown.render(markdown))


def _read(path: Path) -> dict[str, Any] | None:
    """A dashboard's JSON; None for what is none (half-written, or something else)."""
    try:
        board = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return board if isinstance(board, dict) and isinstance(board.get("uid"), str) else None
