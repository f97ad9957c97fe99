import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from localfaas.build import BuildError, build, resolve_image
from localfaas.stack import Stack, load_stack

FUNCTIONS = """
  hello:
    lang: own
    handler: ./functions/hello
    image: example.org/hello:1.0
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    write(project / "template/own/template.yml", "language: own\nfprocess: python index.py\n")
    write(project / "template/own/index.py", "import function.handler\n")
    write(project / "template/own/function/handler.py", "sample = True\n")
    write(project / "template/own/function/tox.ini", "[tox]\n")
    write(project / "functions/hello/handler.py", "mine = True\n")
    return project


@pytest.fixture
def builds(tmp_path: Path) -> Path:
    return tmp_path / "builds"


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def load(project: Path, functions: str = FUNCTIONS, rest: str = "") -> Stack:
    write(project / "stack.yml", f"provider: {{name: openfaas}}\n{rest}\nfunctions:{functions}")
    return load_stack(project / "stack.yml", {})


def built(project: Path, builds: Path, stack: Stack | None = None) -> Path:
    stack = stack or load(project)
    return build(stack.functions["hello"], stack, project, builds).path


def files(layout: Path) -> dict[str, str]:
    return {str(path.relative_to(layout)): path.read_text() for path in layout.rglob("*") if path.is_file()}


def test_the_handler_is_laid_over_the_templates_sample(project: Path, builds: Path) -> None:
    assert files(built(project, builds)) == {
        "template.yml": "language: own\nfprocess: python index.py\n",
        "index.py": "import function.handler\n",
        "function/handler.py": "mine = True\n",
        "function/tox.ini": "[tox]\n",
    }


def test_another_handler_folder_keeps_the_sample_in_function(project: Path, builds: Path) -> None:
    write(project / "template/own/template.yml", "handler_folder: src/app\n")
    layout = built(project, builds)
    assert (layout / "src/app/handler.py").read_text() == "mine = True\n"
    assert (layout / "function/handler.py").read_text() == "sample = True\n"


def test_extra_paths_keep_their_path_below_the_handler_folder(project: Path, builds: Path) -> None:
    write(project / "functions/shared/money.py", "cents = 1\n")
    write(project / "VERSION", "7\n")
    stack = load(project, rest="configuration: {copy: [functions/shared, ./VERSION]}")
    layout = built(project, builds, stack)
    assert (layout / "function/functions/shared/money.py").read_text() == "cents = 1\n"
    assert (layout / "function/VERSION").read_text() == "7\n"


@pytest.mark.parametrize(
    "path", ["../outside", ".", "functions/..", "/etc/hostname", "link", "functions/../.."]
)
def test_extra_paths_lie_inside_the_project(project: Path, builds: Path, path: str) -> None:
    write(project.parent / "outside/file", "")
    (project / "link").symlink_to(project.parent / "outside")
    stack = load(project, rest=f"configuration: {{copy: ['{path}']}}")
    with pytest.raises(BuildError, match="must be a path inside the project"):
        built(project, builds, stack)
    assert not list(builds.glob("hello/*"))


def test_an_extra_path_that_is_missing_is_named(project: Path, builds: Path) -> None:
    stack = load(project, rest="configuration: {copy: [functions/shard]}")
    with pytest.raises(BuildError, match=r"stack.yml: configuration.copy: functions/shard does not exist"):
        built(project, builds, stack)


def test_dotfiles_come_along_and_build_and_template_folders_do_not(project: Path, builds: Path) -> None:
    for name in (".env", "build/x", "template/x", "inner/build/x", "inner/template/x"):
        write(project / "functions/hello" / name, "")
    names = set(files(built(project, builds)))
    assert {"function/.env", "function/inner/build/x", "function/inner/template/x"} <= names
    assert not names & {"function/build/x", "function/template/x"}


def test_modes_are_kept_and_links_are_followed(project: Path, builds: Path) -> None:
    write(project / "functions/hello/run.sh", "#!/bin/sh\n", 0o755)
    write(project / "functions/hello/private", "x", 0o400)
    write(project / "elsewhere", "there\n", 0o640)
    (project / "functions/hello/link").symlink_to(project / "elsewhere")
    function = built(project, builds) / "function"
    modes = {name: stat.S_IMODE((function / name).lstat().st_mode) for name in ("run.sh", "private", "link")}
    assert modes == {"run.sh": 0o755, "private": 0o400, "link": 0o640}
    assert (function / "link").read_text() == "there\n"


def test_compiled_python_is_in_no_layout_and_changes_no_digest(project: Path, builds: Path) -> None:
    before = built(project, builds)
    for folder in ("functions/hello", "functions/hello/inner", "template/own", "template/own/function"):
        write(project / folder / "__pycache__/handler.cpython-311.pyc", folder)
    shutil.rmtree(project / "functions/hello/inner")
    assert built(project, builds) == before
    assert not list(before.rglob("__pycache__"))


def test_a_layout_is_whole_with_what_replicas_compile_in_it_and_while_they_do(
    project: Path, builds: Path
) -> None:
    layout = built(project, builds)
    write(layout / "function/__pycache__/handler.cpython-311.pyc", "compiled")
    (layout / "__pycache__").mkdir()
    (layout / "__pycache__/index.cpython-311.pyc.1").symlink_to("renamed-meanwhile")
    inode = layout.stat().st_ino
    assert built(project, builds) == layout
    assert layout.stat().st_ino == inode
    assert (layout / "function/__pycache__/handler.cpython-311.pyc").read_text() == "compiled"


def test_building_again_changes_nothing(project: Path, builds: Path) -> None:
    first = built(project, builds)
    inode = first.stat().st_ino
    assert built(project, builds) == first
    assert first.stat().st_ino == inode
    assert [path.name for path in (builds / "hello").iterdir()] == [first.name]


@pytest.mark.parametrize(
    "change",
    [
        lambda project: write(project / "functions/hello/handler.py", "mine = False\n"),
        lambda project: write(project / "functions/hello/new.py", ""),
        lambda project: (project / "functions/hello/empty").mkdir(),
        lambda project: (project / "functions/hello/handler.py").chmod(0o755),
        lambda project: write(project / "template/own/index.py", "other\n"),
        lambda project: (project / "functions/hello/handler.py").rename(project / "functions/hello/other.py"),
    ],
)
def test_any_change_makes_another_layout_and_moves_the_image(
    project: Path, builds: Path, change: object
) -> None:
    first = built(project, builds)
    change(project)  # type: ignore[operator]
    second = built(project, builds)
    assert second != first
    assert first.is_dir()
    assert resolve_image(builds, "example.org/hello:1.0") == second


def test_an_image_nobody_built_is_none(project: Path, builds: Path) -> None:
    assert resolve_image(builds, "example.org/hello:1.0") is None
    built(project, builds)
    assert resolve_image(builds, "example.org/hello:2.0") is None


def test_an_image_without_a_tag_is_the_latest(project: Path, builds: Path) -> None:
    stack = load(project, FUNCTIONS.replace("example.org/hello:1.0", "localhost:5000/hello"))
    layout = built(project, builds, stack)
    assert resolve_image(builds, "localhost:5000/hello:latest") == layout
    assert resolve_image(builds, "localhost:5000/hello") == layout


def test_an_image_whose_layout_is_gone_is_none(project: Path, builds: Path) -> None:
    shutil.rmtree(built(project, builds))
    assert resolve_image(builds, "example.org/hello:1.0") is None


def test_a_damaged_layout_is_replaced_and_extra_files_are_left_alone(project: Path, builds: Path) -> None:
    layout = built(project, builds)
    write(layout / "function/cache.json", "made while running")
    assert built(project, builds) == layout
    assert (layout / "function/cache.json").exists()
    (layout / "index.py").write_text("")
    assert built(project, builds) == layout
    assert (layout / "index.py").read_text() == "import function.handler\n"


def test_a_handler_that_is_missing_is_named(project: Path, builds: Path) -> None:
    shutil.rmtree(project / "functions/hello")
    with pytest.raises(
        BuildError, match=r"stack.yml: functions.hello.handler: ./functions/hello is no directory"
    ):
        built(project, builds)


def test_a_broken_link_is_named_and_leaves_nothing_behind(project: Path, builds: Path) -> None:
    (project / "functions/hello/broken").symlink_to("nowhere")
    with pytest.raises(BuildError, match=r"functions/hello/broken: No such file or directory"):
        built(project, builds)
    assert not list((builds / "hello").iterdir())
    assert resolve_image(builds, "example.org/hello:1.0") is None


def test_a_link_in_a_circle_is_refused(project: Path, builds: Path) -> None:
    (project / "functions/hello/again").symlink_to(project / "functions/hello")
    with pytest.raises(BuildError, match="is a link to a folder that it lies in"):
        built(project, builds)


def test_a_pipe_is_refused_and_not_waited_for(project: Path, builds: Path) -> None:
    os.mkfifo(project / "functions/hello/pipe")
    with pytest.raises(BuildError, match="pipe is neither a file nor a folder"):
        built(project, builds)


def test_a_file_cannot_cover_a_folder_nor_a_folder_a_file(project: Path, builds: Path) -> None:
    (project / "functions/hello/tox.ini").mkdir()
    with pytest.raises(BuildError, match="is a folder, but the layout has a file of that name"):
        built(project, builds)
    (project / "functions/hello/tox.ini").rmdir()
    write(project / "template/own/function/data/x", "")
    write(project / "functions/hello/data", "")
    with pytest.raises(BuildError, match="is a file, but the layout has a folder of that name"):
        built(project, builds)


def test_a_handler_may_not_contain_the_builds(project: Path) -> None:
    stack = load(project, FUNCTIONS.replace("./functions/hello", "./"))
    with pytest.raises(BuildError, match="where builds are made"):
        built(project, project / ".local" / "build", stack)


def test_a_dockerfile_function_is_laid_out_without_a_template(project: Path, builds: Path) -> None:
    write(project / "functions/shared/x", "")
    functions = FUNCTIONS.replace("lang: own", "lang: Dockerfile\n    fprocess: ./run")
    stack = load(project, functions, "configuration: {copy: [functions/shared]}")
    assert set(files(built(project, builds, stack))) == {"handler.py", "functions/shared/x"}


def test_a_dockerfile_function_without_a_process_is_refused(project: Path, builds: Path) -> None:
    stack = load(project, FUNCTIONS.replace("lang: own", "lang: dockerfile"))
    with pytest.raises(BuildError, match="give the function an fprocess"):
        built(project, builds, stack)


def test_names_in_any_script_are_kept(project: Path, builds: Path) -> None:
    write(project / "functions/hello/étagère.txt", "façade\n")
    (project / "functions/hello" / os.fsdecode(b"latin-\xe9")).touch()
    layout = built(project, builds)
    assert (layout / "function/étagère.txt").read_text() == "façade\n"
    assert (layout / "function" / os.fsdecode(b"latin-\xe9")).exists()


def test_what_a_killed_build_left_is_cleared(project: Path, builds: Path) -> None:
    write(builds / "hello/.tmp-killed/index.py", "half")
    layout = built(project, builds)
    assert list((builds / "hello").iterdir()) == [layout]


KILLED_BUILD = """
import os, signal, sys
from pathlib import Path
from localfaas.build import build
from localfaas.stack import load_stack

