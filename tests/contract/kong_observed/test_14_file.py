"""Section 14: what a kong.yml may look like. (Its faults are in section 13.)"""

from __future__ import annotations

import pytest

from localfaas.edge.entities import entity_id
from tests.support.observed import Asked, Differs, HeldBy, Site, Table, cases

SECTION = 14
PARSED = "unit/test_kong_parse.py"
SERVICE = "{name: a, host: x}"


def accepted(text: str, *names: str) -> Asked:
    """Taken, with services of these names and no others."""
    services = {entity_id("services", name): {"name": name} for name in names}
    told = {"part": {"services": services}} if names else {}
    return Asked("/config", 201, "POST", data=text, kind="text/yaml", **told)


def refused(text: str, fields: dict[str, object]) -> Asked:
    return Asked("/config", 400, "POST", data=text, kind="text/yaml", part={"fields": fields})


HEAD = '_format_version: "3.0"\n'
TABLES = [
    Table(
        HEAD,
        {
            "14.1 the version is a quoted string, comments are free": [
                accepted(HEAD + f"# a comment\nservices: [{SERVICE}] # another\n", "a"),
                accepted('_format_version: "1.1"\n'),
                accepted('_format_version: "2.1"\n'),
                refused("_format_version: 3.0\n", {"_format_version": "expected a string"}),
            ],
            "14.2 anchors and merge keys work, and have a place of their own": [
                accepted(HEAD + f"_ignore: [{{x: &t {{retries: 1}}}}]\nservices: [{{<<: *t, name: a, host: x}}, {SERVICE.replace(': a', ': b')}]\n", "a", "b"),
                accepted(HEAD + "_comment: text\nservices: [{name: a, host: x, _comment: text, _ignore: [1]}]\n", "a"),
                refused(HEAD + "x-common: {}\n", {"x-common": "unknown field"}),
                refused(HEAD + "_info: {}\n", {"_info": "unknown field"}),
                accepted(HEAD + "_transform: false\n"),
                refused(HEAD + "_transform: x\n", {"_transform": "expected a boolean"}),
                HeldBy(PARSED, "test_anchors_merge_keys_comments_and_repeated_keys_work"),
            ],
            "14.3 a version alone is a valid file, JSON is YAML": [
                accepted(HEAD),
                accepted('{"_format_version": "3.0", "services": [{"name": "a", "host": "x"}]}', "a"),
            ],
            "14.4 what Kong exports can be read": [
                accepted(HEAD + "services: [{name: a, host: x, created_at: 1700000000, updated_at: 1700000000, tls_verify: ~, client_certificate: ~}]\n", "a"),
                accepted(HEAD + "services: [{id: 72734e2a-702d-5711-b9ef-697178108ad8, host: x}]\n"
                                "routes: [{name: r, paths: [/r], service: 72734e2a-702d-5711-b9ef-697178108ad8}]\n"
                                "plugins: [{name: cors, route: r, consumer: ~, created_at: 1}]\n"),
                accepted(HEAD + "services: [{name: a, host: x}]\nroutes: [{name: r, paths: [/r], service: {name: a}}]\n", "a"),
            ],
            "14.5 some faults pass without a word": [
                accepted(HEAD + "services: [{name: a, name: b, host: x}]\n", "b"),
                accepted(HEAD + "---\nservices: 7\n"),
                accepted(HEAD + "services: [{name: a, host: x, routes: [{name: r, paths: [/a]}, {name: s, paths: [/a]}]}]\n", "a"),
            ],
            "14.6 a file is checked before it is loaded": [Differs("`kong config parse`")],
        },
    )
]  # fmt: skip


@pytest.mark.parametrize(("config", "asked"), cases(TABLES))
def test_file_is_read_as_kong_reads_it(site: Site, config: str, asked: Asked) -> None:
    site.ask(config, asked)
