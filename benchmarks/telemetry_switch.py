"""The shop with a switch for its telemetry, to find what that costs. It exists in the benchmark alone.

Two processes of the same code differ by five percent and more from each other, by where their memory happens to lie.
So the same processes are measured with telemetry and without: a request's header says which, and is passed on with
every call. Without it no metric is kept, no statement or call is counted, and no line is logged for a request; ids
are read, sent on and answered as ever, and deadlines hold. What has to change does so at the first request that
differs from the one before, so nothing but a look at the header is added to either.
"""

from __future__ import annotations

from benchmarks.checkout_variants import Variant

SUFFIX = "-switched"
HEADER = "X-Silent"
FUNCTIONS = ("checkout", "cart", "products", "inventory", "orders", "payments")

WITH_SWITCH = Variant(
    "with a switch",
    {f"{name}{SUFFIX}": name for name in FUNCTIONS},
    appended={
        "functions/shared/metrics.py": """

silent = False
switched = []


def _nothing(*_, **__):
    return None


_COUNTING = ((Counter, "inc"), (Gauge, "inc"), (Gauge, "dec"), (Gauge, "set"), (Histogram, "observe"), (QuickHistogram, "observe"))
_METHODS = {
    **{(kind, name): (getattr(kind, name), _nothing) for kind, name in _COUNTING},
    **{(kind, "labels"): (kind.labels, lambda self, *_, **__: self) for kind in (Counter, Gauge, Histogram)},
}


def be(silent_now):
    global silent
    later.settle()
    silent = silent_now
    for (kind, name), methods in _METHODS.items():
        setattr(kind, name, methods[silent])
    for act in switched:
        act(silent)
""",
        "functions/shared/telemetry.py": """

def _silently(self, environ, start_response):
    trace = begin_trace(environ, self._budget)
    before = _current.set(trace)

    def start(status_line, headers, exc_info=None):
        headers.append(("X-Request-Id", trace.request_id))
        headers.append(("X-Served-By", self._replica))
        return start_response(status_line, headers, exc_info)

    try:
        return self._app(environ, start)
    finally:
        _current.reset(before)


_WAYS = (Telemetry.__call__, _silently)


def _as_told(self, environ, start_response):
    silent = environ.get("HTTP_X_SILENT") == "1"
    if silent is not metrics.silent:
        metrics.be(silent)
    return _WAYS[silent](self, environ, start_response)


Telemetry.__call__ = _as_told
""",
        "functions/shared/database.py": """

_counted = (Connection.commit, Connection.after_commit)
_plain = (psycopg2.extensions.connection.commit, lambda self, act: None)


def _switch(silent):
    Connection.commit, Connection.after_commit = _plain if silent else _counted


metrics.switched.append(_switch)
""",
        "functions/shared/statements.py": """

_counted = _run


def _plainly(cursor, statement, parameters):
    cursor.execute(statement, parameters)


def _switch(silent):
    global _run
    _run = _plainly if silent else _counted


metrics.switched.append(_switch)
""",
        "functions/shared/client.py": """

_with_ids = ServiceClient._headers


def _passed_on(self, trace, idempotency_key):
    return {**_with_ids(self, trace, idempotency_key), "X-Silent": str(int(metrics.silent))}


ServiceClient._headers = _passed_on
""",
    },
    replaced={
        "functions/shared/client.py": (
            "/function/{quote(function)}{path}",
            f"/function/{{quote(function)}}{SUFFIX}{{path}}",
        ),
    },
)
