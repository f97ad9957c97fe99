"""kong/README.md tells of every field and plugin of Kong 3.9 what the edge does with it, and tells the truth."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from localfaas.edge import KongConfigError, refused
from localfaas.edge.kinds import PLUGIN_FRAME
from localfaas.edge.parse import ENTITIES, parse
from localfaas.edge.plugins import KINDS
from localfaas.edge.schema import Flag, ListOf, Number, Record, Type
from tests.support.edge import PROJECT

README = (PROJECT / "kong" / "README.md").read_text()
SAME, DIFFERS, REFUSED = "same", "differs", "refused"
BUNDLED = """
acl acme ai-prompt-decorator ai-prompt-guard ai-prompt-template ai-proxy ai-request-transformer ai-response-transformer
aws-lambda azure-functions basic-auth bot-detection correlation-id cors datadog file-log grpc-gateway grpc-web hmac-auth
http-log ip-restriction jwt key-auth ldap-auth loggly oauth2 opentelemetry post-function pre-function prometheus
proxy-cache rate-limiting redirect request-size-limiting request-termination request-transformer response-ratelimiting
response-transformer session standard-webhooks statsd syslog tcp-log udp-log zipkin
""".split()  # noqa: SIM905
"""Kong 3.9's `BUNDLED_PLUGINS` (kong/constants.lua)."""
HEADINGS = {"services": "Services", "routes": "Routes", "upstreams": "Upstreams", "targets": "Targets", "plugins": "Plugin entries"}  # fmt: skip


@dataclass(frozen=True)
class Told:
    """One row of a table: what it is about, the word, the text."""

    names: tuple[str, ...]
    word: str
    text: str


def table(heading: str) -> list[Told]:
    section = README.split(f"\n### {heading}\n", 1)[1].split("\n### ", 1)[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return [
        Told(tuple(re.findall(r"`([^`]+)`", names)), word.strip(), " | ".join(rest).strip())
        for names, word, *rest in rows
    ]


def told_of(heading: str, name: str) -> Told:
    """The one row that is about `name`; `a.*` is about all that `a` holds."""
    found = [
        row
        for row in table(heading)
        if any(own == name or (own.endswith(".*") and name.startswith(own[:-1])) for own in row.names)
    ]
    assert len(found) == 1, f"{heading}: {len(found)} rows tell of {name}"
    return found[0]


def leaves(fields: Mapping[str, Type], prefix: str = "") -> Iterator[tuple[str, Type]]:
    for name, kind in fields.items():
        if isinstance(kind, Record) and kind.fields:
            yield from leaves(kind.fields, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", kind


FIELDS = [
    (collection, name, kind)
    for collection, record in ENTITIES.items()
    for name, kind in leaves(PLUGIN_FRAME if collection == "plugins" else record.fields)
]
PLUGIN_FIELDS = [(name, field, kind) for name, plugin in KINDS.items() for field, kind in leaves(plugin.config.fields)]  # fmt: skip


@pytest.mark.parametrize(("collection", "name", "kind"), FIELDS)
def test_field_has_a_row_that_tells_what_the_code_does(collection: str, name: str, kind: Type) -> None:
    row = told_of(HEADINGS[collection], name)
    assert (row.word == REFUSED) is kind.unsupported
    assert row.word in (SAME, DIFFERS, REFUSED)
    if kind.unsupported:
        assert row.text == refused.FIELDS[f"{collection}.{name}"]


@pytest.mark.parametrize("collection", HEADINGS)
def test_no_row_is_about_a_field_that_is_not_there(collection: str) -> None:
    known = {name for own, name, _ in FIELDS if own == collection} | {"config"}
    for row in table(HEADINGS[collection]):
        for name in row.names:
            assert name in known or (name.endswith(".*") and any(own.startswith(name[:-1]) for own in known))


def test_every_bundled_plugin_has_one_row_and_is_either_there_or_refused() -> None:
    assert sorted([*KINDS, *refused.PLUGINS]) == BUNDLED
    assert sorted(name for row in table("Bundled plugins") for name in row.names) == BUNDLED


@pytest.mark.parametrize("name", KINDS)
def test_plugin_that_is_there_names_its_refused_fields(name: str) -> None:
    row = told_of("Bundled plugins", name)
    assert row.word in (SAME, DIFFERS)
    named = (
        re.findall(r"`([^`]+)`", re.split("refused fields?:", row.text)[1])
        if "refused field" in row.text
        else []
    )
    assert named == [field for plugin, field, kind in PLUGIN_FIELDS if plugin == name and kind.unsupported]


def refusal(document: dict[str, Any]) -> list[str]:
    with pytest.raises(KongConfigError) as caught:
        parse(yaml.safe_dump({"_format_version": "3.0", **document}))
    return [str(fault) for fault in caught.value.faults]


def says_instead(faults: list[str], place: str, instead: str) -> bool:
    """Whether a fault has the line, the place, and ends in what to use."""
    ending = f"{refused.NOT_SUPPORTED}; {instead}"
    return any(
        re.match(rf"line \d+: {re.escape(place)}: ", fault) and fault.endswith(ending) for fault in faults
    )


@pytest.mark.parametrize("name", refused.PLUGINS)
def test_refused_plugin_is_refused_by_name_with_what_to_use(name: str) -> None:
    row = told_of("Bundled plugins", name)
    assert (row.word, row.text) == (REFUSED, refused.PLUGINS[name])
    faults = refusal({"plugins": [{"name": name}]})
    assert says_instead(faults, "plugins.1.name", row.text)
    assert f"'{name}'" in faults[0]


@pytest.mark.parametrize("name", refused.COLLECTIONS)
def test_refused_entity_is_refused_by_name_with_what_to_use(name: str) -> None:
    row = told_of("Other entities", name)
    assert (row.word, row.text) == (REFUSED, refused.COLLECTIONS[name])
    assert says_instead(refusal({name: [{}]}), name, row.text)


def other_than(kind: Type) -> Any:
    """A value of this kind that is not its default."""
    if isinstance(kind, Flag):
        return not kind.default
    if isinstance(kind, Number):
        return 5
    return ["a:1"] if isinstance(kind, ListOf) else "x"


REFUSED_FIELDS = [
    *((collection, name, kind) for collection, name, kind in FIELDS if kind.unsupported),
    *(
        (f"plugins {plugin}", f"config.{name}", kind)
        for plugin, name, kind in PLUGIN_FIELDS
        if kind.unsupported
    ),
]


@pytest.mark.parametrize(("owner", "name", "kind"), REFUSED_FIELDS)
def test_refused_field_is_refused_by_name_with_what_to_use(owner: str, name: str, kind: Type) -> None:
    collection, _, plugin = owner.partition(" ")
    value = other_than(kind)
    for part in reversed(name.split(".")):
        value = {part: value}
    own = {"name": plugin or "cors"} if collection == "plugins" else {"name": "a"}
    faults = refusal({collection: [{**own, **value}]})
    assert says_instead(faults, f"{collection}.1.{name}", refused.FIELDS[f"{collection}.{name}"])


def test_nothing_is_called_refused_that_is_not() -> None:
    known = {f"{owner.split()[0]}.{name}" for owner, name, _ in REFUSED_FIELDS}
    assert set(refused.FIELDS) == known
