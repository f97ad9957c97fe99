"""What we send for a stack file is what faas-cli sends; every rule here was seen on the wire from the real one."""

import json
from pathlib import Path
from typing import Any

import pytest

from localfaas.deployment import FunctionDeployment, validate
from localfaas.stack import load_stack

ROOT = Path(__file__).parents[2]
ALWAYS = {"service": "f", "image": "i", "labels": {}, "annotations": {}}

ROWS: list[tuple[str, dict[str, Any]]] = [
    ("image: i", {}),
    ("image: example.org/i", {"image": "example.org/i"}),
    ("image: i\nnamespace: openfaas-fn", {"namespace": "openfaas-fn"}),
    ("image: i\nfprocess: cat", {"envProcess": "cat"}),
    ("image: i\nlang: own\nhandler: ./f", {"envProcess": "python index.py"}),
    ("image: i\nlang: own\nhandler: ./f\nfprocess: cat", {"envProcess": "cat"}),
    ("image: i\nlang: silent\nhandler: ./f", {}),
    ("image: i\nlang: dockerfile\nhandler: ./f", {}),
    ("image: i\nlang: Dockerfile\nhandler: ./f\nfprocess: cat", {"envProcess": "cat"}),
    (
        "image: i\nenvironment: {a: 5, b: true, c: 1.50, d: '', e: null, f: yes, g: ~, h: 'x y'}",
        {"envVars": {"a": "5", "b": "true", "c": "1.50", "d": "", "e": "", "f": "yes", "g": "", "h": "x y"}},
    ),
    ("image: i\nenvironment: {}", {}),
    ("image: i\nenvironment_file: [env.yml]", {"envVars": {"a": "file", "n": "1"}}),
    ("image: i\nenvironment: {a: inline, z: z}\nenvironment_file: [env.yml]", {"envVars": {"a": "file", "n": "1", "z": "z"}}),
    ("image: i\nenvironment_file: [env.yml, env2.yml]", {"envVars": {"a": "second", "n": "1"}}),
    ("image: i\nenvironment_file: [env2.yml, env.yml]", {"envVars": {"a": "file", "n": "1"}}),
    ("image: i\nsecrets: [b, a]", {"secrets": ["b", "a"]}),
    ("image: i\nsecrets: []", {}),
    ("image: i\nlabels: {com.openfaas.scale.min: 3, x: true}", {"labels": {"com.openfaas.scale.min": "3", "x": "true"}}),
    ("image: i\nannotations: {topic: cron-function, schedule: '@every 5s', n: 8002}",
     {"annotations": {"topic": "cron-function", "schedule": "@every 5s", "n": "8002"}}),
    ("image: i\nconstraints: [node.role == worker]", {"constraints": ["node.role == worker"]}),
    ("image: i\nlimits: {memory: 128Mi, cpu: 0.5}", {"limits": {"memory": "128Mi", "cpu": "0.5"}}),
    ("image: i\nlimits: {memory: 128Mi}\nrequests: {cpu: 50m}", {"limits": {"memory": "128Mi"}, "requests": {"cpu": "50m"}}),
    ("image: i\nlimits: {}\nrequests: {cpu: '', memory: null}", {}),
    ("image: i\nreadonly_root_filesystem: true", {"readOnlyRootFilesystem": True}),
    ("image: i\nreadonly_root_filesystem: false", {}),
    (
        "image: i\nlang: own\nhandler: ./f\nbuild_args: {A: b}\nbuild_options: [dev]\nskip_build: true\nplatforms: linux/arm64",
        {"envProcess": "python index.py"},
    ),
    ("image: ${SERVER:-ghcr.io}/${OWNER}/i:${TAG:-1}", {"image": "ghcr.io/me/i:1"}),
    ("image: i\nenvironment: {a: '$${OWNER}', b: $OWNER, c: '${OWNER}', d: '${UNSET}'}",
     {"envVars": {"a": "${OWNER}", "b": "$OWNER", "c": "me", "d": ""}}),
    ("image: i\nenvironment: {é: façade}\nlabels: {x: ''}", {"envVars": {"é": "façade"}, "labels": {"x": ""}}),
]  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for language, text in (
        ("own", "language: own\nfprocess: python index.py\n"),
        ("silent", "language: silent\n"),
    ):
        (tmp_path / "template" / language).mkdir(parents=True)
        (tmp_path / "template" / language / "template.yml").write_text(text)
    (tmp_path / "f").mkdir()
    (tmp_path / "env.yml").write_text("environment:\n  a: file\n  n: 1\n")
    (tmp_path / "env2.yml").write_text("environment:\n  a: second\n")
    return tmp_path


@pytest.mark.parametrize(("keys", "sent"), ROWS)
def test_the_body_is_faas_clis(project: Path, keys: str, sent: dict[str, Any]) -> None:
    lines = "".join(f"    {line}\n" for line in keys.split("\n"))
    (project / "stack.yml").write_text(f"provider:\n  name: openfaas\nfunctions:\n  f:\n{lines}")
    stack = load_stack(project / "stack.yml", {"OWNER": "me"})
    assert stack.functions["f"].deployment() == ALWAYS | sent


def test_the_keys_stand_in_faas_clis_order(project: Path) -> None:
    (project / "stack.yml").write_text(
        "provider: {name: openfaas}\nfunctions:\n  f: {image: i, fprocess: cat, namespace: openfaas-fn, "
        "readonly_root_filesystem: true, requests: {cpu: 1}, limits: {memory: 1Gi}, constraints: [c], "
        "secrets: [s], environment: {a: b}}\n"
    )
    body = load_stack(project / "stack.yml", {}).functions["f"].deployment()
    assert list(body) == [
        *("service", "image", "namespace", "envProcess", "envVars", "constraints", "secrets", "labels"),
        *("annotations", "limits", "requests", "readOnlyRootFilesystem"),
    ]


def test_our_stack_file_is_accepted_by_the_community_edition_and_kept_whole() -> None:
    stack = load_stack(ROOT / "stack.yml", {})
    assert stack.functions
    assert stack.warnings == ()
    for function in stack.functions.values():
        body = function.deployment()
        kept = validate(json.loads(json.dumps(body)))
        assert isinstance(kept, FunctionDeployment)
        assert {**kept.to_json(), "namespace": body.get("namespace", "")} == {**body, "namespace": ""}


def test_our_stack_file_names_the_default_gateway_unless_told_otherwise() -> None:
    path = ROOT / "stack.yml"
    assert load_stack(path, {}).gateway == "http://127.0.0.1:8080"
    assert (
        load_stack(path, {"OPENFAAS_URL": "http://faas.example:31112"}).gateway == "http://faas.example:31112"
    )
