"""Section 3: what the upstream is sent beside the path."""

from __future__ import annotations

import socket

import pytest

from tests.support.observed import ABSENT, REQUEST_ID, Differs, HeldBy, Row, Site, Table, cases

SECTION = 3
CONFIG = """
_format_version: "3.0"
services:
- {name: plain, url: "http://127.0.0.1:$UPSTREAM/base", routes: [{name: plain, paths: [/plain]}]}
- {name: kept-host, url: "http://127.0.0.1:$UPSTREAM", routes: [{name: kept-host, paths: [/kept-host], preserve_host: true}]}
- {name: pooled, host: pool, routes: [{name: pooled, paths: [/pooled]}]}
- {name: named, host: named-pool, routes: [{name: named, paths: [/named]}]}
- name: bare
  url: http://127.0.0.1:$UPSTREAM
  routes:
  - {name: keep, paths: [/keep], strip_path: false}
  - {name: segments, paths: ["~/seg($|/)"]}
  - {name: regex, paths: ['~/rx/\\d+']}
  - {name: root, paths: [/], hosts: [root.example]}
upstreams:
- {name: pool, targets: [{target: "127.0.0.1:$UPSTREAM"}]}
- {name: named-pool, host_header: shop.internal, targets: [{target: "127.0.0.1:$UPSTREAM"}]}
"""
SPOOFED = {
    "X-Forwarded-For": "9.9.9.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Path": "/evil",
    "X-Forwarded-Prefix": "/evil",
    "X-Real-IP": "9.9.9.9",
}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TABLES = [
    Table(
        CONFIG,
        {
            "3.1 Host is the service's, the target's or what is set": [
                Row("/plain", headers={"Host": "Shop.Example:99"}, saw={"Host": "127.0.0.1:$UPSTREAM"}),
                Row("/pooled", saw={"Host": "127.0.0.1:$UPSTREAM"}),
                Row("/named", saw={"Host": "shop.internal"}),
                Row("/kept-host", headers={"Host": "a.example:99"}, saw={"Host": "a.example:99"}),
            ],
            "3.2 Via is added to the client's": [
                Row("/plain", saw={"Via": "1.1 localfaas/$VERSION"}),
                Row("/plain", headers={"Via": "1.1 foo"}, saw={"Via": ["1.1 foo", "1.1 localfaas/$VERSION"]}),
                Differs("for HTTP/1.0 and HTTP/2 clients"),
            ],
            "3.3 X-Forwarded-For grows by the peer": [
                Row("/plain", saw={"X-Forwarded-For": "127.0.0.1"}),
                Row("/plain", headers=SPOOFED, saw={"X-Forwarded-For": ["9.9.9.9", "127.0.0.1"]}),
            ],
            "3.4 the other forwarding headers are overwritten": [
                Row("/plain/7?x=1", headers={**SPOOFED, "Host": "Shop.Example:99"}, saw={
                    "X-Forwarded-Proto": "http",
                    "X-Forwarded-Host": "shop.example",
                    "X-Forwarded-Port": "$EDGE",
                    "X-Forwarded-Path": "/plain/7",
                    "X-Forwarded-Prefix": "/plain",
                    "X-Real-IP": "127.0.0.1",
                }),
                Row("/seg/7", headers=SPOOFED, saw={"X-Forwarded-Prefix": "/seg/"}),
                Row("/keep/7", headers=SPOOFED, saw={"X-Forwarded-Prefix": ABSENT}),
                Row("/x", headers={**SPOOFED, "Host": "root.example"}, saw={"X-Forwarded-Prefix": ABSENT}),
                Row("/rx/7", headers=SPOOFED, saw={"X-Forwarded-Prefix": ABSENT}),
                Differs("the normalised path"),
                Differs("for a regex other than"),
            ],
            "3.5 X-Kong-Request-Id is the edge's own": [
                Row("/plain", headers={"X-Kong-Request-Id": "mine"}, saw={"X-Kong-Request-Id": REQUEST_ID}),
            ],
            "3.6 headers of one hop are taken out": [
                Row("/plain", headers={"Connection": "x-hop", "X-Hop": "1", "TE": "gzip", "Keep-Alive": "timeout=1"},
                    saw={"X-Hop": ABSENT, "TE": ABSENT, "Keep-Alive": ABSENT, "Upgrade": ABSENT}),
                Row("/plain", headers={"Proxy-Connection": "keep-alive"}, saw={"Proxy-Connection": ABSENT}),
                HeldBy("contract/kong_observed/test_03_upstream_headers.py", "test_websocket_passes_in_both_directions"),
            ],
            "3.7 all else passes as it is": [
                Row("/plain", headers={"traceparent": TRACE, "tracestate": "a=1"}, saw={"traceparent": TRACE, "tracestate": "a=1"}),
                Row("/plain", headers={"Authorization": "Bearer x", "Cookie": "a=1; b=2", "Accept-Encoding": "br"},
                    saw={"Authorization": "Bearer x", "Cookie": "a=1; b=2", "Accept-Encoding": "br"}),
                Row("/plain", headers={"X-Envoy-Retry-On": "5xx", "X-Envoy-Upstream-Rq-Timeout-Ms": "1"},
                    saw={"X-Envoy-Retry-On": ABSENT, "X-Envoy-Upstream-Rq-Timeout-Ms": ABSENT, "X-Envoy-Expected-Rq-Timeout-Ms": ABSENT}),
            ],
            "3.8 a client's consumer headers pass where no plugin authenticates": [
                Row("/plain", headers={"X-Consumer-Username": "me"}, saw={"X-Consumer-Username": "me"}),
            ],
            "3.9 names with an underscore pass": [
                Row("/plain", headers={"x_under": "1", "X_Real_IP": "9.9.9.9"}, saw={"x_under": ABSENT, "X_Real_IP": ABSENT}),
                Differs("header names with an underscore"),
                Differs("header names with a dot"),
            ],
            "3.10 bodies of every length arrive whole": [
                Row("/plain", method="POST", body=b"x" * 100_000, saw={"Content-Length": "100000"}),
                Row("/plain", method="POST", body=b"x" * 1000, chunked=True, saw={"Content-Length": ABSENT}),
                Row("/plain", method="PATCH", body=b"", saw={"Content-Length": "0"}),
                Differs("chunked request bodies"),
            ],
            "3.11 Expect: 100-continue is answered by the edge": [
                Row("", raw=b"POST /plain HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nx",
                    status=100),
            ],
            "3.12 trusted addresses are a setting of the node": [Differs("`trusted_ips`")],
        },
    )
]  # fmt: skip


@pytest.mark.parametrize(("config", "row"), cases(TABLES))
def test_upstream_is_told_what_kong_would_tell(site: Site, config: str, row: Row) -> None:
    site.check(config, row)


def test_websocket_passes_in_both_directions(site: Site) -> None:
    """Under a size limit too, which gathers ordinary bodies."""
    ask = b"GET /plain HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        site.load(CONFIG.replace("$UPSTREAM", port) + "plugins: [{name: request-size-limiting}]\n")
        with socket.create_connection(("127.0.0.1", site.edge.port), timeout=5) as client:
            client.sendall(ask)
            peer, _ = server.accept()
            with peer:
                assert b"\r\nupgrade: websocket\r\n" in peer.recv(65536)
                peer.sendall(switch)
                assert client.recv(65536).startswith(b"HTTP/1.1 101 ")
                client.sendall(b"ping")
                assert peer.recv(100) == b"ping"
                peer.sendall(b"pong")
                assert client.recv(100) == b"pong"
