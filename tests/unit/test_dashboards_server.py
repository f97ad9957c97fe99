"""The server behind :8011: what it gives out, what it passes on to Prometheus, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from localfaas.dashboards import app, create_app
from localfaas.monitoring import PARTS, dashboards
from localfaas.settings import PORTS, Settings

PROJECT = Path(__file__).parents[2]
LOCAL = {"Host": "localhost:8011"}


class _Prometheus(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_GET(self) -> None:
        self._tell("")

    def do_POST(self) -> None:
        self._tell(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def _tell(self, body: str) -> None:
        told = json.dumps({"status": "success", "data": [self.command, self.path, body]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "monitoring" / "grafana" / "dashboards"
    folder.mkdir(parents=True)
    text = {"type": "text", "options": {"content": "**bold** <script>alert(1)</script>"}}
    board = {"uid": "one", "title": "One & all", "description": "It <shows>.", "panels": [text]}
    (folder / "one.json").write_text(json.dumps(board))
    (folder / "half.json").write_text('{"uid": "ha')
    runbooks = tmp_path / "docs" / "runbooks"
    runbooks.mkdir(parents=True)
    (runbooks / "Late.md").write_text(
        "# Late\n\nSee [the other](Other.md).\n\n<img src=x onerror=alert(1)>\n"
    )
    (tmp_path / "docs" / "secret.md").write_text("secret")
    return tmp_path


@pytest.fixture
def prometheus() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Prometheus)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def client_of(project: Path, prometheus_port: int = 1) -> FlaskClient:
    settings = Settings(project, project / ".local", port_offset=prometheus_port - PORTS["prometheus"])
    return create_app(settings).test_client()


def test_dashboards_are_listed_and_what_is_no_dashboard_is_not(project: Path) -> None:
    html = client_of(project).get("/", headers=LOCAL).text
    assert "One &amp; all" in html
    assert "It &lt;shows&gt;." in html
    assert html.count("/d/") == 1


def test_a_changed_file_shows_at_once(project: Path) -> None:
    client, path = client_of(project), project / "monitoring" / "grafana" / "dashboards" / "one.json"
    path.write_text(path.read_text().replace("One & all", "Two"))
    assert "Two" in client.get("/d/one", headers=LOCAL).text


def test_markdown_of_a_text_panel_cannot_bring_html(project: Path) -> None:
    board = client_of(project).get("/api/dashboards/one", headers=LOCAL).get_json()
    html = board["panels"][0]["html"]
    assert "<strong>bold</strong>" in html
    assert "<script" not in html


def test_a_runbook_is_reached_by_its_alert_and_leads_to_others(project: Path) -> None:
    html = client_of(project).get("/runbooks/Late", headers=LOCAL).text
    assert '<a href="/runbooks/Other">' in html
    assert "<img" not in html


@pytest.mark.parametrize("path", ["/d/two", "/runbooks/None", "/runbooks/..%2Fsecret", "/runbooks/.Late", "/api/dashboards/half", "/nothing"])  # fmt: skip
def test_what_is_not_there_is_not_found(project: Path, path: str) -> None:
    assert client_of(project).get(path, headers=LOCAL).status_code == 404


def test_questions_go_to_prometheus_as_they_are(project: Path, prometheus: int) -> None:
    client = client_of(project, prometheus)
    got = client.get('/api/v1/query?query=up{a="b"}&time=1', headers=LOCAL).get_json()
    assert got["data"] == ["GET", "/api/v1/query?query=up%7Ba%3D%22b%22%7D&time=1", ""]
    got = client.post("/api/v1/query_range", data={"query": "up", "step": "5"}, headers=LOCAL).get_json()
    assert got["data"] == ["POST", "/api/v1/query_range", "query=up&step=5"]
    got = client.get("/api/v1/label/function/values?match[]=up&match[]=down", headers=LOCAL).get_json()
    assert got["data"][1] == "/api/v1/label/function/values?match%5B%5D=up&match%5B%5D=down"


@pytest.mark.parametrize("path", ["/api/v1/admin", "/api/v1/targets", "/api/v1/admin/tsdb/delete_series", "/-/reload", "/api/v1/label/a-b/values"])  # fmt: skip
def test_other_questions_are_not_passed_on(project: Path, prometheus: int, path: str) -> None:
    client = client_of(project, prometheus)
    assert client.get(path, headers=LOCAL).status_code == 404
    assert client.post(path, headers=LOCAL).status_code in {404, 405}


def test_a_prometheus_that_is_away_is_said_with_what_to_do(project: Path) -> None:
    answer = client_of(project).get("/api/v1/query?query=up", headers=LOCAL)
    assert answer.status_code == 502
    assert "localfaas status" in answer.get_json()["error"]


def test_a_huge_question_is_refused(project: Path, prometheus: int) -> None:
    answer = client_of(project, prometheus).post(
        "/api/v1/query", data={"query": "a" * 300_000}, headers=LOCAL
    )
    assert answer.status_code == 413


def test_a_huge_answer_is_refused_in_words(
    project: Path, prometheus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "LARGEST_ANSWER_BYTES", 50)
    answer = client_of(project, prometheus).get("/api/v1/query?query=" + "a" * 50, headers=LOCAL)
    assert answer.status_code == 502
    assert "shorter time" in answer.get_json()["error"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8011", "localhost.evil.example"])
def test_only_this_machines_names_are_answered_to(project: Path, host: str) -> None:
    """Else a site could point its own name here and read all that is measured (DNS rebinding)."""
    assert client_of(project).get("/", headers={"Host": host}).status_code == 400


def test_pages_run_scripts_of_their_own_alone(project: Path) -> None:
    for path in ("/", "/d/one", "/runbooks/"):
        answer = client_of(project).get(path, headers=LOCAL)
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert not re.search(r"<script(?![^>]*\ssrc=)", answer.text)
        assert not re.search(r"\son\w+=", answer.text)


def test_the_charts_library_is_the_one_that_its_page_names() -> None:
    folder = PROJECT / "localfaas" / "dashboards" / "static" / "vendor"
    named = re.search(r"sha512\s+([0-9a-f]{128})", (folder / "README.md").read_text())
    assert named
    assert hashlib.sha512((folder / "echarts.min.js").read_bytes()).hexdigest() == named[1]
    version = re.search(r"version (\S+)", (folder / "README.md").read_text())
    assert version
    assert f'"{version[1]}"' in (folder / "echarts.min.js").read_text()


def test_grafana_runs_instead_where_it_is_installed(tmp_path: Path) -> None:
    for file in ("bin/grafana-server", "conf/defaults.ini"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch(mode=0o755)
    found = dashboards.find_grafana({"PATH": str(tmp_path / "bin")})
    assert found == ([str(tmp_path / "bin" / "grafana-server")], tmp_path)
    settings = Settings(PROJECT, tmp_path / "state", port_offset=1000)
    program = dashboards.grafana_program(settings, *found)
    said = program.environment
    assert program.command == [str(tmp_path / "bin" / "grafana-server"), f"--homepath={tmp_path}"]
    assert (said["GF_SERVER_HTTP_ADDR"], said["GF_SERVER_HTTP_PORT"]) == ("127.0.0.1", "9011")
    assert said["PROMETHEUS_URL"] == "http://127.0.0.1:9010"
    assert Path(said["DASHBOARDS_PATH"], "overview.json").is_file()
    provisioned = Path(said["GF_PATHS_PROVISIONING"])
    for variable in ("PROMETHEUS_URL", "DASHBOARDS_PATH"):
        assert any(f"${{{variable}}}" in path.read_text() for path in provisioned.rglob("*.yml")), variable


def test_runbooks_are_beside_grafana(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every alert would lead to a page that Grafana does not have."""
    for file in ("bin/grafana", "conf/defaults.ini"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    settings = Settings(PROJECT, tmp_path / "state", port_offset=1000)
    both = (
        dashboards.program(settings, Path("python"), ()),
        dashboards.pages_program(settings, Path("python"), ()),
    )
    assert [one and (one.name, one.about["kind"], one.about["port"]) for one in both] == [
        ("dashboards", "Grafana", 9011),
        ("pages", "page", 9096),
    ]
    assert both[1] and both[1].command[-3:] == ["dashboards", "--port", "9096"]
    names = [part.name for part in PARTS]
    assert names.index("pages") < names.index("prometheus")  # which is told where alerts lead


def test_the_page_runs_alone_where_no_grafana_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dashboards.find_grafana({"PATH": str(tmp_path)}) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = Settings(PROJECT, tmp_path / "state", port_offset=1000)
    page = dashboards.program(settings, Path("python"), ())
    assert page and page.command[-3:] == ["dashboards", "--port", "9011"]
    assert dashboards.pages_program(settings, Path("python"), ()) is None


def test_a_project_without_dashboards_has_no_page(tmp_path: Path) -> None:
    assert dashboards.program(Settings(tmp_path, tmp_path / "state"), Path("python"), ()) is None