project, builds, left = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
stack = load_stack(project / "stack.yml", {})

def die_at_last(event, arguments):
    global left
    if event in {"open", "os.mkdir", "os.rename", "os.remove", "os.chmod", "shutil.copyfile"}:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die_at_last)
build(stack.functions["hello"], stack, project, builds)
"""


def test_a_build_killed_at_any_step_leaves_whole_layouts_only(project: Path, builds: Path) -> None:
    whole, killed, step = files(built(project, builds)), 0, 1
    shutil.rmtree(builds)
    while True:
        command = [sys.executable, "-c", KILLED_BUILD, str(project), str(builds), str(step)]
        exit_code = subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode
        assert all(files(path) == whole for path in builds.glob("hello/[!.]*"))
        image = resolve_image(builds, "example.org/hello:1.0")
        assert image is None or files(image) == whole
        if exit_code == 0:
            break
        killed, step = killed + 1, step + 5
    assert killed > 5
    assert files(built(project, builds)) == whole


def test_builds_at_the_same_time_agree(project: Path, builds: Path) -> None:
    functions = "".join(
        FUNCTIONS.replace("  hello:", f"  f{n}:").replace("/hello:1.0", f"/f{n}") for n in range(4)
    )
    stack, results, errors = load(project, functions), set[Path](), list[Exception]()

    def build_all() -> None:
        try:
            for function in stack.functions.values():
                results.add(build(function, stack, project, builds).path)
        except Exception as exc:
            errors.append(exc)

    threads = [threading.Thread(target=build_all) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(results) == 4
    assert len(json.loads((builds / "images.json").read_text())) == 4
    assert all(resolve_image(builds, f"example.org/f{n}") in results for n in range(4))
