"""Section 10, the part of it that the edge supports: request-termination, response-transformer, ip-restriction."""

from __future__ import annotations

import pytest

from tests.support.observed import ABSENT, JSON_KIND, TEXT_KIND, Row, Site, Table, cases

SECTION = 10


def service(name: str, plugins: str) -> str:
    return (
        f'- {{name: {name}, url: "http://127.0.0.1:$UPSTREAM", routes: [{{name: {name}, paths: [/{name}], plugins: [{plugins}]}}]}}\n'
    )  # fmt: skip


TRANSFORM = (
    "{remove: {headers: [X-Gone]}, rename: {headers: ['X-Old:X-New']}, replace: {headers: ['X-Here:new', 'X-Absent:no']},"
    " add: {headers: ['Cache-Control:no-store', 'X-Added:a:b']}, append: {headers: ['X-More:two']}}"
)
CONFIG = (
    '_format_version: "3.0"\nservices:\n'
    + service("message", "{name: request-termination, config: {status_code: 403, message: 'no \"more\"'}}")
    + service("bare", "{name: request-termination}")
    + service("body", "{name: request-termination, config: {status_code: 200, body: '<p>back soon</p>', content_type: text/html, trigger: closed}}")
    + service("closed", "{name: request-termination, enabled: false}")
    + service("allowed", "{name: ip-restriction, config: {allow: [127.0.0.0/8]}}")
    + service("elsewhere", "{name: ip-restriction, config: {allow: [10.0.0.0/8, 192.168.1.1]}}")
    + service("denied", "{name: ip-restriction, config: {deny: [127.0.0.1], allow: [127.0.0.0/8], status: 404, message: nothing here}}")
    + service("guarded", "{name: ip-restriction, config: {deny: [127.0.0.1]}}, {name: cors}, {name: request-size-limiting, config: {allowed_payload_size: 1, size_unit: bytes}}")
    + service("transformed", f"{{name: response-transformer, config: {TRANSFORM}}}")
)  # fmt: skip
SENT = {"X-Gone": "1", "X-Old": "kept", "X-Here": "old", "Cache-Control": "max-age=1", "X-More": "one"}
BODY = {"text": "<p>back soon</p>", "has": {"Content-Type": "text/html; charset=UTF-8"}}
TABLES = [
    Table(
        CONFIG,
        {
            "10.1 a termination answers with its message, as JSON, without the upstream": [
                Row("/message", 403, headers={"Accept": "text/html"}, text='{"message":"no \\"more\\""}',
                    has={"Content-Type": JSON_KIND, "Via": ABSENT}),
                Row("/bare", 503, text='{"message":"Service unavailable"}'),
            ],
            "10.2 or with a body of its own, when its trigger is there": [
                Row("/body", sees="/"),
                Row("/body?closed", **BODY),
                Row("/body?x=1&closed=2", **BODY),
                Row("/body", headers={"closed": "1"}, **BODY),
            ],
            "10.3 response headers are removed, renamed, replaced, added and appended": [
                Row("/transformed", given={"headers": SENT}, has={
                    "X-Gone": ABSENT, "X-Old": ABSENT, "X-New": "kept", "X-Here": "new", "X-Absent": ABSENT,
                    "Cache-Control": "max-age=1", "X-Added": "a:b", "X-More": ["one", "two"],
                }),
                Row("/transformed", has={"Cache-Control": "no-store", "X-Here": ABSENT}),
            ],
            "10.4 an address that is not allowed is refused": [
                Row("/allowed", sees="/"),
                Row("/elsewhere", 403, says="IP address not allowed: 127.0.0.1"),
                Row("/elsewhere", 403, headers={"X-Forwarded-For": "10.0.0.1", "X-Real-IP": "10.0.0.1"}),
                Row("/elsewhere", 403, headers={"Accept": "text/plain"}, says="IP address not allowed: 127.0.0.1", kind=TEXT_KIND),
                Row("/denied", 404, says="nothing here"),
            ],
            "10.5 after a preflight and before a body's size": [
                Row("/guarded", method="OPTIONS", headers={"Origin": "https://a", "Access-Control-Request-Method": "PUT"},
                    has={"Access-Control-Allow-Origin": "*"}),
                Row("/guarded", 403, method="POST", body=b"too long", headers={"Origin": "https://a"}, has={"Access-Control-Allow-Origin": "*"}),
            ],
            "10.6 a plugin that is switched off does nothing": [Row("/closed", sees="/")],
        },
    )
]  # fmt: skip


@pytest.mark.parametrize(("config", "row"), cases(TABLES))
def test_plugin_does_what_kongs_does(site: Site, config: str, row: Row) -> None:
    site.check(config, row)
