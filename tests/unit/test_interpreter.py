import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from localfaas.interpreter import InterpreterError, find_interpreter


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    (tmp_path / "layout" / "function").mkdir(parents=True)
    return tmp_path / "layout"


@pytest.fixture
def builds(tmp_path: Path) -> Path:
    return tmp_path / "builds"


def make_wheel(directory: Path, name: str, version: str) -> Path:
    """The smallest wheel: one module that knows its version (PyPA binary distribution format)."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = directory / f"{name}-{version}-py3-none-any.whl"
    record = ""
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{file},sha256={digest},{len(text)}\n"
        wheel.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


def test_a_layout_without_requirements_runs_on_this_python(layout: Path, builds: Path) -> None:
    assert find_interpreter(layout, builds) == Path(sys.executable)


@pytest.mark.parametrize(
    "text",
    [
        "flask",
        "Flask>=3\n# a comment\n\nrequests  # another\n",
        "flask>=3,<99 ; python_version >= '3.8'",
        "nobody-has-this ; python_version < '3'",
        "pyjwt[crypto]",
        "requests==99 ; sys_platform == 'win32'",
        "--index-url https://example.org/simple\nflask",
        "flask \\\n  >=3 --hash=sha256:00",
        "-r more.txt",
    ],
)
def test_this_python_serves_when_it_has_everything(layout: Path, builds: Path, text: str) -> None:
    (layout / "function" / "requirements.txt").write_text(text)
    (layout / "function" / "more.txt").write_text("-r requirements.txt\npydantic\n")
    assert find_interpreter(layout, builds) == Path(sys.executable)
    assert not builds.exists()


def test_what_is_missing_gets_a_python_of_its_own_with_nothing_of_ours(
    layout: Path, builds: Path, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path, "ownlib", "1.2")
    (layout / "requirements.txt").write_text("")
    (layout / "function" / "requirements.txt").write_text(f"ownlib @ {wheel.as_uri()}\n")
    python = find_interpreter(layout, builds)
    assert python.is_relative_to(builds)
    program = "import ownlib, importlib.util; print(ownlib.version, importlib.util.find_spec('flask'))"
    output = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True, cwd="/")
    assert output.stdout.split() == ["1.2", "None"]
    assert find_interpreter(layout, builds) == python


def test_a_python_left_half_made_is_made_again(layout: Path, builds: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "ownlib", "1.2")
    (layout / "requirements.txt").write_text(f"ownlib @ {wheel.as_uri()}\n")
    python = find_interpreter(layout, builds)
    environment = python.parents[1]
    (environment / "complete").unlink()
    next(environment.rglob("ownlib.py")).unlink()
    assert find_interpreter(layout, builds) == python
    assert list(environment.rglob("ownlib.py"))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("flask==0.0.999 @ nonsense\n", "requirements cannot be installed"),
        ("ownlib @ file:///nowhere/ownlib-1.0-py3-none-any.whl\n", "ownlib"),
        ("-r nowhere.txt\n", "requirements cannot be read"),
    ],
)
def test_what_cannot_be_had_is_one_clear_error(layout: Path, builds: Path, text: str, part: str) -> None:
    (layout / "function" / "requirements.txt").write_text(text)
    with pytest.raises(InterpreterError, match=part) as refused:
        find_interpreter(layout, builds)
    assert "\n" not in str(refused.value)
