"""Experiments: what somebody who loads, breaks or scales the platform wants beside the load generator's own figures."""

from __future__ import annotations

from . import promql, style
from .board import ALERTS, FUNCTIONS, REPLICAS, RESTARTS, SCALING, Board, Row
from .panels import Panel, bars, graph, heat, note
from .promql import FUNCTION, FUNCTION_NAME, SERVICE, Query

OF_REPLICAS = f'job="functions", {FUNCTION}, replica=~"$replica"'
REQUESTS = {
    "edge": promql.rate("kong_http_requests_total", SERVICE),
    "gateway": promql.rate("gateway_function_invocation_total", FUNCTION_NAME),
    "function": promql.rate("http_request_duration_seconds_count", FUNCTION),
}
CONTAINERS = {
    "edge": 'namespace="edge", container!=""',
    "gateway": 'namespace="openfaas", container="gateway"',
    "database": 'namespace="database", container!=""',
}
"""Where cAdvisor finds on a cluster what localfaas calls edge, gateway and postgres."""

ON_CLUSTER = "Told by localfaas on one machine, by cAdvisor's container metrics on a cluster."
BEFORE = """\
Lines move with the scrape (5 s) and are averaged over at least 20 s: trust the load generator for exact times, and this page for what happens inside.
Choose the function that is loaded; with all of them, maintenance's calls every five seconds are in every figure.
Start with rate limits off (`RATE_LIMITS=off make up`) when the load comes from one address.
Blue marks are changes of replicas, orange ones restarts, red stretches alerts."""


def arriving() -> Row:
    errors = {
        "edge": promql.rate("kong_http_requests_total", f'{SERVICE}, code=~"5.."'),
        "gateway": promql.rate("gateway_function_invocation_total", f'{FUNCTION_NAME}, code=~"5.."'),
        "function": promql.rate("http_request_duration_seconds_count", f'{FUNCTION}, status=~"5.."'),
    }
    return Row(
        "What arrives at each hop, and how is it answered?",
        [
            note("Before you trust a line", "What to know of this page's figures.", BEFORE, height=3),
            graph(
                "Rate by hop",
                "Requests in a second. What was sent and is not at the edge did not get in; what is at the edge "
                "and not at a function was answered on the way (cart's pass by the gateway).",
                *(Query(expr, hop) for hop, expr in REQUESTS.items()),
                unit=style.REQUESTS_PER_SECOND,
                colours=style.HOPS,
            ),
            graph(
                "Errors by hop",
                "Answers in a second with a status of 500 or more. The first hop that has them is near the cause.",
                *(Query(promql.or_zero(expr), hop) for hop, expr in errors.items()),
                unit=style.REQUESTS_PER_SECOND,
                colours=style.HOPS,
            ),
            by_hop("Duration by hop, p99", "One request in a hundred takes longer, at each hop.", 0.99, 8),
        ],
    )


def by_hop(title: str, description: str, share: float, width: int) -> Panel:
    return graph(
        title,
        f"{description} On a cluster Kong's buckets begin at 25 ms.",
        Query(promql.edge_quantile(share, SERVICE), "edge"),
        Query(promql.quantile(share, "gateway_functions_seconds", FUNCTION_NAME), "gateway"),
        Query(promql.quantile(share, "http_request_duration_seconds", FUNCTION), "function"),
        unit=style.SECONDS,
        width=width,
        colours=style.HOPS,
    )


def latency() -> Row:
    buckets = f"http_request_duration_seconds_bucket{{{FUNCTION}}}"
    return Row(
        "How long do requests take?",
        [
            heat(
                "Durations in the functions",
                "How many requests took how long, over time: the darker, the more. A second band above the first "
                "is a kind of request, or a replica, that behaves otherwise; percentiles hide it.",
                Query(f"sum by (le) (increase({buckets}[{promql.RATE}]))", "{{le}}"),
                unit=style.SECONDS,
            ),
            graph(
                "Percentiles at the edge",
                "From a request's first byte to its answer's last. p99.9 means little below a thousand requests "
                "in the time that is averaged. On a cluster Kong's buckets begin at 25 ms.",
                *(
                    Query(promql.edge_quantile(share, SERVICE), name)
                    for share, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"))
                ),
                unit=style.SECONDS,
                width=12,
                colours=style.PERCENTILES,
            ),
            by_hop("Duration by hop, p50", "Half of the requests take longer, at each hop.", 0.5, 12),
        ],
    )


