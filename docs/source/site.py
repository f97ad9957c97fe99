"""The pages as a site for a browser, below `.local/site`: readable without the Internet, refused with a broken link.

`lay_out` copies the pages into a folder of their own, with links between them as the generator wants them;
links to code become its path, because the site holds no code. `build` has Zensical make the site of that.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

BUILD_SECONDS = 120
OUTSIDE = ("functions", "kong", "db", "deploy", "monitoring/grafana", "benchmarks", "tests/load")
"""Folders beside docs/ and those of functions whose README is a page."""
WORKER = Path(__file__).with_name("iframe-worker.js")
_WORKER_ELSEWHERE = "https://unpkg.com/iframe-worker/shim"
PICTURES = (".png", ".svg")
_LINK = re.compile(
    r"(?P<code>`+)(?:.+?)(?P=code)|(?P<picture>!?)\[(?P<text>(?:[^\[\]`]|`[^`]*`)*)\]\((?P<target>[^()\s]+)\)"
)
_SCHEME = re.compile(r"[a-z]+:")
_FENCE = re.compile(r"\s*(```|~~~)")
_BLOCK = re.compile(r"(\||[-*] |\d+\. )")


class SiteError(RuntimeError):
    """The site cannot be built; the message is the generator's, broken links with their places."""


def pages(project: Path) -> list[Path]:
    """Every page, relative to the project."""
    found = [project / "README.md", project / "README.fr.md", *(project / "docs").rglob("*.md")]
    found += [
        *(project / "functions").glob("*/README.md"),
        *(project / folder / "README.md" for folder in OUTSIDE),
    ]
    return sorted(path.relative_to(project) for path in found if path.is_file())


def lay_out(project: Path, folder: Path) -> None:
    """Write pages, pictures and the generator's configuration into `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    known = set(pages(project))
    for page in known:
        target = folder / "pages" / staged(page)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = relinked((project / page).read_text(), page, known, project)
        target.write_text(spaced(text) + (_list_of(project, page, known) if page.name == "README.md" else ""))
    for picture in (project / "docs").rglob("*"):
        if picture.suffix in PICTURES:
            target = folder / "pages" / picture.relative_to(project)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, target)
    (folder / "zensical.toml").write_text(configuration(project, known))


def build(folder: Path, site: Path) -> None:
    """Make `site` of what was laid out in `folder`. Raises SiteError, also for a link that leads nowhere."""
    program = Path(sys.executable).with_name("zensical")
    result = subprocess.run(
        [str(program), "build", "--clean", "--strict", "--config-file", str(folder / "zensical.toml")],
        cwd=folder, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS,
    )  # fmt: skip
    if result.returncode != 0 or not (folder / "site" / "index.html").is_file():
        raise SiteError((result.stdout + result.stderr).strip())
    _bring_home(folder / "site")
    shutil.rmtree(site, ignore_errors=True)
    shutil.move(folder / "site", site)


def _bring_home(site: Path) -> None:
    """Have pages load the one script that the generator takes from elsewhere from the site itself."""
    script = site / "assets" / WORKER.name
    shutil.copyfile(WORKER, script)
    for page in site.rglob("*.html"):
        here = os.path.relpath(script, page.parent)
        page.write_text(page.read_text().replace(_WORKER_ELSEWHERE, here))


def staged(page: Path) -> Path:
    """Where a page goes: a README is its folder's first page, and docs/ is the site's root beside the others."""
    if page == Path("README.md"):
        return Path("readme.md")
    if page == Path("README.fr.md"):
        return Path("lisez-moi.md")
    if page == Path("docs/index.md"):
        return Path("index.md")
    return page.with_name("index.md") if page.name == "README.md" else page


def relinked(text: str, page: Path, known: set[Path], project: Path) -> str:
    """The text of a page with its links as `lay_out` wants them; what is in code stays as it is."""
    return "\n".join(
        line if fenced else _LINK.sub(lambda match: _link(match, page, known, project), line)
        for line, fenced in _lines(text)
    )


def _link(match: re.Match[str], page: Path, known: set[Path], project: Path) -> str:
    if match["target"] is None or _SCHEME.match(match["target"]) or match["target"].startswith("#"):
        return match.group()
    target, hash_, anchor = match["target"].partition("#")
    path = Path(os.path.normpath(page.parent / target))
    if path / "README.md" in known:
        path /= "README.md"
    if path in known:
        there = os.path.relpath(staged(path), staged(page).parent)
        return f"{match['picture']}[{match['text']}]({there}{hash_}{anchor})"
    if path.suffix in PICTURES:
        there = os.path.relpath(path, staged(page).parent)
        return f"{match['picture']}[{match['text']}]({there})"
    if not (project / path).exists():
        return match.group()
    named = match["text"].strip("`").rstrip("/") in (str(path), target.rstrip("/"))
    return f"`{path}`" if named else f"{match['text']} (`{path}`)"


def spaced(text: str) -> str:
    """An empty line before each list and table, which the generator needs and GitHub does not."""
    written: list[str] = []
    for line, fenced in _lines(text):
        before = written[-1] if written else ""
        begins = not fenced and _BLOCK.match(line) and before.strip() and not _BLOCK.match(before)
        if begins and not before.startswith(" ") and not _FENCE.match(before):
            written.append("")
        written.append(line)
    return "\n".join(written) + "\n"


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it is code."""
    inside = False
    for line in text.splitlines():
        fence = bool(_FENCE.match(line))
        yield line, inside or fence
        inside ^= fence


