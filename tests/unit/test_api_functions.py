"""Deploying, listing, updating and removing functions over REST."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api, make_api

PATH = "/system/functions"


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return make_api(tmp_path)


def test_a_deploy_is_stored_and_answered_at_once(api: Api) -> None:
    response = api.deploy(labels={"com.openfaas.scale.min": "3"})
    assert (response.status_code, response.data) == (202, b"")
    desired = api.registry.get("cart")
    assert desired is not None
    assert (desired.layout, desired.replicas) == (Path("/layouts/cart:1"), 3)


def test_an_empty_list_is_a_list(api: Api) -> None:
    response = api.send("GET", PATH)
    assert (response.data, response.content_type) == (b"[]", "application/json")


def test_the_list_has_counts_and_the_single_status_has_not(api: Api) -> None:
    api.deploy(
        envVars={"A": "1"}, annotations={"x": "y"}, limits={"memory": "1Mi"}, envProcess="python index.py"
    )
    api.ready["cart"], api.counted["cart"] = 1, 7
    (listed,) = api.send("GET", PATH).json or []
    single = api.send("GET", "/system/function/cart?usage=1").json
    assert listed.pop("createdAt").endswith("Z")
    assert listed == {
        "name": "cart",
        "image": "cart:1",
        "namespace": "openfaas-fn",
        "envProcess": "python index.py",
        "envVars": {"A": "1"},
        "labels": {"faas_function": "cart"},
        "annotations": {"x": "y"},
        "limits": {"memory": "1Mi"},
        "invocationCount": 7,
        "replicas": 1,
        "availableReplicas": 1,
    }
    assert single is not None
    assert "invocationCount" not in single


def test_what_is_zero_is_left_out(api: Api) -> None:
    api.deploy()
    status = api.send("GET", "/system/function/cart").json
    assert status is not None
    assert list(status) == ["name", "image", "namespace", "labels", "replicas", "createdAt"]


def test_an_unknown_function_is_404_without_a_body(api: Api) -> None:
    response = api.send("GET", "/system/function/cart")
    assert (response.status_code, response.data) == (404, b"")


@pytest.mark.parametrize(
    ("body", "start"),
    [
        (b"{", "failed to unmarshal request: "),
        (b"", "failed to unmarshal request: "),
        (b"[]", "failed to unmarshal request: "),
        (b'{"service": 1}', "failed to unmarshal request: "),
        (b"{}", "validation failed: service: is required"),
        (b'{"service": "cart"}', "validation failed: image: is required"),
        (b'{"service": "cart", "image": "cart:1", "namespace": "x"}', "namespace must be: openfaas-fn"),
        (b'{"service": "cart", "image": "cart:1", "secrets": ["no"]}', "unable to fetch secrets: "),
        (
            b'{"service": "cart", "image": "nowhere"}',
            "image 'nowhere' is not known here: run `localfaas build`",
        ),
        (
            b'{"service": "cart", "image": "cart:1", "limits": {"cpu": "x"}}',
            "failed create Deployment spec: ",
        ),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_bad_deployment_is_one_line(api: Api, method: str, body: bytes, start: str) -> None:
    if method == "PUT":
        api.deploy()
    response = api.send(method, PATH, data=body)
    assert response.status_code == 400
    assert response.text.startswith(start)
    assert response.text.index("\n") == len(response.text) - 1
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_complaints_come_in_openfaas_order(api: Api) -> None:
    body: dict[str, Any] = {
        "service": "Cart",
        "image": "no",
        "namespace": "x",
        "secrets": ["no"],
        "limits": {"cpu": "x"},
    }
    expected = [
        ("service", "cart", "validation failed"),
        ("namespace", "", "namespace must be"),
        ("secrets", [], "unable to fetch secrets"),
        ("image", "cart:1", "image"),
        ("limits", {}, "failed create Deployment spec"),
    ]
    for key, good, complaint in expected:
        assert api.send("POST", PATH, body).text.startswith(complaint)
        body[key] = good
    assert api.send("POST", PATH, body).status_code == 202


def test_deploying_what_exists_is_500_as_in_openfaas(api: Api) -> None:
    api.deploy()
    response = api.deploy()
    assert response.status_code == 500
    assert response.text.startswith("unable create Deployment: ")
    assert response.text.endswith("already exists\n")


def test_the_sixteenth_function_is_refused(api: Api) -> None:
    for number in range(15):
        assert api.deploy(f"f{number}").status_code == 202
    response = api.deploy()
    assert response.status_code == 400
    assert response.text.startswith("unable to create function, maximum: 15, ")
    assert api.send("PUT", PATH, {"service": "f0", "image": "cart:2"}).status_code == 202


def test_updating_what_is_not_there_is_404_before_its_image_is_looked_at(api: Api) -> None:
    assert api.send("PUT", PATH, {"service": "cart", "image": "nowhere"}).status_code == 404


def test_an_update_replaces_everything_and_rolls(api: Api) -> None:
    api.deploy(envVars={"A": "1"}, labels={"a": "b"})
    before = api.registry.get("cart")
    assert api.send("PUT", PATH, {"service": "cart", "image": "cart:2"}).status_code == 202
    after = api.registry.get("cart")
    assert before is not None
    assert after is not None
    assert after.generation != before.generation
    assert (after.deployment.env_vars, after.deployment.labels, after.layout.name) == ({}, {}, "cart:2")


def test_the_platform_s_passwords_are_no_secrets_of_functions(api: Api) -> None:
    response = api.deploy(secrets=["basic-auth-password"])
    assert (response.status_code, response.text) == (
        400,
        "unable to fetch secrets: secrets 'basic-auth-password' not found\n",
    )


def test_a_removed_function_can_be_deployed_again_at_once(api: Api) -> None:
    api.deploy()
    response = api.send("DELETE", PATH, {"functionName": "cart"})
    assert (response.status_code, response.data) == (202, b"")
    assert api.deploy().status_code == 202


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b'{"functionName": ""}', b'{"functionName": 5}', b"[]"])
def test_a_bad_removal_is_400_without_a_body(api: Api, body: bytes) -> None:
    response = api.send("DELETE", PATH, data=body)
    assert (response.status_code, response.data) == (400, b"")


def test_removing_what_is_not_there_is_404(api: Api) -> None:
    response = api.send("DELETE", PATH, {"functionName": "cart"})
    assert response.status_code == 404
    assert response.text.endswith("\n")


@pytest.mark.parametrize("path", [PATH, "/system/function/cart"])
def test_only_the_default_namespace_is_there(api: Api, path: str) -> None:
    api.deploy()
    assert api.send("GET", f"{path}?namespace=openfaas-fn").status_code == 200
    response = api.send("GET", f"{path}?namespace=other")
    assert (response.status_code, response.text) == (400, "namespace must be: openfaas-fn\n")


def test_the_query_s_namespace_wins_over_the_body_s(api: Api) -> None:
    body = {"service": "cart", "image": "cart:1", "namespace": "other"}
    assert api.send("POST", f"{PATH}?namespace=openfaas-fn", body).status_code == 202
    assert api.send("DELETE", f"{PATH}?namespace=other", {"functionName": "cart"}).status_code == 400
