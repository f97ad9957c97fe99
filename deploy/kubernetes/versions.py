"""The versions of everything, from the one file in which they are written (`versions/kustomization.yaml`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parent / "versions" / "kustomization.yaml"


@dataclass(frozen=True)
class Versions:
    """Charts and tools by name; images by name, each as the reference under which it is pulled."""

    charts: Mapping[str, str]
    tools: Mapping[str, str]
    images: Mapping[str, str]
    kubernetes: str


def load(file: Path = FILE) -> Versions:
    """Read the file; what kustomize makes of its `images` is made here for those that no manifest names."""
    content: dict[str, Any] = yaml.safe_load(file.read_text())
    notes: dict[str, str] = content["metadata"]["annotations"]
    return Versions(
        charts=_below("chart/", notes),
        tools=_below("tool/", notes),
        images={image["name"]: _reference(image) for image in content["images"]},
        kubernetes=notes["kubernetes"],
    )


def parts(version: str) -> tuple[int, ...]:
    """The numbers of a version, to compare; a `v` before and words behind are left out."""
    found = re.search(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _below(prefix: str, notes: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in notes.items() if name.startswith(prefix)}


def _reference(image: Mapping[str, str]) -> str:
    digest = f"@{image['digest']}" if "digest" in image else ""
    return f"{image['name']}:{image['newTag']}{digest}"
