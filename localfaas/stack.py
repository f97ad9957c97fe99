"""stack.yml: the functions of a project, read as faas-cli reads them.

`load_stack` replaces `${VAR:-default}`, checks the file, and completes each function from its template and its
environment files. `StackFunction.deployment` is then the JSON body that `faas-cli deploy` would send.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localfaas.deployment import is_dns_label
from localfaas.placed_yaml import Keys, PlacedYamlError, Value, read_yaml
from localfaas.substitution import SubstitutionError, substitute

DOCKERFILE = "dockerfile"
"""The language of a function that brings its own Dockerfile and has no template."""

OWN_TEMPLATES = Path(__file__).parent / "templates"
"""For projects that have no template of their own for a language; each is also `<language>-debian`."""
WITH_A_FIXED_PORT = frozenset({"python3-http", "python3-flask"})
"""Official templates, whose `index.py` listens on port 5000 whatever the environment says."""

_LANGUAGE = re.compile(r"[A-Za-z0-9][\w.@-]*", re.ASCII)
_TOP_KEYS = {"version", "provider", "functions", "configuration"}
_FUNCTION_KEYS = {
    *("lang", "handler", "image", "fprocess", "environment", "environment_file", "secrets", "labels"),
    *(
        "annotations",
        "constraints",
        "limits",
        "requests",
        "readonly_root_filesystem",
        "namespace",
        "skip_build",
    ),
    *("build_args", "build_options", "build_secrets", "platforms", "registry_auth"),
}
_RESOURCES = ("memory", "cpu")


class StackError(ValueError):
    """A stack file or a template cannot be used; the message is one line that names file and place."""


@dataclass(frozen=True)
class Template:
    """One language of `template/<language>/`, from its template.yml."""

    language: str
    directory: Path
    fprocess: str
    handler_folder: str
    """Where the handler goes below the template, and where the template's sample handler is."""
    welcome: str = ""
    """What to tell whoever makes a function from it."""


@dataclass(frozen=True)
class StackFunction:
    """One function of a stack file, complete: environment files and the template's process are worked in."""

    name: str
    image: str
    language: str = ""
    handler: str = ""
    fprocess: str = ""
    namespace: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    limits: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)
    readonly_root_filesystem: bool = False
    skip_build: bool = False

    @property
    def is_built(self) -> bool:
        """Whether there is anything to build: without a language the image is all there is."""
        return bool(self.language) and not self.skip_build

    def deployment(self) -> dict[str, Any]:
        """The body of POST and PUT /system/functions, in faas-cli's order.

        What is empty is left out, but `labels` and `annotations`, which faas-cli always sends.
        """
        everything: dict[str, Any] = {
            "service": self.name,
            "image": self.image,
            "namespace": self.namespace,
            "envProcess": self.fprocess,
            "envVars": dict(self.environment),
            "constraints": list(self.constraints),
            "secrets": list(self.secrets),
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "limits": dict(self.limits),
            "requests": dict(self.requests),
            "readOnlyRootFilesystem": self.readonly_root_filesystem,
        }
        always = ("labels", "annotations")
        return {key: value for key, value in everything.items() if value or key in always}


@dataclass(frozen=True)
class Stack:
    """A stack file: its functions in the order of the file."""

    path: Path
    gateway: str
    functions: Mapping[str, StackFunction]
    copy: tuple[str, ...] = ()
    """`configuration.copy`: paths, relative to the project, that are laid beside every handler."""
    warnings: tuple[str, ...] = ()
    """Keys that faas-cli would ignore without a word; often a misspelling."""


def stack_file(project: Path) -> Path:
    """The project's stack file; as for faas-cli, `stack.yaml` wins over `stack.yml`."""
    other = project / "stack.yaml"
    return other if other.exists() else project / "stack.yml"


def load_stack(path: Path, environ: Mapping[str, str]) -> Stack:
    """Read a stack file; paths in it count from its directory.

    Raises StackError when it, an environment file or a template cannot be used.
    """
    try:
        return _read_stack(path, environ)
    except SubstitutionError as exc:
        raise StackError(f"{path.name}:{exc.line}: {exc}") from exc
    except RecursionError as exc:
        raise StackError(f"{path.name}: nested too deeply") from exc
    except PlacedYamlError as exc:
        raise StackError(str(exc)) from exc


def load_template(project: Path, language: str) -> Template:
    """Read `template/<language>/template.yml`; raises StackError saying where templates are looked for."""
    directory = _template_directory(project, language)
    path = directory / "template.yml"
    if not _LANGUAGE.fullmatch(language) or not _is_file(path):
        folders = (project / "template", OWN_TEMPLATES)
        known = sorted({found.parent.name for folder in folders for found in folder.glob("*/template.yml")})
        raise StackError(
            f"no template for the language {language!r}: looked for {project / 'template'}/<language>/template.yml, "
            f"found {', '.join(known) or 'none'}"
        )
    try:
        content = read_yaml(_read_text(path), f"template/{language}/template.yml")
        return _template(content, language, directory)
    except PlacedYamlError as exc:
        raise StackError(str(exc)) from exc


