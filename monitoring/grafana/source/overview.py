"""Overview: the golden signals of every function, what is wrong now, and what the functions use."""

from __future__ import annotations

from . import promql, style
from .board import ALERTS, FUNCTIONS, REPLICAS, RESTARTS, Board, Row
from .panels import Panel, bars, graph, listing, number
from .promql import FUNCTION, SERVICE, Query

AT_EDGE = f'hop="edge", {FUNCTION}'
AT_FUNCTION = f'hop="function", {FUNCTION}'
OF_REPLICAS = f'job="functions", {FUNCTION}, replica=~"$replica"'


def for_users() -> Row:
    return Row(
        "Is the shop well, as those who use it see it?",
        [
            graph(
                "Rate at the edge",
                "Requests in a second that reach each function through the edge. A sudden fall to nothing is bad.",
                Query(f"sum by (function) (hop:http_requests:rate1m{{{AT_EDGE}}})", "{{function}}"),
                unit=style.REQUESTS_PER_SECOND,
            ),
            graph(
                "Errors at the edge",
                "Share of answers with a status of 500 or more, by function. Anything above 0 is a person who "
                "was not served; above the red line the month's budget burns fast.",
                Query(f"hop:http_errors:ratio1m{{{AT_EDGE}}}", "{{function}}"),
                unit=style.SHARE,
                limits=style.ERRORS,
            ),
            graph(
                "Duration at the edge",
                "Time from a request's first byte to its answer's last, of all chosen functions together. Half "
                "of the requests take less than p50, one in a hundred more than p99. Buckets finer than Kong's "
                "exist on one machine alone; on a cluster the least that can be told apart is 25 ms.",
                *(
                    Query(promql.edge_quantile(share, SERVICE), name)
                    for share, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))
                ),
                unit=style.SECONDS,
                colours=style.PERCENTILES,
            ),
            *figures(),
        ],
    )


def figures() -> list[Panel]:
    silent = f"count((function:replicas{{{FUNCTION}}} > 0) unless on (function) (({available()}) > 0))"
    return [
        number(
            "Alerts to act on now",
            "Alerts of severity page that fire. 0 is right; the table below names them.",
            Query(promql.or_zero('count(ALERTS{alertstate="firing", severity="page"})'), "page"),
            unit=style.COUNT,
            width=6,
            limits=style.ANY_IS_BAD,
        ),
        number(
            "Alerts to look at",
            "Alerts of severity ticket that fire. 0 is right.",
            Query(promql.or_zero('count(ALERTS{alertstate="firing", severity="ticket"})'), "ticket"),
            unit=style.COUNT,
            width=6,
            limits=style.ANY_IS_BAD,
        ),
        number(
            "Functions without a replica",
            "Functions that should have replicas and have none that takes requests. 0 is right. On a cluster one "
            "that Prometheus is not told to scrape counts as well.",
            Query(promql.or_zero(silent), "functions"),
            unit=style.COUNT,
            width=6,
            limits=style.ANY_IS_BAD,
        ),
        number(
            "Replicas that answer",
            "Replicas of the chosen functions that Prometheus reaches, all together.",
            Query(promql.or_zero(f'sum(up{{job="functions", {FUNCTION}}})'), "replicas"),
            unit=style.COUNT,
            width=6,
        ),
    ]


def by_function() -> Row:
    def latency(name: str, meaning: str) -> Panel:
        return graph(
            f"Latency {name}",
            f"{meaning} takes longer in the function itself, without gateway and edge. Look for one that leaves "
            "the others.",
            Query(f"hop:http_duration_seconds:{name}_1m{{{AT_FUNCTION}}}", "{{function}}"),
            unit=style.SECONDS,
        )

    return Row(
        "Which function is busy, failing or slow?",
        [
            graph(
                "Traffic",
                "Requests in a second that each function answers, from the edge and from other functions.",
                Query(f"sum by (function) (hop:http_requests:rate1m{{{AT_FUNCTION}}})", "{{function}}"),
                unit=style.REQUESTS_PER_SECOND,
                width=12,
            ),
            graph(
                "Errors, where they show most",
                "Share of answers with a status of 500 or more, at the hop that has the largest: a replica that "
                "died shows at the gateway or the edge, not in the function.",
                Query(f"max by (function) (hop:http_errors:ratio1m{{{FUNCTION}}})", "{{function}}"),
                unit=style.SHARE,
                width=12,
                limits=style.ERRORS,
            ),
            latency("p50", "Half of the requests"),
            latency("p90", "One request in ten"),
            latency("p99", "One request in a hundred"),
        ],
    )


def saturation() -> Row:
    return Row(
        "Is anything full?",
        [
            graph(
                "Busy ratio",
                "Share of a function's threads that are at work. Near 1 every further request waits: scale it up.",
                Query(f"function:busy_ratio:rate15s{{{FUNCTION}}}", "{{function}}"),
                unit=style.SHARE,
                limits=style.BUSY,
            ),
            graph(
                "In flight",
                "Requests being worked on or waiting inside the replicas, by function.",
                Query(f"sum by (function) (http_requests_in_flight{{{FUNCTION}}})", "{{function}}"),
                unit=style.COUNT,
            ),
            graph(
                "Time in queue, p90",
                "How long one request in ten, or more, waits between the gateway and its function's work. Rises "
                "before latency does.",
                Query(f"function:queue_seconds:p90_15s{{{FUNCTION}}}", "{{function}}"),
                unit=style.SECONDS,
            ),
        ],
    )


