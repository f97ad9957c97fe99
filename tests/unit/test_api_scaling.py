"""Scaling by hand and by alerts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api, make_api


@pytest.fixture
def api(tmp_path: Path) -> Api:
    api = make_api(tmp_path)
    api.deploy()
    return api


def scale(api: Api, replicas: int) -> int:
    body = {"serviceName": "ignored", "replicas": replicas}
    return api.send("POST", "/system/scale-function/cart", body).status_code


@pytest.mark.parametrize(("asked", "got"), [(0, 1), (1, 1), (3, 3), (5, 5), (9, 5), (2**63, 5)])
def test_replicas_are_lifted_or_cut_to_one_to_five(api: Api, asked: int, got: int) -> None:
    assert scale(api, asked) == 202
    assert api.replicas_of() == got


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"replicas": -1}', b'{"replicas": 1.5}', b'{"replicas": "2"}']
)
def test_a_bad_body_is_openfaas_s_400(api: Api, body: bytes) -> None:
    response = api.send("POST", "/system/scale-function/cart", data=body)
    assert (response.status_code, response.text) == (400, "Error unmarshalling request body\n")


def test_an_unknown_function_is_404(api: Api) -> None:
    assert api.send("POST", "/system/scale-function/other", {"replicas": 2}).status_code == 404
    assert api.send("POST", "/system/scale-function/cart?namespace=x", {"replicas": 2}).status_code == 400


def alert(api: Api, *statuses: str, name: str = "cart.openfaas-fn") -> Any:
    alerts = [{"status": status, "labels": {"function_name": name, "alertname": "x"}} for status in statuses]
    return api.send("POST", "/system/alert", {"status": "firing", "alerts": alerts})


@pytest.mark.parametrize(
    ("labels", "sequence"),
    [
        ({}, [2, 3, 4, 5, 5]),
        ({"com.openfaas.scale.max": "4", "com.openfaas.scale.factor": "50"}, [3, 4, 4]),
        ({"com.openfaas.scale.factor": "20", "com.openfaas.scale.max": "5"}, [2, 3, 4, 5, 5]),
        ({"com.openfaas.scale.factor": "100"}, [5, 5]),
        ({"com.openfaas.scale.min": "2", "com.openfaas.scale.max": "2"}, [2, 2]),
    ],
)
def test_firing_alerts_climb_as_observed(tmp_path: Path, labels: dict[str, str], sequence: list[int]) -> None:
    api = make_api(tmp_path / "own")
    api.deploy(labels=labels)
    climbed = []
    for _ in sequence:
        response = alert(api, "firing")
        assert (response.status_code, response.data) == (200, b"")
        climbed.append(api.replicas_of())
    assert climbed == sequence
    alert(api, "resolved")
    assert api.replicas_of() == int(labels.get("com.openfaas.scale.min", "1"))


def test_each_alert_of_a_group_is_a_step(api: Api) -> None:
    alert(api, "firing", "firing")
    assert api.replicas_of() == 3


@pytest.mark.parametrize("name", ["", "other", "other.openfaas-fn", "cart.other", "."])
def test_alerts_for_unknown_functions_are_skipped(api: Api, name: str) -> None:
    assert alert(api, "firing", name=name).status_code == 200
    assert api.replicas_of() == 1


def test_a_name_without_namespace_is_the_default_one_s(api: Api) -> None:
    alert(api, "firing", name="cart")
    assert api.replicas_of() == 2


def test_an_alert_without_anything_is_fine(api: Api) -> None:
    assert api.send("POST", "/system/alert", {}).status_code == 200
    assert api.send("POST", "/system/alert", {"alerts": [{}]}).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"alerts": {}}', b'{"alerts": [3]}', b'"x"'])
def test_a_bad_alert_is_openfaas_s_400(api: Api, body: bytes) -> None:
    response = api.send("POST", "/system/alert", data=body)
    assert (response.status_code, response.text) == (400, "Unable to parse alert, bad format.")


def test_a_failed_scale_is_500_with_its_number(api: Api) -> None:
    api.deploy("other")

    def fail(name: str, replicas: int) -> None:
        raise OSError(28, "No space left on device")

    api.registry.scale = fail  # type: ignore[method-assign, assignment]
    response = alert(api, "firing")
    assert (response.status_code, response.text) == (
        500,
        "[0] unable to scale cart: No space left on device\n",
    )
