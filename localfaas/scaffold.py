"""`localfaas new`: a function from a template's sample, with its entries in stack.yml and kong.yml.

Both files are changed as text, so that their comments and order stay. When any step fails, all are undone.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from localfaas.deployment import is_dns_label
from localfaas.placed_yaml import Keys, PlacedYamlError, Value, read_yaml
from localfaas.stack import Stack, StackError, Template, load_stack, load_template, stack_file

KONG_FILE = Path("kong/kong.yml")
FUNCTIONS = Path("functions")
_PLAIN = re.compile(r"[A-Za-z0-9$][\w${}./:@-]*", re.ASCII)

_STACK_ENTRY = """
{name}:
  lang: {language}
  handler: ./functions/{name}
  image: {image}
"""
_KONG_ENTRY = """
- name: {name}
  url: http://gateway.openfaas:8080/function/{name}
  connect_timeout: 1000
  write_timeout: 20000
  read_timeout: 20000
  routes:
    - name: {name}
      paths: ["~/api/{name}($|/)"]
"""


class ScaffoldError(ValueError):
    """The function cannot be made; the message says why, and nothing was changed."""


def new_function(
    project: Path, name: str, language: str, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Make `functions/<name>/` and its entries; return lines that say what was written and what to do next.

    Without a kong/kong.yml the function has no public route. Raises ScaffoldError, having changed nothing.
    """
    stack_path, kong_path = stack_file(project), project / KONG_FILE
    try:
        stack = load_stack(stack_path, environ)
        template = load_template(project, language)
        _check_name(name, project, stack)
        changes = {stack_path: _with_function(stack_path.read_text(), name, language)}
        if kong_path.exists():
            changes[kong_path] = _with_route(kong_path.read_text(), name)
        with _undone_on_failure(project / FUNCTIONS / name, list(changes)):
            _write(project, name, template, changes)
            _check_result(stack, name, load_stack(stack_path, environ))
    except (StackError, PlacedYamlError, OSError, shutil.Error) as exc:
        raise ScaffoldError(str(exc)) from exc
    return _report(name, template, has_route=kong_path in changes)


def _check_name(name: str, project: Path, stack: Stack) -> None:
    if not is_dns_label(name):
        raise ScaffoldError(
            f"{name!r} is not a function name: lower-case letters, digits and inner hyphens, at most 63 characters"
        )
    if name in stack.functions:
        raise ScaffoldError(f"{stack.path.name} already has a function {name}")
    folder = project / FUNCTIONS / name
    if os.path.lexists(folder):
        raise ScaffoldError(f"{folder.relative_to(project)} already exists")


def _with_function(text: str, name: str, language: str) -> str:
    """The stack file with one more function, at the end of its functions."""
    functions = read_yaml(text, "stack.yml").mapping()["functions"]
    entry = _STACK_ENTRY.format(name=name, language=language, image=_image(functions.mapping(), name))
    return _appended(text, "functions", functions, entry)


def _image(functions: Keys, name: str) -> str:
    """An image name in the manner of the first function's, as written in the file, variables and all."""
    for other, function in functions.items():
        image = function.mapping()["image"].text()
        registry, slash, last = image.rpartition("/")
        if slash and re.fullmatch(re.escape(other) + r"([:@].*)?", last) and _PLAIN.fullmatch(image):
            return f"{registry}/{name}{last.removeprefix(other)}"
    return f"{name}:latest"


def _with_route(text: str, name: str) -> str:
    """kong.yml with one more service, at the end of its services, and a route to it."""
    keys = read_yaml(text, str(KONG_FILE)).mapping()
    for kind, taken in _taken(keys):
        if taken == name:
            raise ScaffoldError(f"{KONG_FILE} already has a {kind} {name}")
    return _appended(text, "services", keys["services"], _KONG_ENTRY.format(name=name))


def _taken(keys: Keys) -> Iterator[tuple[str, str]]:
    """Every service's and route's name, and the first word behind /api/ of every route's paths."""
    routes = keys["routes"].items()
    for service in keys["services"].items():
        yield "service", service.mapping()["name"].text()
        routes += service.mapping()["routes"].items()
    for route in routes:
        yield "route", route.mapping()["name"].text()
        for path in route.mapping()["paths"].texts():
            if found := re.match(r"~?\^?/api/([a-z0-9-]+)", path):
                yield "route for", found.group(1)


def _appended(text: str, key: str, collection: Value, entry: str) -> str:
    """`text` with `entry` as the last of a block mapping or list, indented as its others are."""
    node, lines = collection.node, text.splitlines()
    if collection.is_null:
        headings = [n for n, line in enumerate(lines) if line.startswith(f"{key}:")]
        at = headings[0] + 1 if headings else len(lines)
        heading = [] if headings else [f"{key}:"]
        return _joined(lines[:at] + heading, entry, 2, lines[at:])
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        raise collection.fault("must be written one entry a line, so that another can be added")
    indent, end = node.start_mark.column, min(node.end_mark.line + 1, len(lines))
    while end > 0 and _is_outside(lines[end - 1], indent):
        end -= 1
    return _joined(lines[:end], entry, indent, lines[end:])


def _is_outside(line: str, indent: int) -> bool:
    """Whether a line is part of no entry: blank, or no deeper than the heading of what comes next."""
    depth = len(line) - len(line.lstrip())
    return not line.strip() or depth < indent or (depth == 0 and not line.startswith("-"))


def _joined(before: list[str], entry: str, indent: int, after: list[str]) -> str:
    added = [" " * indent + line if line else "" for line in entry.rstrip().split("\n")]
    return "\n".join([*before, *added, *after]) + "\n"


@contextmanager
def _undone_on_failure(folder: Path, files: list[Path]) -> Iterator[None]:
    """Restore the files and remove the folder, which did not exist before, when the body fails."""
    before = {path: path.read_bytes() for path in files}
    try:
        yield
    except BaseException:
        for path, content in before.items():
            _replace(path, content)
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write(project: Path, name: str, template: Template, changes: Mapping[Path, str]) -> None:
    sample = template.directory / template.handler_folder
    if not sample.is_dir():
        raise ScaffoldError(f"the template {template.language} has no sample handler ({sample})")
    shutil.copytree(sample, project / FUNCTIONS / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in changes.items():
        _replace(path, text.encode())


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    shutil.copymode(path, temporary)
    temporary.replace(path)


def _check_result(before: Stack, name: str, after: Stack) -> None:
    """The file must hold what it held, and the new function."""
    others = {other: function for other, function in after.functions.items() if other != name}
    if name not in after.functions or others != before.functions:
        raise ScaffoldError(f"{before.path.name} is written in a way that a function cannot be added to")


def _report(name: str, template: Template, *, has_route: bool) -> list[str]:
    language = template.directory.name
    lines = [
        f"functions/{name}/ from the sample of template/{language}/",
        f"stack.yml: function {name}",
    ]
    if has_route:
        lines.append(f"{KONG_FILE}: service {name}, route /api/{name}")
    return [*lines, *template.welcome.splitlines(), "Next: `localfaas deploy`"]
