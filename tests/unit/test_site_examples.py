"""Requests as commands: what a shell would take for something of its own is quoted, and variables are not."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Any

import pytest

from functions.site.examples import commands, sources_of, used_by, with_examples

EDGE = "http://shop.example:8000"


def operation(request: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"operationId": "a.do", "responses": {"200": {}}, "x-request": request, **more}


def typed(request: dict[str, Any], path: str = "/api/a", method: str = "GET", **more: Any) -> str:
    return commands(path, method, operation(request, **more), EDGE)


def test_a_read_is_one_plain_line() -> None:
    assert typed({}) == f"curl {EDGE}/api/a"
    assert typed({"path": {"id": "7"}}, "/api/a/{id}") == f"curl {EDGE}/api/a/7"


def test_a_query_is_quoted_and_may_name_one_thing_twice() -> None:
    line = typed({"query": {"sku": ["A 1", "B"], "limit": 2}})
    assert line == f"curl '{EDGE}/api/a?sku=A+1&sku=B&limit=2'"


def test_a_post_bears_token_key_and_body() -> None:
    key = {"name": "Idempotency-Key", "in": "header", "required": True}
    line = typed({"token": "hq", "body": {"a": 1}}, method="POST", parameters=[key])
    assert line.split(" \\\n  ") == [
        f"curl {EDGE}/api/a", '-H "Authorization: Bearer $hq"', '-H "Idempotency-Key: $(date +%s%N)"',
        "-H 'Content-Type: application/json'", """-d '{"a": 1}'""",
    ]  # fmt: skip


def test_other_methods_and_a_post_without_a_body_are_named() -> None:
    assert typed({}, method="POST") == f"curl -X POST {EDGE}/api/a"
    assert typed({"body": {}}, method="PUT").startswith(f"curl -X PUT {EDGE}/api/a")


@pytest.mark.parametrize("text", ["it's", 'a "quoted" word', "$name's", "été"])
def test_a_shell_gives_curl_the_body_that_is_meant(text: str) -> None:
    long = {"text": text, "sum": {"number": "$total"}, "why": "w" * 90}
    for body in ({"text": text}, long):
        line = typed({"body": body}, method="POST").replace("curl", "printf '%s\\n'", 1)
        said = subprocess.run(
            ["bash", "-c", f"name=Ada total=42\n{line} | tail -n +5"],
            capture_output=True,
            text=True,
            check=True,
        )
        expected = {**body, "text": text.replace("$name", "Ada")}
        assert json.loads(said.stdout) == {**expected, **({"sum": 42} if "sum" in body else {})}


def test_a_version_in_a_header_keeps_its_quotes() -> None:
    line = typed({"headers": {"If-Match": '"$version"'}}, method="DELETE")
    assert shlex.split(line.replace("\\\n", ""))[-1] == 'If-Match: "$version"'


def test_what_is_taken_from_the_answer_is_shown_and_kept() -> None:
    lines = typed({"given": {"jar": "$(mktemp)"}, "jar": True, "takes": {"sale": "sale_id"}}).splitlines()
    assert lines == [
        "jar=$(mktemp)", f"answer=$(curl -s {EDGE}/api/a \\", '  -b $jar -c $jar); echo "$answer"',
        "sale=$(pick sale_id)",
    ]  # fmt: skip


def test_variables_are_counted_once_and_ones_own_not_at_all() -> None:
    request = {
        "token": "hq",
        "given": {"code": "x"},
        "path": {"id": "$sale"},
        "body": ["$code", "$sale", "$till"],
    }
    assert used_by(request) == ["hq", "sale", "till"]


def shop() -> dict[str, Any]:
    """A document with an operation that makes something, and one that changes it."""
    answer = {"content": {"application/json": {"example": {"id": 7, "version": 1}}}}
    body = {"content": {"application/json": {}}}
    make = {"body": {}, "takes": {"thing": "id", "version": "version"}}
    change = {
        "path": {"id": "$thing"}, "body": {"was": {"number": "$version"}}, "takes": {"version": "version"},
        "ends": ["thing"],
    }  # fmt: skip
    place = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
    return {"paths": {
        "/api/a/{id}": {"put": {**operation(change), "operationId": "a.change", "parameters": [place],
                                "requestBody": body}},
        "/api/a": {"post": {**operation(make), "operationId": "a.make", "requestBody": body,
                            "responses": {"201": answer}}},
    }}  # fmt: skip


def test_a_variable_comes_from_what_made_the_thing_and_not_from_what_changed_it() -> None:
    found = sources_of(shop())
    assert {name: (source.operation, source.value) for name, source in found.items()} == {
        "thing": ("a.make", 7), "version": ("a.make", 1),
    }  # fmt: skip


def test_the_document_shows_the_body_as_recorded_and_leaves_the_parameter_to_who_tries_it() -> None:
    change = with_examples(shop(), EDGE)["paths"]["/api/a/{id}"]["put"]
    assert change["requestBody"]["content"]["application/json"]["example"] == {"was": 1}
    assert "example" not in change["parameters"][0]
    assert [need["operation"] for need in change["x-needs"]] == ["POST /api/a", "POST /api/a"]
    assert change["x-ends"] == ["thing"]
    assert "x-request" not in change


def test_an_operation_without_an_example_stays_as_it_is() -> None:
    plain = {"paths": {"/api/a": {"get": {"operationId": "a.read", "responses": {}}}}}
    assert with_examples(plain) == plain
