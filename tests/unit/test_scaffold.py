import shutil
from pathlib import Path

import pytest
import yaml

from localfaas.scaffold import ScaffoldError, new_function
from localfaas.stack import load_stack

ROOT = Path(__file__).parents[2]
LANGUAGE = "own"
STACK = """\
# Read by faas-cli.
version: 1.0
provider:
  name: openfaas

functions:
  # The first one.
  one:
    lang: own
    handler: ./functions/one
    image: ${SERVER:-ghcr.io}/me/one:${TAG:-latest}   # where it goes
    # the end of one

# What is copied.
configuration:
  copy: [functions/shared]
"""
KONG = """\
_format_version: "3.0"
services:
- name: one
  url: http://gateway.openfaas:8080/function/one
  routes:
  - name: one
    paths: ["~/api/one($|/)"]   # exactly

# For all.
plugins:
- name: prometheus
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "template/own/function/__pycache__").mkdir(parents=True)
    (tmp_path / "template/own/template.yml").write_text("fprocess: cat\nwelcome_message: |\n  Well met.\n")
    (tmp_path / "template/own/function/handler.py").write_text("app = None\n")
    (tmp_path / "kong").mkdir()
    (tmp_path / "stack.yml").write_text(STACK)
    (tmp_path / "kong/kong.yml").write_text(KONG)
    return tmp_path


def make(project: Path, name: str = "hello", language: str = LANGUAGE) -> list[str]:
    return new_function(project, name, language, {})


def snapshot(project: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in project.rglob("*") if path.is_file()}


def refusal(project: Path, name: str = "hello", language: str = LANGUAGE) -> str:
    """Why the function is not made; nothing must have changed."""
    before = snapshot(project)
    with pytest.raises(ScaffoldError) as refused:
        make(project, name, language)
    assert snapshot(project) == before
    assert not (project / "functions" / "hello").exists()
    return str(refused.value)


def test_the_sample_becomes_the_handler(project: Path) -> None:
    make(project)
    assert [path.name for path in (project / "functions/hello").iterdir()] == ["handler.py"]


def test_the_stack_file_gains_one_function_and_loses_no_comment(project: Path) -> None:
    make(project)
    added = """
  hello:
    lang: own
    handler: ./functions/hello
    image: ${SERVER:-ghcr.io}/me/hello:${TAG:-latest}
