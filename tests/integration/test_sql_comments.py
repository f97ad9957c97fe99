"""The trace of a sampled request is in what PostgreSQL shows of its statements, and of no other's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from functions.shared import (
    Api,
    Connection,
    DatabaseSettings,
    FunctionApp,
    Prepared,
    create_app,
    current,
    execute,
    fetch_all,
    fetch_one,
)
from functions.shared.telemetry import Telemetry
from functions.shared.tracer import Tracer
from tests.support.functions import Secrets
from tests.support.postgres import Database as Cloned

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SEEN = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"

api = Api("products", title="What PostgreSQL shows of a statement while it runs")
seen_prepared = Prepared("seen_prepared", f"{SEEN} AND $1 = 1")


def seen_plain(connection: Connection) -> str:
    return str(fetch_all(connection, SEEN)[0]["query"])


def seen_with_parameters(connection: Connection) -> str:
    row = fetch_one(connection, f"{SEEN} AND %(q)s LIKE '%%x%%'", {"q": "x*/ %"})
    return str(row and row["query"])


@api.get("/seen/<path:name>")
def read_seen(name: str) -> dict[str, str]:
    """The same query in four ways."""
    database = current().database
    prepared = database.read(seen_prepared.fetch_one, 1)
    again = database.read(seen_prepared.fetch_one, 1)
    assert prepared and again
    with database.transaction() as connection:
        changed = execute(connection, "SELECT 1 WHERE %(a)s = %(a)s", {"a": "50%"})
    return {
        "plain": database.read(seen_plain),
        "parameters": database.read(seen_with_parameters),
        "prepared": prepared["query"],
        "again": again["query"],
        "changed": str(changed),
    }


@pytest.fixture
def app(database: Cloned, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionApp]:
    secrets = Secrets.make(tmp_path_factory.mktemp("secrets"), products_db=database.url("products"))
    app = create_app(api, DatabaseSettings, secrets.environ)
    yield app
    app.service.database.close()


def test_a_sampled_request_is_named_in_each_statement(app: FunctionApp) -> None:
    sent = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"}
    seen = app.test_client().get("/seen/*/%2A;'--", headers=sent).get_json()
    for way in ("plain", "parameters", "prepared", "again"):
        _, _, comment = seen[way].partition(" /*application='products',route='%2Fseen%2F%3Cpath%3Aname%3E',")
        assert comment.startswith(f"traceparent='00-{TRACE_ID}-"), seen[way]
        assert comment.endswith("-01'*/")
    assert seen["prepared"].startswith("EXECUTE seen_prepared (1) /*")
    assert "'x*/ %' LIKE '%x%'" in seen["parameters"]
    assert seen["changed"] == "1"


@pytest.mark.parametrize("sent", [{}, {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-00"}])
def test_no_other_statement_bears_a_comment(app: FunctionApp, sent: dict[str, str]) -> None:
    assert "application=" not in str(app.test_client().get("/seen/x", headers=sent).get_json())


def test_each_statement_is_a_span_whose_id_is_in_its_comment(app: FunctionApp) -> None:
    exporter = InMemorySpanExporter()
    tracer = Tracer("products", "products-1", "http://nowhere", 1.0, exporter)
    assert isinstance(app.wsgi_app, Telemetry)
    app.wsgi_app.tracer = tracer
    seen = app.test_client().get("/seen/x").get_json()
    tracer.close()
    *statements, server = exporter.get_finished_spans()
    assert server.context is not None
    assert [span.name for span in statements] == [
        "EXECUTE test_sql_comments.read_seen", "EXECUTE test_sql_comments.read_seen",
        "SELECT test_sql_comments.read_seen", "COMMIT", "SELECT test_sql_comments.seen_plain",
        "SELECT test_sql_comments.seen_with_parameters",
    ]  # fmt: skip
    assert {span.parent.span_id for span in statements if span.parent} == {server.context.span_id}
    shown = [seen[way].rsplit("-", 2)[1] for way in ("prepared", "again", "plain", "parameters")]
    spans = [span.context for span in statements if "EXECUTE" in span.name or "seen_" in span.name]
    assert shown == [f"{context.span_id:016x}" for context in spans if context]
