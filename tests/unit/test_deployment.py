"""A deployment is read, refused and written as OpenFaaS Community Edition does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localfaas import gojson
from localfaas.deployment import (
    PORT_ANNOTATION,
    DeploymentRefused,
    asked_replicas,
    scale_factor,
    scale_max,
    scale_min,
    validate,
)

FULL: dict[str, Any] = {
    "service": "cart",
    "image": "cart:1.0",
    "namespace": "openfaas-fn",
    "envProcess": "python index.py",
    "envVars": {"max_inflight": "16"},
    "constraints": ["zone=a"],
    "secrets": ["cart-db"],
    "labels": {"com.openfaas.scale.min": "3"},
    "annotations": {"prometheus.io.scrape": "true", "localfaas/port": "8008"},
    "limits": {"memory": "128Mi", "cpu": "500m"},
    "requests": {"memory": "64Mi"},
    "readOnlyRootFilesystem": True,
}


def refusal(**changes: Any) -> str:
    with pytest.raises(DeploymentRefused) as caught:
        validate({"service": "cart", "image": "cart:1.0", **changes})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_full_deployment_survives_reading_and_writing() -> None:
    assert validate(FULL).to_json() == FULL


def test_what_is_empty_is_not_written() -> None:
    body = {"service": "cart", "image": "cart:1.0", "labels": None, "annotations": {}, "network": "ignored"}
    assert validate(body).to_json() == {"service": "cart", "image": "cart:1.0", "namespace": "openfaas-fn"}


def test_keys_are_read_in_any_case() -> None:
    assert validate({"Service": "cart", "IMAGE": "i", "envprocess": "p"}).env_process == "p"


@pytest.mark.parametrize("name", ["", "a" * 64, "Cart", "-cart", "cart-", "a_b", "a.b", "a/b", "é", "a\n"])
def test_a_name_that_is_no_dns_label_is_refused(name: str) -> None:
    message = refusal(service=name)
    assert message.startswith("validation failed: service: ")


@pytest.mark.parametrize("name", ["a", "a" * 63, "a-b", "9", "0-9"])
def test_a_dns_label_names_a_function(name: str) -> None:
    assert validate({"service": name, "image": "i"}).service == name


def test_the_provider_s_messages() -> None:
    assert refusal(service="A") == "validation failed: service: (A) is invalid, must be a valid DNS entry"
    assert refusal(image="") == "validation failed: image: is required"
    assert refusal(service=None) == "validation failed: service: is required"
    assert refusal(namespace="other") == "namespace must be: openfaas-fn"


def test_the_namespace_of_the_query_wins() -> None:
    with pytest.raises(DeploymentRefused, match="namespace must be"):
        validate({"service": "a", "image": "i", "namespace": "openfaas-fn"}, namespace="other")


@pytest.mark.parametrize(
    "body",
    [
        [],
        "text",
        3,
        {"service": 3},
        {"labels": {"a": 1}},
        {"labels": []},
        {"secrets": "one"},
        {"secrets": [1]},
        {"readOnlyRootFilesystem": "true"},
        {"limits": {"memory": 5}},
    ],
)
def test_a_wrong_json_type_is_refused(body: object) -> None:
    with pytest.raises(DeploymentRefused, match=r"^failed to unmarshal request: "):
        validate(body)


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ({"com.openfaas.scale.zero": "true"}, "not available for Community Edition"),
        ({"com.openfaas.scale.zero-duration": ""}, "not available for Community Edition"),
        ({"com.openfaas.scale.target": "50"}, "not available for Community Edition"),
        ({"com.openfaas.scale.type": "rps"}, "not available for Community Edition"),
        ({"com.openfaas.scale.max": "6"}, "is set too high for Community Edition"),
        ({"com.openfaas.scale.min": "6"}, "is set too high for Community Edition"),
        ({"com.openfaas.scale.factor": "0"}, "must be from 1 to 100"),
        ({"com.openfaas.scale.factor": "-1"}, "must be from 1 to 100"),
        ({"com.openfaas.scale.factor": "101"}, "must be from 1 to 100"),
        ({"com.openfaas.scale.min": "3", "com.openfaas.scale.max": "2"}, "must not be above"),
        ({"com.openfaas.scale.max": "0"}, "must not be above"),
    ],
)
def test_scaling_labels_that_cannot_work_are_refused(labels: dict[str, str], complaint: str) -> None:
    message = refusal(labels=labels)
    assert message.startswith("validation failed: com.openfaas.scale.")
    assert complaint in message


def test_scaling_labels_are_read_with_openfaas_defaults() -> None:
    assert (scale_min({}), scale_max({}), scale_factor({})) == (1, 5, 10)
    labels = {
        "com.openfaas.scale.min": "2",
        "com.openfaas.scale.max": "4",
        "com.openfaas.scale.factor": "50",
        "com.openfaas.scale.zero": "false",
    }
    assert (scale_min(labels), scale_max(labels), scale_factor(labels)) == (2, 4, 50)
    words = dict.fromkeys(labels, "many")
    assert (scale_min(words), scale_max(words), scale_factor(words)) == (1, 5, 10)
    assert validate({"service": "a", "image": "i", "labels": labels}).labels == labels


@pytest.mark.parametrize(
    ("label", "replicas"), [(None, None), ("3", 3), ("0", None), ("-2", None), ("x", None)]
)
def test_a_deploy_sets_replicas_only_by_a_usable_minimum(label: str | None, replicas: int | None) -> None:
    assert asked_replicas({"com.openfaas.scale.min": label} if label else {}) == replicas


@pytest.mark.parametrize(
    "changes",
    [
        {"annotations": {"topic": "a,b"}},
        {"annotations": {"eks.amazonaws.com/role": "x"}},
        {"annotations": {"cloud.gke.io/x": "x"}},
        {"annotations": {"localfaas/port": "80"}},
        {"annotations": {"localfaas/port": "65530"}},
        {"annotations": {"localfaas/port": "eight"}},
        {"annotations": {"not a name": ""}},
        {"labels": {"a": "not a value"}},
        {"labels": {"a": "x" * 64}},
        {"limits": {"memory": "lots"}},
        {"requests": {"cpu": "5 m"}},
        {"envVars": {"A=B": "1"}},
        {"envVars": {"": "1"}},
        {"envVars": {"A": "\0"}},
    ],
)
def test_what_could_not_run_is_refused(changes: dict[str, Any]) -> None:
    assert refusal(**changes).startswith("failed create Deployment spec: ")


@pytest.mark.parametrize("quantity", ["128Mi", "500m", "0.5", "1e3", ".5", "2", "1G", "100k"])
def test_kubernetes_quantities_are_accepted(quantity: str) -> None:
    assert validate({"service": "a", "image": "i", "limits": {"memory": quantity}}).limits == {
        "memory": quantity
    }


@pytest.mark.parametrize("spelling", ["prometheus.io.scrape", "prometheus.io/scrape"])
def test_either_spelling_asks_for_scraping(spelling: str) -> None:
    assert validate({"service": "a", "image": "i", "annotations": {spelling: "true"}}).scraped
    assert not validate({"service": "a", "image": "i", "annotations": {spelling: "false"}}).scraped


@pytest.mark.parametrize(("text", "limit"), [("16", 16), ("0", 0), ("-1", 0), ("many", 0)])
def test_max_inflight_is_read_as_the_watchdog_does(text: str, limit: int) -> None:
    assert validate({"service": "a", "image": "i", "envVars": {"max_inflight": text}}).max_inflight == limit


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b'{"a":NaN}', b"[" * 100_000, b"9" * 5000, b"{} {}"])
def test_bytes_that_are_not_json_are_one_kind_of_error(raw: bytes) -> None:
    with pytest.raises(gojson.BadJson):
        gojson.loads(raw)


def test_text_that_is_not_unicode_can_still_be_written() -> None:
    body = gojson.loads(b'{"service":"a","image":"i","envVars":{"\\ud800":"\\udfff"}}')
    with pytest.raises(DeploymentRefused):
        validate(body)
    image = validate(gojson.loads(b'{"service":"a","image":"\\ud800"}')).image
    assert json.dumps(image).encode()
    assert image == "\ufffd"


def test_the_extra_replica_of_a_replacement_has_a_port_too() -> None:
    def annotated(port: int) -> dict[str, object]:
        return {"service": "a", "image": "i", "annotations": {PORT_ANNOTATION: str(port)}}

    validate(annotated(65535 - 50))
    with pytest.raises(DeploymentRefused, match="must be a port from 1024 to 65485"):
        validate(annotated(65535 - 49))