def answers() -> Row:
    def codes(hop: str, metric: str, labels: str, label: str) -> Panel:
        return graph(
            f"Status codes at the {hop}",
            f"Answers in a second by status, as the {hop} saw them.",
            Query(promql.rate(metric, labels, label), f"{{{{{label}}}}}"),
            unit=style.REQUESTS_PER_SECOND,
            stacked=True,
        )

    return Row(
        "What is answered?",
        [
            codes("edge", "kong_http_requests_total", SERVICE, "code"),
            codes("gateway", "gateway_function_invocation_total", FUNCTION_NAME, "code"),
            codes("function", "http_request_duration_seconds_count", FUNCTION, "status"),
        ],
    )


def price() -> Row:
    function = promql.rate("process_cpu_seconds_total", OF_REPLICAS)
    replicas = promql.rate("http_request_duration_seconds_count", OF_REPLICAS)
    memory = f"sum by (replica) (process_resident_memory_bytes{{{OF_REPLICAS}}})"
    hops = [
        ("edge", program_cpu("edge"), REQUESTS["edge"]),
        ("gateway", program_cpu("gateway"), REQUESTS["gateway"]),
        ("function", function, replicas),
        ("database", program_cpu("postgres"), promql.rate("http_request_duration_seconds_count", FUNCTION)),
    ]
    return Row(
        "What does a request cost?",
        [
            graph(
                "CPU per request, by hop",
                "Processor seconds of a hop for each request that it handled; of the database for each request of "
                "the functions. Work that no request asked for (health checks, scrapes) is in it, so it is true "
                f"only under load. {ON_CLUSTER}",
                *(Query(f"({cpu}) / ({requests} > 0)", hop) for hop, cpu, requests in hops),
                unit=style.SECONDS,
                width=12,
                colours=style.HOPS,
            ),
            graph(
                "CPU by hop",
                "Processor seconds in a second: 1 is a whole core. When all together come near the machine's "
                f"cores, latency says more of the machine than of the change under test. {ON_CLUSTER}",
                *(Query(cpu, hop) for hop, cpu, _ in hops),
                unit=style.SECONDS,
                width=12,
                colours=style.HOPS,
                stacked=True,
            ),
            graph(
                "Memory by hop",
                f"Resident memory of edge, gateway and database. {ON_CLUSTER}",
                *(
                    Query(resident(program), hop)
                    for hop, program in (("edge", "edge"), ("gateway", "gateway"), ("database", "postgres"))
                ),
                unit=style.BYTES,
                width=12,
                colours=style.HOPS,
            ),
            graph(
                "Memory by replica",
                "Resident memory of each chosen replica. A line that only climbs is a leak.",
                Query(memory, "{{replica}}"),
                unit=style.BYTES,
                width=12,
            ),
        ],
    )


def program_cpu(program: str) -> str:
    return promql.either(
        promql.rate("localfaas_program_cpu_seconds_total", f'program="{program}"'),
        promql.rate("container_cpu_usage_seconds_total", container(program)),
    )


def resident(program: str) -> str:
    return promql.either(
        f'sum(localfaas_program_resident_bytes{{program="{program}"}})',
        f"sum(container_memory_working_set_bytes{{{container(program)}}})",
    )


def container(program: str) -> str:
    return CONTAINERS["database" if program == "postgres" else program]


def disturbed() -> Row:
    return Row(
        "Was anything disturbed?",
        [
            bars(
                "First request of each replica",
                "What a replica's first request took. Warm up before you measure, or these are in your tail.",
                Query(f"http_first_request_duration_seconds{{{OF_REPLICAS}}}", "{{replica}}"),
                unit=style.SECONDS,
                limits=(0.1, 0.5),
            ),
            graph(
                "Replicas and restarts",
                "Replicas that are wanted, all chosen functions together, and processes that were started again "
                "in a minute (0 on a cluster, where localfaas is not there to count them).",
                Query(f"sum(function:replicas{{{FUNCTION}}})", "replicas"),
                Query(
                    promql.or_zero(promql.per_minute("localfaas_program_restarts_total")),
                    "restarts in a minute",
                ),
                unit=style.COUNT,
                colours={"replicas": style.BLUE, "restarts in a minute": style.RED},
            ),
            graph(
                "Scrapes",
                "How long Prometheus takes to read each kind of target, at worst. Near 5 s figures have gaps: the "
                "machine is too busy to be measured.",
                Query("max by (job) (scrape_duration_seconds)", "{{job}}"),
                unit=style.SECONDS,
                limits=(1, 4),
            ),
        ],
    )


BOARD = Board(
    uid="magasin-experiments",
    description="For whoever loads, breaks or scales the platform: what arrived, how long it took, what it cost.",
    since="now-15m",
    rows=[arriving(), latency(), answers(), price(), disturbed()],
    choices=[FUNCTIONS, REPLICAS],
    marks=[ALERTS, SCALING, RESTARTS],
)
