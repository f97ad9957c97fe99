"""What image names stand for, and how what is found is run."""

import json
import os
from pathlib import Path

import pytest

from localfaas.build import BuildError
from localfaas.deployment import FunctionDeployment
from localfaas.images import FORK, HTTP, Workload, prepare, resolve, workload
from localfaas.stack import Stack, load_stack


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    return project


@pytest.fixture
def builds(tmp_path: Path) -> Path:
    return tmp_path / "builds"


def load(project: Path, function: str) -> Stack:
    path = project / "stack.yml"
    path.write_text(f"provider: {{name: openfaas}}\nfunctions:\n  one: {function}\n")
    return load_stack(path, {})


def prepared(project: Path, builds: Path, function: str) -> tuple[Path, Workload] | None:
    """The layout of the stack file's only function, and how its replicas run."""
    stack = load(project, function)
    one = stack.functions["one"]
    layout = prepare(one, stack, project, builds)
    if layout is None:
        return None
    deployment = FunctionDeployment("one", one.image, env_process=one.fprocess, env_vars=one.environment)
    return layout.path, workload(layout.path, deployment)


def run_of(layout: Path, process: str = "", **env_vars: str) -> Workload:
    return workload(layout, FunctionDeployment("one", "x", env_process=process, env_vars=env_vars))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_process_without_a_language_runs_once_per_request(project: Path, builds: Path) -> None:
    found = prepared(project, builds, "{image: 'ghcr.io/x/y:1', fprocess: sha512sum -b}")
    assert found is not None
    assert found[1] == Workload(("sha512sum", "-b"), FORK)
    assert resolve(project, builds, "ghcr.io/x/y:1") == found[0]


def test_a_process_that_says_it_is_a_server_is_one(project: Path, builds: Path) -> None:
    function = "{image: x, fprocess: 'python -m http.server $PORT', environment: {mode: http}}"
    found = prepared(project, builds, function)
    assert found is not None
    assert found[1].mode == HTTP
    assert found[1].at(8002) == ["python", "-m", "http.server", "8002"]


def test_a_program_that_is_not_there_is_named_before_anything_is_deployed(
    project: Path, builds: Path
) -> None:
    with pytest.raises(BuildError, match="one: there is no program no-such-program in "):
        prepared(project, builds, "{image: x, fprocess: no-such-program}")


def test_a_mere_name_is_left_to_what_is_known_of_it(project: Path, builds: Path) -> None:
    assert prepared(project, builds, "{image: x}") is None
    assert resolve(project, builds, "x") is None


@pytest.mark.parametrize(
    "listed", ["ghcr.io/you/sum:1", "ghcr.io/you/sum", "you/sum:1", "you/sum", "sum:1", "sum"]
)
def test_an_image_is_listed_with_or_without_registry_and_tag(
    project: Path, builds: Path, listed: str
) -> None:
    write(project / "images.yml", f"{listed}: sha256sum -b")
    layout = resolve(project, builds, "ghcr.io/you/sum:1")
    assert layout is not None
    assert run_of(layout) == Workload(("sha256sum", "-b"), FORK)


@pytest.mark.parametrize("listed", ["ghcr.io/you/sum:2", "me/sum", "um", "sum:latest", "ghcr.io"])
def test_another_image_is_another(project: Path, builds: Path, listed: str) -> None:
    write(project / "images.yml", f"{listed}: sha256sum")
    assert resolve(project, builds, "ghcr.io/you/sum:1") is None


def test_an_image_with_a_digest_or_without_a_tag_is_found(project: Path, builds: Path) -> None:
    write(project / "images.yml", "sum: sha256sum\n'localhost:5000/own:latest': cat\n")
    assert resolve(project, builds, "sum@sha256:0123")
    assert resolve(project, builds, "x/sum:1@sha256:0123")
    assert resolve(project, builds, "localhost:5000/own")


def test_the_most_exact_entry_counts(project: Path, builds: Path) -> None:
    write(project / "images.yml", "sum: sha1sum\nyou/sum: sha256sum\n'sum:1': sha224sum\n")
    layout = resolve(project, builds, "ghcr.io/you/sum:1")
    assert layout is not None
    assert run_of(layout).command == ("sha256sum",)


def test_an_entry_may_be_a_server_with_a_folder_of_its_own(project: Path, builds: Path) -> None:
    write(project / "pages" / "index.html", "hello")
    write(project / "images.yml", "x: {command: 'sh -c \"serve $PORT\"', mode: http, folder: pages}")
    layout = resolve(project, builds, "x")
    assert layout is not None
    assert (layout / "index.html").read_text() == "hello"
    assert run_of(layout) == Workload(("sh", "-c", "serve $PORT"), HTTP)


