"""One image, really built from the template's Dockerfile and run as on a cluster: uid 12000, root read-only.

`make image-test`, as root, with Debian's buildah and debootstrap; there is no container engine. Two things stand in:
a Debian of debootstrap's for `python:3.13-slim`, and a shell script that starts `fprocess` for of-watchdog's binary.
IMAGE_BASE names a folder that debootstrap has made already.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import Running, lay_out, running
from tests.support.ports import free_port
from tests.support.waiting import wait_for

FUNCTION = "site"
TOOLS = ("buildah", "debootstrap", "unshare", "chroot", "setpriv")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.skipif(not os.environ.get("IMAGE_TEST"), reason="takes over a minute: make image-test"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a base and to mount"),
    pytest.mark.skipif(
        bool(MISSING), reason=f"not here: {', '.join(MISSING)}; apt-get install buildah debootstrap"
    ),
    pytest.mark.timeout(900),
]
MIRROR = "http://deb.debian.org/debian"
PACKAGES = "python3,python3-venv,python-is-python3,ca-certificates"
STAND_IN = """#!/bin/sh
# Stands in for of-watchdog's binary, which is not built here: it becomes the process that the watchdog would start.
HOST=127.0.0.1 PORT=${port:-8080} exec $fprocess
"""
CERTIFICATES = "/etc/ssl/certs"


@dataclass(frozen=True)
class Buildah:
    """buildah with a store of its own, without a daemon and without namespaces."""

    home: Path

    def __call__(self, *arguments: str) -> str:
        store = ["--root", f"{self.home}/store", "--runroot", f"{self.home}/run", "--storage-driver", "vfs"]
        told = subprocess.run(
            ["buildah", *store, *arguments],
            env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert told.returncode == 0, f"{arguments}\n{told.stdout[-2000:]}\n{told.stderr[-4000:]}"
        return str(told.stdout).strip()

    def from_files(self, name: str, path: Path) -> str:
        """An image that holds a file or a folder's content."""
        container = self("from", "scratch")
        self("add", "-q", container, str(path), "/")
        self("commit", "-q", container, name)
        self("rm", container)
        return name


@dataclass(frozen=True)
class Image:
    """A built image: its configuration, and its files as a folder."""

    config: dict[str, Any]
    root: Path

    @property
    def environ(self) -> list[str]:
        return list(self.config["Env"])


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that is emptied at the end: an image store takes a gigabyte."""
    folder = tmp_path_factory.mktemp("workshop")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def base(workshop: Path) -> Path:
    given = os.environ.get("IMAGE_BASE")
    if given:
        return Path(given)
    made = workshop / "base"
    told = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", made, MIRROR],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr
    return made


@pytest.fixture(scope="module")
def image(workshop: Path, base: Path) -> Image:
    """The function's, built from its layout by its own Dockerfile."""
    buildah = Buildah(workshop)
    watchdog = workshop / "fwatchdog"
    watchdog.write_text(STAND_IN)
    watchdog.chmod(0o755)
    buildah(
        "bud", "--pull-never", "--network", "host", "-v", f"{CERTIFICATES}:{CERTIFICATES}:ro",
        "--build-arg", f"BASE={buildah.from_files('localhost/base:debootstrap', base)}",
        "--build-arg", f"WATCHDOG={buildah.from_files('localhost/watchdog:stand-in', watchdog)}",
        "-t", f"localhost/{FUNCTION}", str(lay_out(FUNCTION, workshop / "builds")),
    )  # fmt: skip
    config = json.loads(buildah("inspect", "--type", "image", f"localhost/{FUNCTION}"))["OCIv1"]["config"]
    container = buildah("from", "--pull-never", f"localhost/{FUNCTION}")
    return Image(config, Path(buildah("mount", container)))


def contained(image: Image, *command: str, **environ: str) -> list[str]:
    """A command in the image as its configuration and a cluster have it: its user, its folder, a read-only root,
    no capability and none to be had, and a `/tmp` that alone can be written to.
    """
    root = str(image.root)
    mounts = [
        f"mount --bind {root} {root}",
        f"mount -t proc proc {root}/proc",
        f"mount --bind /dev {root}/dev",
        f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp",
        f"mount -o remount,ro,bind {root}",
    ]
    settings = [*image.environ, *(f"{name}={value}" for name, value in environ.items())]
    inside = ["env", "-i", f"--chdir={image.config['WorkingDir']}", *settings, *command]
    user, group = image.config["User"].split(":")
    confined = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"]
    confined += ["--bounding-set=-all", "--inh-caps=-all"]
    return [
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec",
        " && ".join(mounts) + ' && exec "$@"', "sh", "chroot", root, *confined, *inside,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def function(image: Image, workshop: Path) -> Iterator[Running]:
    port = free_port()
    command = contained(image, *image.config["Cmd"], port=str(port), warm_up="false")
    with running(command, port, workshop / "output.log", os.environ, workshop) as started:
        yield started.answers()


def test_image_says_what_a_cluster_checks(image: Image) -> None:
    assert image.config["User"] == "12000:12000", "a name fails runAsNonRoot"
    assert (image.config["Cmd"], image.config["WorkingDir"]) == (["fwatchdog"], "/home/app")
    assert "8080/tcp" in image.config["ExposedPorts"]
    assert {"fprocess=python index.py", "mode=http"} <= set(image.environ)


def test_image_holds_no_compiler_and_nothing_of_pip_outside_of_its_environment(image: Image) -> None:
    assert not [name for name in ("gcc", "cc", "make") if (image.root / "usr" / "bin" / name).exists()]
    assert not list((image.root / "root").glob(".cache"))
    assert list((image.root / "opt/venv").glob("lib/python3*/site-packages/granian"))


def test_image_answers(function: Running) -> None:
    assert "<html" in function.get("/").text
    assert function.get("/openapi.json").json()["openapi"][:2] == "3."
    assert function.get("/_/ready").status_code == 200


def test_image_runs_as_nobody_that_may_do_anything(function: Running) -> None:
    status = process_of(function) / "status"
    lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
    assert set(lines["Uid"].split()) == set(lines["Gid"].split()) == {"12000"}
    assert {int(lines[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert lines["NoNewPrivs"] == "1"


def test_root_of_the_image_is_read_only(function: Running, image: Image) -> None:
    mounted = [line.split() for line in (process_of(function) / "mountinfo").read_text().splitlines()]
    root = next(fields for fields in reversed(mounted) if fields[4] == "/")
    assert "ro" in root[5].split(",")
    told = subprocess.run(
        contained(image, "sh", "-c", "touch /tmp/here && ! touch /home/app/here 2>&1"),
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (told.returncode, "Read-only file system" in told.stdout) == (0, True), told


def test_image_stops_when_it_is_told(function: Running) -> None:
    """After the time in which a gateway learns of it; so this is the last test."""
    process = process_of(function)
    os.kill(int(process.name), 15)
    wait_for(lambda: function.process.poll() is not None, 20, "the end")
    assert function.process.returncode == 0, function.log.read_text()


def process_of(function: Running) -> Path:
    """The function itself, the innermost child of what was started."""
    pid = str(function.process.pid)
    while children := (Path("/proc") / pid / "task" / pid / "children").read_text().split():
        pid = children[0]
    return Path("/proc") / pid
