"""The shop without its telemetry, to find what that costs. It exists in the benchmark alone.

The six functions of a checkout under other names, calling each other: no metric is kept, no statement or call is
timed, and no line is logged for a request. Ids are read, sent on and answered as before, and deadlines hold.
"""

from __future__ import annotations

from benchmarks.checkout_variants import Variant

SUFFIX = "-silent"
FUNCTIONS = ("checkout", "cart", "products", "inventory", "orders", "payments")

WITHOUT_TELEMETRY = Variant(
    "without telemetry",
    {f"{name}{SUFFIX}": name for name in FUNCTIONS},
    appended={
        # Whatever is counted anywhere is not. What is left of it is the call of an empty function.
        "functions/shared/metrics.py": """

def _nothing(*_, **__):
    return None


Counter.inc = Gauge.inc = Gauge.dec = Gauge.set = Gauge.set_function = Histogram.observe = _nothing
for _kind in (Counter, Gauge, Histogram):
    _kind.labels = lambda self, *_, **__: self
""",
        "functions/shared/telemetry.py": """

def _silent(self, environ, start_response):
    trace = environ[_ENVIRON_KEY] = begin_trace(environ, self._budget)

    def start(status_line, headers, exc_info=None):
        headers.append(("X-Request-Id", trace.request_id))
        headers.append(("X-Served-By", self._replica))
        return start_response(status_line, headers, exc_info)

    return self._app(environ, start)


Telemetry.__call__ = _silent
""",
        "functions/shared/database.py": """

def _run(cursor, statement, parameters):
    cursor.execute(statement, parameters)


Connection.commit = psycopg2.extensions.connection.commit
Connection.after_commit = lambda self, act: None
""",
    },
    replaced={
        "functions/shared/client.py": (
            "/function/{quote(function)}{path}",
            f"/function/{{quote(function)}}{SUFFIX}{{path}}",
        ),
    },
)