def test_a_layout_is_the_same_whoever_makes_it(project: Path, builds: Path) -> None:
    """The API has a stricter umask than a shell; what it made is not to be deployed anew by `up`."""
    write(project / "images.yml", "x: sha1sum\n")
    before = os.umask(0o077)
    try:
        made = resolve(project, builds, "x")
    finally:
        os.umask(before)
    assert before != 0o077
    assert resolve(project, builds, "x") == made


def test_a_functions_process_goes_before_its_images(project: Path, builds: Path) -> None:
    write(project / "images.yml", "x: cat")
    found = prepared(project, builds, "{image: x, fprocess: sort -u}")
    assert found is not None
    assert found[1] == Workload(("sort", "-u"), FORK)


def test_an_entry_goes_before_a_build(project: Path, builds: Path) -> None:
    write(project / "images.yml", "x: cat")
    found = prepared(project, builds, "{image: x, lang: dockerfile, handler: ./none}")
    assert found is not None
    assert found[1].command == ("cat",)


def test_what_faas_cli_has_laid_out_is_run(project: Path, builds: Path) -> None:
    write(project / "build/one/template.yml", "fprocess: python index.py")
    write(project / "build/one/Dockerfile", 'FROM x\nENV mode="http"\n')
    found = prepared(project, builds, "{image: 'ghcr.io/x/any:1'}")
    assert found is not None
    assert found[1] == Workload(("python", "index.py"), HTTP)
    by_name = resolve(project, builds, "ghcr.io/x/one:3")
    assert by_name == found[0]


def test_what_is_laid_out_again_is_another_layout(project: Path, builds: Path) -> None:
    first = prepared(project, builds, "{image: x, fprocess: cat}")
    assert first == prepared(project, builds, "{image: x, fprocess: cat}")
    second = prepared(project, builds, "{image: x, fprocess: sort}")
    assert first is not None
    assert second is not None
    assert first[0] != second[0]


@pytest.mark.parametrize(
    ("dockerfile", "mode"),
    [
        ("FROM ghcr.io/openfaas/of-watchdog:0.10 AS w\nENV fprocess=x \\\n  mode=http\n", HTTP),
        ("FROM ghcr.io/openfaas/of-watchdog:0.10 AS w\nENV mode http\n", HTTP),
        ("FROM ghcr.io/openfaas/of-watchdog:0.10 AS w\nENV mode=streaming\n", FORK),
        ("FROM ghcr.io/openfaas/classic-watchdog:0.2 AS w\n", FORK),
        ("FROM python\nCMD python index.py\n", HTTP),
    ],
)
def test_a_dockerfile_tells_which_watchdog_there_would_be(tmp_path: Path, dockerfile: str, mode: str) -> None:
    write(tmp_path / "Dockerfile", dockerfile)
    assert run_of(tmp_path, "python index.py").mode == mode


def test_the_deployments_mode_goes_before_the_dockerfiles(tmp_path: Path) -> None:
    write(tmp_path / "Dockerfile", "ENV mode=http")
    assert run_of(tmp_path, "cat", mode="streaming").mode == FORK


def test_a_layout_without_either_serves_http(tmp_path: Path) -> None:
    assert run_of(tmp_path, "python 'my index.py'") == Workload(("python", "my index.py"), HTTP)


@pytest.mark.parametrize(
    ("process", "told"), [("", "neither the deployment nor its image"), ("python 'x", "No closing quotation")]
)
def test_what_cannot_be_run_is_one_line(tmp_path: Path, process: str, told: str) -> None:
    with pytest.raises(BuildError, match=told):
        run_of(tmp_path, process)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x: {comand: cat}", "images.yml:1: x.comand is not a key of an image"),
        ("x: {command: cat, mode: grpc}", "images.yml:1: x.mode must be http or fork, not grpc"),
        ("x: {folder: none}", "images.yml:1: x.folder names no folder: "),
        ("x: [cat]", "images.yml:1: x must be a mapping, not a list"),
        ("x: ''", "the image x has neither a command nor a folder"),
        ("- x", "images.yml:1: the file must be a mapping"),
        ("x: {", "images.yml:1: not valid YAML"),
    ],
)
def test_faults_of_the_images_file_name_their_place(
    project: Path, builds: Path, text: str, told: str
) -> None:
    write(project / "images.yml", text)
    with pytest.raises(BuildError) as refused:
        resolve(project, builds, "x")
    assert told in str(refused.value)


def test_layouts_of_commands_say_what_they_are(project: Path, builds: Path) -> None:
    write(project / "images.yml", "x: cat -n")
    layout = resolve(project, builds, "x")
    assert layout is not None
    assert json.loads((layout / "workload.json").read_text()) == {"command": ["cat", "-n"], "mode": "fork"}
