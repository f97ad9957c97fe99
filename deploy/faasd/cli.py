"""`python -m deploy.faasd`: writes what a single server with faasd needs beside the images. docs/faasd.md says what to do with it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from deploy.faasd import overlay, secrets
from deploy.faasd.overlay import PROJECT, OverlayError, Sources
from deploy.kubernetes import versions
from deploy.kubernetes.secrets import SecretsError
from localfaas.stack import StackError, load_stack
from localfaas.substitution import substitute

DIRECTORY = Path(".local") / "faasd"


def main(arguments: list[str] | None = None) -> int:
    """0 when everything is written; else the reason is on stderr."""
    given = _parser(os.environ).parse_args(arguments)
    environ = {name: value for name, value in os.environ.items() if name in ("EDGE_URL",)}
    environ |= {"REGISTRY": given.registry, "TAG": given.tag}
    try:
        sources = read(given.compose, environ)
        texts = files(sources)
        written = secrets.write(given.out, sources.functions)
    except (OSError, OverlayError, SecretsError, StackError) as exc:
        print(f"faasd: {exc}", file=sys.stderr)
        return 1
    for name, text in texts.items():
        (given.out / name).write_text(text)
    print("\n".join(f"{given.out}/{name}" for name in [*texts, *sorted(written)]))
    return 0


def read(compose: Path, environ: Mapping[str, str]) -> Sources:
    """The sources; `environ` is what stack.yml is read with, and `compose` the server's docker-compose.yaml."""
    text = (PROJECT / "stack.yml").read_text()
    return Sources(
        kong=yaml.safe_load((PROJECT / "kong" / "kong.yml").read_text()),
        stack=yaml.safe_load(substitute(text, environ)),
        functions=load_stack(PROJECT / "stack.yml", environ).functions,
        versions=versions.load(),
        compose=yaml.safe_load(compose.read_text()),
    )


def files(sources: Sources) -> dict[str, str]:
    """Every file that is no secret, by name."""
    return {
        "stack.yml": overlay.dump(overlay.stack(sources), "stack.yml"),
        "kong.yml": overlay.dump(overlay.kong(sources), "kong/kong.yml"),
        "kong.conf": (PROJECT / "kong" / "kong.conf").read_text(),
        "docker-compose.yaml": overlay.dump(
            overlay.compose(sources), "the server's docker-compose.yaml, stack.yml and deploy/kubernetes"
        ),
    }


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.faasd", description=__doc__)
    parser.add_argument(
        "--compose",
        type=Path,
        required=True,
        help="a copy of the server's /var/lib/faasd/docker-compose.yaml",
    )
    parser.add_argument(
        "--registry",
        default=environ.get("REGISTRY") or None,
        required=not environ.get("REGISTRY"),
        help="REGISTRY: where images are pushed and pulled",
    )
    parser.add_argument(
        "--tag", default=environ.get("TAG") or "latest", help="TAG of the images (%(default)s)"
    )
    parser.add_argument("--out", type=Path, default=DIRECTORY, help="the folder to write (%(default)s)")
    return parser