def _template_directory(project: Path, language: str) -> Path:
    """The project's own template, or ours: also instead of an official one, whose replicas would all want port 5000."""
    own, ours = project / "template" / language, OWN_TEMPLATES / language.removesuffix("-debian")
    if _is_file(own / "template.yml") and not (
        ours.name in WITH_A_FIXED_PORT
        and _is_file(own / "index.py")
        and "5000" in _read_text(own / "index.py")
    ):
        return own
    return ours if _LANGUAGE.fullmatch(language) and _is_file(ours / "template.yml") else own


def _template(content: Value, language: str, directory: Path) -> Template:
    keys = content.mapping()
    folder = keys["handler_folder"].text()
    if Path(folder).is_absolute() or ".." in Path(folder).parts:
        raise keys["handler_folder"].fault("must be a folder inside the template")
    return Template(
        language,
        directory,
        keys["fprocess"].text(),
        folder or "function",
        keys["welcome_message"].text().strip(),
    )


def _read_stack(path: Path, environ: Mapping[str, str]) -> Stack:
    root = read_yaml(substitute(_read_text(path), environ), path.name)
    keys = root.mapping()
    _check_header(root, keys)
    functions = keys["functions"].mapping()
    stack = Stack(
        path=path,
        gateway=keys["provider"].mapping()["gateway"].text(),
        functions={name: _function(value, name, path.parent) for name, value in functions.items()},
        copy=keys["configuration"].mapping()["copy"].texts(),
        warnings=tuple(_warnings(keys)),
    )
    _check_images(stack, functions)
    return stack


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise PlacedYamlError(f"{path.name}: not UTF-8 text (byte {exc.start})") from exc
    except OSError as exc:
        raise PlacedYamlError(f"{path}: cannot be read ({exc.strerror})") from exc


def _is_file(path: Path) -> bool:
    """Whether there is such a file; a name too long for one is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _check_header(root: Value, keys: Keys) -> None:
    version = keys["version"].text()
    if version not in {"", "1.0"}:
        raise keys["version"].fault(f"must be 1.0, not {version}")
    if "provider" not in keys:
        raise root.fault("has no provider; write `provider:` with `name: openfaas`")
    name = keys["provider"].mapping()["name"]
    if name.text() != "openfaas":
        raise name.fault(f"must be openfaas, not {name.text() or 'empty'}")


def _function(value: Value, name: str, project: Path) -> StackFunction:
    if not is_dns_label(name):
        raise value.fault(
            "is not a function name: lower-case letters, digits and inner hyphens, at most 63 characters"
        )
    keys = value.mapping()
    language = _language(keys["lang"])
    function = StackFunction(
        name=name,
        image=keys["image"].text(),
        language=language,
        handler=keys["handler"].text(),
        fprocess=keys["fprocess"].text() or _template_process(project, language),
        namespace=keys["namespace"].text(),
        environment=_environment(keys, project),
        secrets=keys["secrets"].texts(),
        labels=keys["labels"].text_map(),
        annotations=keys["annotations"].text_map(),
        constraints=keys["constraints"].texts(),
        limits=_resources(keys["limits"]),
        requests=_resources(keys["requests"]),
        readonly_root_filesystem=keys["readonly_root_filesystem"].flag(),
        skip_build=keys["skip_build"].flag(),
    )
    if not function.image:
        raise value.fault("has no image")
    if function.is_built and not function.handler:
        raise value.fault("has no handler: the folder with its code")
    return function


def _language(value: Value) -> str:
    language = value.text()
    return DOCKERFILE if language.lower() == DOCKERFILE else language


def _template_process(project: Path, language: str) -> str:
    return load_template(project, language).fprocess if language not in {"", DOCKERFILE} else ""


def _environment(keys: Keys, project: Path) -> dict[str, str]:
    """Inline values, then each environment file over what came before."""
    environment = keys["environment"].text_map()
    for item in keys["environment_file"].items():
        path = project / item.text()
        if not _is_file(path):
            raise item.fault(f"names no file: {path}")
        environment |= read_yaml(_read_text(path), item.text()).mapping()["environment"].text_map()
    return environment


def _resources(value: Value) -> dict[str, str]:
    quantities = value.text_map()
    return {name: quantities[name] for name in _RESOURCES if quantities.get(name)}


def _check_images(stack: Stack, places: Keys) -> None:
    """Refuse one image name for two different builds: the second would replace the first."""
    first: dict[str, StackFunction] = {}
    for function in filter(lambda one: one.is_built, stack.functions.values()):
        other = first.setdefault(function.image, function)
        if (other.language, other.handler) != (function.language, function.handler):
            raise places[function.name].fault(f"has the image of {other.name}, {other.image}, but other code")


def _warnings(keys: Keys) -> Iterator[str]:
    for key, value in keys.items():
        if key not in _TOP_KEYS and not key.startswith("x-"):
            yield str(value.fault("is not a key of a stack file and is ignored"))
    for function in keys["functions"].mapping().values():
        for key, value in function.mapping().items():
            if key not in _FUNCTION_KEYS:
                yield str(value.fault("is not a key of a function and is ignored"))
