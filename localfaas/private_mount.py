"""Become a command that finds a folder under a path of its own: `private_mount.py FOLDER PATH COMMAND [ARGUMENT…]`.

OpenFaaS' functions read their secrets at `/var/openfaas/secrets`. Here each replica sees its own folder there, in a
mount namespace of its own: no other process sees it, nothing of the machine's files changes, and it is gone with the
process. As root the namespace is made directly, else inside a user namespace in which one is who one was. Where the
machine allows neither, one line of the log says so, and the command starts without.

Needs nothing but Python, so that it starts in milliseconds; no process stays behind: the command replaces it.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SLAVE = 0x80000


def command_line(folder: str, path: str, command: Sequence[str]) -> list[str]:
    """What supervisord starts to have `command` see `folder` at `path`."""
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), folder, path, *command]  # noqa: PTH100


def main() -> None:
    folder, path, *command = sys.argv[1:]
    here = os.getcwd()  # noqa: PTH109 - pathlib would cost more than all the rest
    if _is_possible(folder, path):
        place(folder, path)
        os.chdir(here)  # in the new namespace
    try:
        os.execvp(command[0], command)  # noqa: S606  # nosec B606 # becoming the command is the point
    except OSError as exc:
        raise SystemExit(f"{command[0]}: {exc.strerror}") from exc


def place(folder: str, path: str) -> None:
    """Show `folder` at `path` to this process and its children alone. Raises OSError; then half of it may be done."""
    _new_namespace()
    _mount("", "/", "", MS_REC | MS_SLAVE)
    if not os.path.isdir(path):  # noqa: PTH112
        _make(path)
    _mount(folder, path, "", MS_BIND)


def _is_possible(folder: str, path: str) -> bool:
    """Try it in a child: half a namespace cannot be left again."""
    child = os.fork()
    if child == 0:
        code = 1
        with suppress(BaseException):
            try:
                place(folder, path)
                code = 0
            except OSError as exc:
                print(f"{path} cannot be made for this function alone ({exc}): read {folder}", flush=True)
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _new_namespace() -> None:
    try:
        _check(_libc.unshare(CLONE_NEWNS), "unshare")
    except PermissionError:
        user, group = os.geteuid(), os.getegid()
        _check(_libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare")
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123
                file.write(text)


def _make(path: str) -> None:
    """Make an empty folder at `path` without writing to a disk.

    The nearest folder that is there is covered by one in memory, in which all that it holds is mounted again.
    """
    parent = os.path.realpath(path)
    while not os.path.isdir(parent):  # noqa: PTH112
        parent = os.path.dirname(parent)  # noqa: PTH120
    covered = os.open(parent, os.O_PATH | os.O_DIRECTORY)
    listing = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    _mount("tmpfs", parent, "tmpfs", 0, "mode=755")
    for name in os.listdir(listing):  # noqa: PTH208
        source, target = f"/proc/self/fd/{covered}/{name}", f"{parent}/{name}"
        mode = os.lstat(source).st_mode
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(source), target)  # noqa: PTH115, PTH211
            continue
        if stat.S_ISDIR(mode):
            os.mkdir(target)  # noqa: PTH102
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
        _mount(source, target, "", MS_BIND | MS_REC)
    os.close(listing)
    os.close(covered)
    os.makedirs(path)  # noqa: PTH103


_libc = ctypes.CDLL(None, use_errno=True)


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = [word.encode() for word in (source, target, kind)]
    _check(_libc.mount(*words, ctypes.c_ulong(flags), data.encode()), f"mount {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
