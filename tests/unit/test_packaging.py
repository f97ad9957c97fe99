"""localfaas as a package of its own: what it needs is declared, and what it needs of files is in it."""

import ast
import os
import re
import shutil
import site
import subprocess
import sys
import tomllib
import venv
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[2]
DEPENDENCIES = PROJECT / "docs/dependencies.md"
DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]


def test_every_module_that_is_imported_comes_with_what_is_declared() -> None:
    known = with_their_own({Requirement(line).name for line in DECLARED})
    owners = metadata.packages_distributions()
    missing = {
        module
        for module in imported()
        if module not in sys.stdlib_module_names | {"localfaas"}
        if not {canonical(name) for name in owners.get(module, ())} & known
    }
    assert missing == set()


def test_what_is_declared_is_pinned() -> None:
    locked = re.findall(r"^([\w.-]+)==", (PROJECT / "requirements.lock").read_text(), re.MULTILINE)
    assert {canonical(Requirement(line).name) for line in DECLARED} <= {canonical(name) for name in locked}


def test_each_package_has_its_row_and_each_row_its_package() -> None:
    asked: dict[str, list[str]] = {}
    for line in (PROJECT / "requirements.in").read_text().splitlines()[2:]:
        if line.startswith("# ") and not line.endswith("."):
            heading = line.removeprefix("# ")
        elif line and not line.startswith("#"):
            asked.setdefault(heading, []).append(line.partition("==")[0])
    told = {
        title.lower(): re.findall(r"`([^`]+)`", "\n".join(re.findall(r"^\| (`.*?) \|", rows, re.MULTILINE)))
        for title, rows in re.findall(r"^## (.+)\n\n((?:\|.*\n)+)", DEPENDENCIES.read_text(), re.MULTILINE)
    }
    assert told == {heading.lower(): names for heading, names in asked.items()}


def test_it_is_installed_as_a_command_with_its_templates(tmp_path: Path) -> None:
    source = tmp_path / "source"
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in ("localfaas", "template"):
        shutil.copytree(PROJECT / name, source / name, symlinks=True, ignore=unwanted)
    (source / "docs").mkdir()
    for name in ("pyproject.toml", "docs/localfaas.md"):
        shutil.copy(PROJECT / name, source / name)
    venv.create(tmp_path / "venv")
    programs = tmp_path / "venv" / "bin"
    packages = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (packages / "shared.pth").write_text("\n".join(site.getsitepackages()))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "--quiet"]
    run(tmp_path, programs / "python", "-m", "pip", "install", *options, str(source))

    assert "Run OpenFaaS functions" in run(tmp_path, programs / "localfaas", "--help")
    (tmp_path / "one").mkdir()
    languages = ("python3-http", "python3-flask", "python3-flask-granian")
    functions = [f"  f{n}: {{lang: {name}, handler: one, image: f{n}}}\n" for n, name in enumerate(languages)]
    (tmp_path / "stack.yml").write_text("provider: {name: openfaas}\nfunctions:\n" + "".join(functions))
    assert run(tmp_path, programs / "localfaas", "build").count(f" is {tmp_path}/.local/build/") == 3
    built = {path.name for path in (tmp_path / ".local" / "build").glob("f0/*/*")}
    assert built == {"drain.py", "function", "index.py", "requirements.txt", "template.yml"}
    assert {path.name for path in packages.iterdir()} - {"shared.pth"} == {
        "localfaas",
        f"localfaas-{metadata_version()}.dist-info",
    }
    assert list((packages / "localfaas" / "edge").rglob("*.lua"))


def run(folder: Path, *command: str | Path) -> str:
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "STATE_DIR")}
    result = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def metadata_version() -> str:
    from localfaas import __version__

    return __version__


def imported() -> set[str]:
    found = set()
    for path in (PROJECT / "localfaas").rglob("*.py"):
        if "templates" in path.relative_to(PROJECT).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                found.add(node.module.partition(".")[0])
    return found


def with_their_own(names: set[str]) -> set[str]:
    """The distributions and, once removed, what they require themselves: Flask brings Werkzeug."""
    found = {canonical(name) for name in names}
    for name in names:
        requirements = [Requirement(line) for line in metadata.requires(name) or ()]
        found |= {canonical(one.name) for one in requirements if one.marker is None or one.marker.evaluate()}
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