"""
    assert (project / "stack.yml").read_text() == STACK.replace(
        "    # the end of one\n", "    # the end of one\n" + added
    )
    assert load_stack(project / "stack.yml", {}).functions["hello"].image == "ghcr.io/me/hello:latest"


def test_the_edge_gains_one_route_and_loses_no_comment(project: Path) -> None:
    make(project)
    text = (project / "kong/kong.yml").read_text()
    old, new = yaml.safe_load(KONG), yaml.safe_load(text)
    assert new["services"][:-1] == old["services"]
    assert new["plugins"] == old["plugins"]
    service = new["services"][-1]
    assert service["url"] == "http://gateway.openfaas:8080/function/hello"
    assert service["routes"] == [{"name": "hello", "paths": ["~/api/hello($|/)"]}]
    assert all(line in text.splitlines() for line in KONG.splitlines())


def test_what_was_written_and_what_comes_next_is_said(project: Path) -> None:
    assert make(project) == [
        "functions/hello/ from the sample of template/own/",
        "stack.yml: function hello",
        "kong/kong.yml: service hello, route /api/hello",
        "Well met.",
        "Next: `localfaas deploy`",
    ]


def test_a_project_without_an_edge_gets_no_route(project: Path) -> None:
    (project / "kong/kong.yml").unlink()
    assert "stack.yml: function hello" in make(project)
    assert not (project / "kong/kong.yml").exists()


@pytest.mark.parametrize("text", [
    "provider: {name: openfaas}\nfunctions:\n",
    "provider: {name: openfaas}\n",
    "provider: {name: openfaas}",
    "functions:\n\nprovider: {name: openfaas}\n",
    "provider: {name: openfaas}\nfunctions:\n      deep:\n        image: d",
    "provider: {name: openfaas}\nfunctions:\n  text:\n    image: d\n    environment:\n      a: |\n        x\n\n        y\n\n\n# end",
    "provider: {name: openfaas}\nfunctions:\n  a: &a\n    image: d\n    limits: &l {cpu: 1}\n  b:\n    image: e\n    limits: *l\nversion: 1.0\n",
])  # fmt: skip
def test_any_layout_of_the_stack_file_takes_another_function(project: Path, text: str) -> None:
    path = project / "stack.yml"
    path.write_text(text)
    before = load_stack(path, {}).functions
    make(project)
    after = load_stack(path, {}).functions
    assert {name: one for name, one in after.items() if name != "hello"} == before
    assert list(after)[-1] == "hello"


def test_several_functions_can_be_made_after_each_other(project: Path) -> None:
    for name in ("a", "b-2", "c"):
        make(project, name)
    assert list(load_stack(project / "stack.yml", {}).functions) == ["one", "a", "b-2", "c"]
    services = yaml.safe_load((project / "kong/kong.yml").read_text())["services"]
    assert [service["name"] for service in services] == ["one", "a", "b-2", "c"]


@pytest.mark.parametrize("name", ["", "Hello", "-a", "a-", "a_b", "a/b", "..", "é", "a" * 64, "a\n"])
def test_a_name_that_cannot_be_a_function_is_refused(project: Path, name: str) -> None:
    assert "is not a function name" in refusal(project, name)


def test_a_name_that_is_taken_is_refused(project: Path) -> None:
    assert refusal(project, "one") == "stack.yml already has a function one"
    (project / "functions/two").mkdir(parents=True)
    assert refusal(project, "two") == "functions/two already exists"


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ("{name: hello, url: http://x}", "kong/kong.yml already has a service hello"),
        ("{name: x, url: http://x, routes: [{name: hello}]}", "kong/kong.yml already has a route hello"),
        ("{name: x, url: http://x, routes: [{name: y, paths: [/api/hello]}]}", "kong/kong.yml already has a route for hello"),
    ],
)  # fmt: skip
def test_a_route_that_is_taken_is_refused(project: Path, service: str, message: str) -> None:
    (project / "kong/kong.yml").write_text(f"services:\n  - {service}\n")
    assert refusal(project) == message


def test_an_unknown_template_is_refused(project: Path) -> None:
    assert "no template for the language 'cobol'" in refusal(project, language="cobol")


def test_a_template_without_a_sample_is_refused_and_undone(project: Path) -> None:
    shutil.rmtree(project / "template/own/function")
    assert "has no sample handler" in refusal(project)


def test_a_file_written_on_one_line_is_refused(project: Path) -> None:
    (project / "stack.yml").write_text("{provider: {name: openfaas}, functions: {a: {image: b}}}\n")
    assert refusal(project) == (
        "stack.yml:1: functions must be written one entry a line, so that another can be added"
    )


def test_a_file_that_the_addition_would_break_is_restored(project: Path) -> None:
    (project / "stack.yml").write_text("provider: {name: openfaas}\nfunctions: null\n")
    assert refusal(project).startswith("stack.yml:")


def test_a_broken_kong_file_is_refused(project: Path) -> None:
    (project / "kong/kong.yml").write_text("services: [\n")
    assert refusal(project).startswith("kong/kong.yml:2: not valid YAML")


def test_the_shop_itself_takes_another_function(tmp_path: Path) -> None:
    for name in ("stack.yml", "kong", "template"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    before = (tmp_path / "stack.yml").read_text()
    new_function(tmp_path, "hello", "python3-flask-granian", {})
    assert (tmp_path / "stack.yml").read_text().startswith(before.rstrip())
    service = yaml.safe_load((tmp_path / "kong/kong.yml").read_text())["services"][-1]
    siblings = yaml.safe_load((ROOT / "kong/kong.yml").read_text())["services"]
    assert service["read_timeout"] == siblings[0]["read_timeout"]
