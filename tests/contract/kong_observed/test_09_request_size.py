"""Section 9: request-size-limiting."""

from __future__ import annotations

import pytest

from tests.support.observed import DIGITS, Differs, HeldBy, Row, Site, Table, cases

SECTION = 9


def service(name: str, config: str) -> str:
    plugin = f"[{{name: request-size-limiting, config: {{{config}}}}}]"
    return (
        f'- {{name: {name}, url: "http://127.0.0.1:$UPSTREAM", routes: [{{name: {name}, paths: [/{name}], plugins: {plugin}}}]}}\n'
    )  # fmt: skip


CONFIG = (
    '_format_version: "3.0"\nservices:\n'
    + service("kilobyte", "allowed_payload_size: 1, size_unit: kilobytes")
    + service("megabyte", "allowed_payload_size: 1")
    + service("bytes", "allowed_payload_size: 1000, size_unit: bytes")
    + service("length", "allowed_payload_size: 1, require_content_length: true")
    + '- {name: free, url: "http://127.0.0.1:$UPSTREAM", routes: [{name: free, paths: [/free]}]}\n'
)
TOO_LARGE = "Request size limit exceeded"


def fits(path: str, size: int, **more: object) -> Row:
    return Row(path, method="POST", body=b"x" * size, saw={"Content-Length": str(size)}, **more)


def too_large(path: str, size: int, **more: object) -> Row:
    return Row(path, 413, method="POST", body=b"x" * size, says=TOO_LARGE, **more)


TABLES = [
    Table(
        CONFIG,
        {
            "9.1 a limit is inclusive, in units of 1, 1,024 and 1,048,576 bytes": [
                fits("/bytes", 1000),
                too_large("/bytes", 1001),
                fits("/kilobyte", 1024),
                too_large("/kilobyte", 1025),
                fits("/megabyte", 1048576),
                too_large("/megabyte", 1048577),
            ],
            "9.2 a refusal is decided from the length alone": [
                too_large("/kilobyte", 1025, headers={"Accept": "*/*"}, has={"Content-Length": DIGITS}),
                HeldBy("contract/kong_observed/test_09_request_size.py", "test_refused_body_reaches_no_upstream"),
                Differs("a request whose body has not been read"),
            ],
            "9.3 a chunked body is gathered and counted": [
                fits("/kilobyte", 1024, chunked=True),
                too_large("/kilobyte", 1025, chunked=True),
            ],
            "9.4 an expected body that is too large": [Differs("`Expect: 100-continue` is answered 100 first")],
            "9.5 a length can be required, of GET too; chunked bodies pass": [
                Row("/length", 411, says="A valid Content-Length header is required"),
                Row("/length", 411, method="DELETE", says="A valid Content-Length header is required"),
                Row("/length", method="POST", body=b"x", chunked=True),
                fits("/length", 1),
            ],
            "9.6 without the plugin there is no limit": [fits("/free", 3_000_000)],
        },
    )
]  # fmt: skip


@pytest.mark.parametrize(("config", "row"), cases(TABLES))
def test_body_is_measured_as_kong_measures_it(site: Site, config: str, row: Row) -> None:
    site.check(config, row)


def test_refused_body_reaches_no_upstream(site: Site) -> None:
    site.load(CONFIG)
    site.upstream.calm()
    received = site.edge.raw(b"POST /kilobyte HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 413 ")
    assert site.upstream.seen == []