def wrong() -> Row:
    labels = "alertname, severity, function"
    firing = '(time() - ALERTS_FOR_STATE) and ignoring (alertstate) ALERTS{alertstate="firing"}'
    return Row(
        "What is wrong right now?",
        [
            listing(
                "Alerts that fire",
                "What fires, and for how long its cause has been there. Empty is right. Prometheus' page Alerts "
                "leads to the runbook of each.",
                Query(f"max by ({labels}) ({firing})", "for"),
                columns={"alertname": "alert", "severity": "severity", "function": "function"},
                units={"for": style.SECONDS},
                empty="No alert fires.",
            ),
            graph(
                "Alerts over time",
                "How many alerts are pending (their condition holds, but not for long enough) and how many fire.",
                Query(promql.or_zero('count(ALERTS{alertstate="pending"})'), "pending"),
                Query(promql.or_zero('count(ALERTS{alertstate="firing"})'), "firing"),
                unit=style.COUNT,
                width=12,
                colours={"pending": style.YELLOW, "firing": style.RED},
            ),
        ],
    )


def resources() -> Row:
    return Row(
        "How many replicas are there, and what do they use?",
        [
            listing(
                "Replicas",
                "Replicas that are wanted and those that take requests. They differ for seconds after scaling; "
                "longer is bad. Where localfaas does not say which take requests (a cluster), those that "
                "Prometheus reaches are counted.",
                Query(f"sum by (function) (function:replicas{{{FUNCTION}}})", "wanted"),
                Query(available(), "available"),
                columns={"function": "function"},
                units={"wanted": style.COUNT, "available": style.COUNT},
                width=8,
                height=10,
            ),
            bars(
                "First request of each replica",
                "How long the first request of a replica took. Seconds here are what a caller pays when a "
                "replica is started.",
                Query(f"http_first_request_duration_seconds{{{OF_REPLICAS}}}", "{{replica}}"),
                unit=style.SECONDS,
                width=8,
                height=10,
                limits=(0.1, 0.5),
            ),
            graph(
                "CPU",
                "Processor seconds in a second, by function: 1 is a whole core.",
                Query(promql.rate("process_cpu_seconds_total", OF_REPLICAS, "function"), "{{function}}"),
                unit=style.SECONDS,
                height=10,
            ),
            graph(
                "Memory",
                "Resident memory by function, all its replicas. A line that only climbs is a leak.",
                Query(f"sum by (function) (process_resident_memory_bytes{{{OF_REPLICAS}}})", "{{function}}"),
                unit=style.BYTES,
                width=24,
            ),
        ],
    )


def calls() -> Row:
    histogram, callee = "function_call_duration_seconds", "{{callee}}"
    failed = promql.rate(f"{histogram}_count", f'{FUNCTION}, status=~"none|5.."', "callee")
    return Row(
        "How do functions fare with each other?",
        [
            graph(
                "Calls",
                "Calls in a second that the chosen functions make, by the function that is called; each attempt counts.",
                Query(promql.rate(f"{histogram}_count", FUNCTION, "callee"), callee),
                unit=style.REQUESTS_PER_SECOND,
                width=6,
            ),
            graph(
                "Calls that failed",
                "Attempts in a second that were answered with 500 or more, or not at all. 0 is right.",
                Query(promql.or_zero(f"sum({failed})"), "all of them"),
                Query(failed, callee),
                unit=style.REQUESTS_PER_SECOND,
                width=6,
            ),
            graph(
                "Calls that were repeated",
                "Attempts in a second after a first that failed. Many are a function that is away, and more load "
                "for it when it comes back.",
                Query(promql.or_zero(promql.rate("function_call_retries_total", FUNCTION)), "all of them"),
                Query(promql.rate("function_call_retries_total", FUNCTION, "callee"), callee),
                unit=style.REQUESTS_PER_SECOND,
                width=6,
            ),
            graph(
                "Duration of calls, p99",
                "One call in a hundred takes longer, by the function that is called, as its caller sees it.",
                Query(promql.quantile(0.99, histogram, FUNCTION, "callee"), callee),
                unit=style.SECONDS,
                width=6,
            ),
        ],
    )


def available() -> str:
    """Replicas by function that take requests; where nothing says so, those that Prometheus reaches."""
    return promql.either(
        f"sum by (function) (localfaas_replicas_available{{{FUNCTION}}})",
        f'sum by (function) (up{{job="functions", {FUNCTION}}})',
    )


BOARD = Board(
    uid="magasin-overview",
    description="The golden signals of every function, what is wrong now, and what the functions use.",
    since="now-30m",
    rows=[for_users(), by_function(), saturation(), wrong(), resources(), calls()],
    choices=[FUNCTIONS, REPLICAS],
    marks=[ALERTS, RESTARTS],
)
