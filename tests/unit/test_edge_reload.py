"""What `make edge-reload` says of a new kong.yml."""

from __future__ import annotations

import yaml

from localfaas.edge.admin_config import expanded
from localfaas.edge.parse import parse
from localfaas.edge_reload import Entities, changes

FILE = """
_format_version: "3.0"
services:
- name: shop
  url: http://10.0.0.1/shop
  routes:
  - name: shop
    paths: [/shop]
    plugins: [{name: rate-limiting, config: {minute: 20}}]
upstreams:
- name: pool
  targets: [{target: "10.0.0.2:80"}]
plugins: [{name: cors, config: {origins: [http://localhost:3000]}}]
"""


def entities(text: str) -> Entities:
    document = yaml.safe_load(expanded(parse(text)))
    kinds = (kind for kind in document if not kind.startswith("_"))
    return {(kind, item["id"]): item for kind in kinds for item in document[kind]}


def changed(old: str, new: str) -> list[str]:
    return list(changes(entities(FILE), entities(FILE.replace(old, new))))


def test_same_entities_are_no_change() -> None:
    assert changed("_format_version", "# a comment\n_format_version") == []


def test_changed_fields_are_told_with_their_values() -> None:
    assert changed("minute: 20", "minute: 30") == [
        "~ plugin rate-limiting of route shop: config.minute 20 → 30"
    ]
    assert changed("10.0.0.1/shop", "10.0.0.9/") == [
        '~ service shop: host "10.0.0.1" → "10.0.0.9", path "/shop" → "/"'
    ]


def test_long_values_are_only_said_to_have_changed() -> None:
    assert changed("http://localhost:3000", "http://127.0.0.1:5173") == ["~ plugin cors: config.origins"]


def test_what_is_new_or_gone_is_named_with_what_it_belongs_to() -> None:
    assert changed("10.0.0.2:80", "10.0.0.3:80") == [
        "- target 10.0.0.2:80 of upstream pool",
        "+ target 10.0.0.3:80 of upstream pool",
    ]
    assert changed("plugins: [{name: cors", "_ignore: [{name: cors") == ["- plugin cors"]
