"""A folder that one process sees where no other does."""

import shutil
import subprocess
from pathlib import Path

import pytest

from localfaas.private_mount import command_line

HERE = "/var/openfaas/secrets"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (tmp_path / "kept").write_text("open sesame")
    (folder / "word").symlink_to(tmp_path / "kept")
    return folder


@pytest.fixture
def possible() -> None:
    if subprocess.run(["unshare", "--mount", "--map-root-user", "true"], check=False).returncode != 0:
        pytest.skip("this machine allows no mount namespaces")


def run(folder: Path, path: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command_line(str(folder), path, command), capture_output=True, text=True, check=False, timeout=20
    )


@pytest.mark.usefixtures("possible")
def test_the_command_finds_the_folder_and_nobody_else_does(secrets: Path) -> None:
    before = sorted(Path("/var").iterdir())
    assert run(secrets, HERE, "cat", f"{HERE}/word").stdout == "open sesame"
    assert sorted(Path("/var").iterdir()) == before
    assert str(secrets) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.usefixtures("possible")
def test_everything_else_is_where_it_was(secrets: Path, tmp_path: Path) -> None:
    (tmp_path / "there" / "in").mkdir(parents=True)
    (tmp_path / "there" / "in" / "file").write_text("kept")
    (tmp_path / "there" / "link").symlink_to("in/file")
    (tmp_path / "there" / "file").write_text("also kept")
    there = tmp_path / "there"
    listing = "cat $0/in/file $0/link $0/file $0/new/place/word; echo changed > $0/in/file; id -u"
    told = run(secrets, f"{there}/new/place", "sh", "-c", listing, str(there))
    whoami = subprocess.run(["id", "-u"], capture_output=True, text=True, check=True).stdout
    assert told.stdout == f"keptkeptalso keptopen sesame{whoami}"
    assert (there / "in" / "file").read_text() == "changed\n"
    assert not (there / "new").exists()


@pytest.mark.usefixtures("possible")
def test_a_folder_that_is_there_is_covered(secrets: Path, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "own").write_text("of the machine")
    assert run(secrets, f"{tmp_path}/old", "ls", f"{tmp_path}/old").stdout == "word\n"
    assert (tmp_path / "old" / "own").read_text() == "of the machine"


def test_where_it_cannot_be_done_the_command_runs_and_the_log_says_where_to_read(tmp_path: Path) -> None:
    told = run(tmp_path / "none", HERE, "echo", "runs")
    assert told.stdout.splitlines()[-1] == "runs"
    assert f"{HERE} cannot be made for this function alone" in told.stdout
    assert f"read {tmp_path / 'none'}" in told.stdout


def test_a_command_that_is_not_there_is_named(secrets: Path) -> None:
    told = run(secrets, HERE, "no-such-program")
    assert told.returncode == 1
    assert "no-such-program: No such file or directory" in told.stderr


@pytest.mark.usefixtures("possible")
def test_the_command_takes_the_place_of_what_started_it(secrets: Path) -> None:
    shell = shutil.which("sh") or "sh"
    process = subprocess.Popen(
        command_line(str(secrets), HERE, [shell, "-c", "echo $$"]), stdout=subprocess.PIPE, text=True
    )
    assert process.communicate(timeout=20)[0].strip() == str(process.pid)