def _list_of(project: Path, page: Path, known: set[Path]) -> str:
    """Below the first page of the decisions, which GitHub shows beside their folder: all of them."""
    if page != Path("docs/decisions/README.md"):
        return ""
    others = sorted(one for one in known if one.parent == page.parent and one != page)
    lines = [f"- {one.name[:4]} [{_title(project / one)}]({one.name})" for one in others]
    return "\n" + "\n".join(lines) + "\n"


def _title(path: Path) -> str:
    return path.read_text().partition("\n")[0].removeprefix("# ").strip()


SECTIONS: Sequence[tuple[str, Sequence[str]]] = (
    ("Understand", ("report.md", "apercu.md", "architecture.md", "from-the-lab.md", "way-up.md")),
    ("Run", ("running.md", "settings.md", "ports.md", "troubleshooting.md", "kubernetes.md", "faasd.md")),
    ("Use", ("api.md", "edge.md", "openfaas.md")),
    ("Watch", ("metrics.md", "dashboards.md", "tracing.md", "autoscaling.md")),
    ("Measure", ("experiments.md", "benchmarks.md")),
    ("Change", ("CONTRIBUTING.md", "CHANGELOG.md")),
)
"""The order of the navigation; pages of docs/ that are not named come last, in More."""


def configuration(project: Path, known: set[Path]) -> str:
    """The text of zensical.toml."""
    named = {f"docs/{name}" for _, names in SECTIONS for name in names} | {"docs/index.md"}
    rest = sorted(str(one) for one in known if one.parent == Path("docs") and str(one) not in named)
    places = {
        title: [Path("docs") / name for name in names if Path("docs") / name in known]
        for title, names in SECTIONS
    }
    places["Understand"][:0] = [Path("README.md")]
    places["Run"] += [Path("deploy/README.md")]
    places["Use"] += [Path("kong/README.md"), Path("db/README.md")]
    places["Measure"] += sorted(one for one in known if one.parent == Path("docs/experiments"))
    places["Measure"] += [Path("benchmarks/README.md"), Path("tests/load/README.md")]
    places["Tutorials"] = _folder(known, "docs/tutorials")
    places["Functions"] = sorted(one for one in known if one.parts[0] == "functions")
    places["Runbooks"] = _folder(known, "docs/runbooks")
    places["Decisions"] = _folder(known, "docs/decisions")
    places["More"] = [Path(one) for one in rest] + [
        Path("README.fr.md"),
        Path("monitoring/grafana/README.md"),
    ]
    navigation = ['  { "Documentation" = "index.md" },']
    for title, found in places.items():
        entries = ", ".join(_quoted(str(staged(one))) for one in found if one in known)
        navigation += [f"  {{ {_quoted(title)} = [{entries}] }},"] if entries else []
    return _CONFIGURATION.replace("NAVIGATION", "\n".join(navigation))


def _folder(known: set[Path], folder: str) -> list[Path]:
    found = sorted(one for one in known if one.parent == Path(folder))
    return sorted(found, key=lambda one: one.name != "README.md")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_CONFIGURATION = """# Made by docs/source/site.py.
[project]
site_name = "Magasin"
site_description = "A chain of stores and its web shop as OpenFaaS functions behind Kong"
docs_dir = "pages"
site_dir = "site"
nav = [
NAVIGATION
]

[project.theme]
font = false
features = ["content.code.copy", "navigation.top", "toc.follow"]

[[project.theme.palette]]
media = "(prefers-color-scheme: light)"
scheme = "default"

[[project.theme.palette]]
media = "(prefers-color-scheme: dark)"
scheme = "slate"

[project.plugins.offline]

[project.plugins.search]

[project.markdown_extensions.tables]

[project.markdown_extensions.toc]
permalink = true

[project.markdown_extensions.pymdownx.superfences]

[project.markdown_extensions.pymdownx.highlight]
use_pygments = true
"""
