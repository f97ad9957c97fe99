"""kong.conf: what the embedded edge reads of it, and what it refuses by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from localfaas.edge.kong_conf import Gzip, KongConfError, Listen, Node, parse_node, read_node

PROJECT = Path(__file__).parents[2]
GZIP = "nginx_proxy_gzip = on\nnginx_proxy_gzip_proxied = any\nnginx_proxy_gzip_vary = on\n"
ON_TLS = 'nginx_http_map = $https $hsts { on "max-age=1; preload"; } \\#\n'


def test_the_projects_own_file_is_read() -> None:
    node = read_node(PROJECT / "kong" / "kong.conf")
    assert node.listen == Listen(tls=True, plain_http2=False, tls_http2=True)
    assert node.gzip and {"application/json", "application/problem+json"} <= set(node.gzip.types)
    assert node.tls_header == ("Strict-Transport-Security", "max-age=31536000")


def test_without_a_file_the_node_is_kongs_default(tmp_path: Path) -> None:
    assert (
        read_node(tmp_path / "kong.conf")
        == Node(Listen(tls=True, tls_http2=True))
        == parse_node("# nothing\n")
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0.0.0.0:8000", Listen(tls=False, tls_http2=False)),
        ("0.0.0.0:8000 http2, [::]:8443 ssl", Listen(tls=True, plain_http2=True, tls_http2=False)),
    ],
)
def test_flags_of_proxy_listen_are_understood(written: str, meant: Listen) -> None:
    assert parse_node(f"proxy_listen = {written}").listen == meant


def test_compression_has_nginx_own_defaults() -> None:
    assert parse_node(GZIP).gzip == Gzip(("text/html",), min_length=20, level=1)
    assert parse_node("nginx_proxy_gzip = off").gzip is None


def test_a_header_on_tls_alone_is_a_map_and_its_variable() -> None:
    added = "nginx_proxy_add_header = X-Secure $hsts always # a comment"
    assert parse_node(ON_TLS + added).tls_header == ("X-Secure", "max-age=1; preload")


FAULTS = [
    ("admin_gui_url = x", "line 1: admin_gui_url is not supported by the embedded edge; use only database, "),
    ("database = postgres", "line 1: database: the embedded edge supports only off"),
    ("\nplain words", "line 2: expected `key = value`, not 'plain words'"),
    ("proxy_listen = off", "line 1: proxy_listen: 'off' is not an address with a port and flags"),
    ("proxy_listen = 0.0.0.0:8000 reuseport", "the flags ssl and http2, not reuseport"),
    ("proxy_listen = 0.0.0.0:80", "listens on 8000 and, with ssl, on 8443"),
    ("proxy_listen = 0.0.0.0:8000, 0.0.0.0:8443", "ssl belongs to 8443 alone"),
    ("nginx_proxy_gzip = on", "line 1: nginx_proxy_gzip: needs `nginx_proxy_gzip_vary = on`"),
    (GZIP + "nginx_proxy_gzip_types = json", "line 4: nginx_proxy_gzip_types: 'json' is not a media type"),
    ("nginx_proxy_gzip_comp_level = 10", "nginx_proxy_gzip_comp_level: expected a number from 1 to 9"),
    ("nginx_proxy_gzip_min_length = ٣", "nginx_proxy_gzip_min_length: expected a number"),
    (ON_TLS, "line 1: nginx_http_map and nginx_proxy_add_header are supported together"),
    ("nginx_http_map = $scheme $x { }", "line 1: nginx_http_map: the embedded edge supports only"),
    ("nginx_proxy_add_header = X y", "the embedded edge supports only `Name $variable always`"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_what_is_wrong_is_named_with_its_line(text: str, fault: str) -> None:
    with pytest.raises(KongConfError) as caught:
        parse_node(text)
    assert fault in str(caught.value)


def test_all_faults_come_at_once_and_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "kong.conf"
    path.write_text("a = 1\nb = 2\ndatabase = x\n")
    with pytest.raises(KongConfError) as caught:
        read_node(path)
    first, *faults = str(caught.value).splitlines()
    assert first == f"{path} was refused:"
    assert [line.partition(":")[0] for line in faults] == ["line 1", "line 2", "line 3"]
