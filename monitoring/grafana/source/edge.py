"""Edge and gateway: what each hop adds, whether load is spread evenly, and what the edge refuses."""

from __future__ import annotations

from . import promql, style
from .board import ALERTS, FUNCTIONS, REPLICAS, SCALING, Board, Row
from .panels import Panel, bars, graph, listing, note, number
from .promql import FUNCTION, FUNCTION_NAME, RATE, SERVICE, Query

PAST_THE_GATEWAY = "cart"
"""The edge asks its replicas itself."""

MANY = 'count by (function) (up{job="functions"} == 1) > 1'
REPLICA_RATE = f'sum by (function, replica) (rate(http_request_duration_seconds_count{{{FUNCTION}, replica=~"$replica"}}[{RATE}]))'


def by_hop() -> Row:
    rate = f"sum by (hop) (hop:http_requests:rate1m{{{FUNCTION}}})"
    failed = f"hop:http_errors:ratio1m{{{FUNCTION}}} * hop:http_requests:rate1m{{{FUNCTION}}}"
    return Row(
        "How do requests fare at each hop?",
        [
            graph(
                "Rate by hop",
                "Requests in a second at the edge, at the function gateway and in the functions. The gateway and "
                "the functions see calls between functions as well; cart's requests pass by the gateway.",
                Query(rate, "{{hop}}"),
                unit=style.REQUESTS_PER_SECOND,
                colours=style.HOPS,
            ),
            graph(
                "Errors by hop",
                "Share of answers with a status of 500 or more. An error that the edge has and the functions have "
                "not was made on the way.",
                Query(f"sum by (hop) ({failed}) / ({rate} > 0)", "{{hop}}"),
                unit=style.SHARE,
                colours=style.HOPS,
                limits=style.ERRORS,
            ),
            graph(
                "Duration by hop, p50",
                "Half of the requests take longer, at each hop over all chosen functions. On a cluster Kong's "
                "buckets begin at 25 ms.",
                Query(promql.edge_quantile(0.5, SERVICE), "edge"),
                Query(promql.quantile(0.5, "gateway_functions_seconds", FUNCTION_NAME), "gateway"),
                Query(promql.quantile(0.5, "http_request_duration_seconds", FUNCTION), "function"),
                unit=style.SECONDS,
                colours=style.HOPS,
            ),
        ],
    )


EXPLAINED = f"""\
**p50**: the median at one hop minus the median at the next, function by function (recorded over one minute). \
It is a difference of two distributions, not the median of the differences, and can be below 0 when the hops see different requests.
**mean**: at the edge, what its requests took in all minus what they waited for an upstream, by the edge's own clock (a Kong's is in whole milliseconds); \
at the gateway, its mean minus the function's. \
`{PAST_THE_GATEWAY}` is reached past the gateway: its edge is compared with its replicas."""


def overhead() -> Row:
    edge_gateway = difference("edge", "gateway", f'function!="{PAST_THE_GATEWAY}"')
    edge_replica = difference("edge", "function", f'function="{PAST_THE_GATEWAY}"')
    own = " - ".join(
        promql.rate(f"kong_{whole}_latency_ms_sum", SERVICE, "service") for whole in ("request", "upstream")
    )
    count = promql.rate("kong_request_latency_ms_count", SERVICE, "service")
    gateway = promql.of_function(promql.mean("gateway_functions_seconds", FUNCTION_NAME, "function_name"))
    function = promql.mean("http_request_duration_seconds", FUNCTION, "function")
    return Row(
        "What does each hop add?",
        [
            note(
                "How this is computed", "What the four panels below subtract from what.", EXPLAINED, height=3
            ),
            added("edge", "p50", Query(f"{edge_gateway} or {edge_replica}", "{{function}}"), style.SECONDS),
            added("edge", "mean", Query(f"({own}) / ({count} > 0)", "{{service}}"), style.MILLISECONDS),
            added(
                "gateway",
                "p50",
                Query(difference("gateway", "function", f'function!="{PAST_THE_GATEWAY}"'), "{{function}}"),
                style.SECONDS,
            ),
            added(
                "gateway",
                "mean",
                Query(f"{gateway} - on (function) ({function})", "{{function}}"),
                style.SECONDS,
            ),
        ],
    )


def difference(hop: str, following: str, labels: str) -> str:
    p50 = "hop:http_duration_seconds:p50_1m"
    chosen = f"{FUNCTION}, {labels}"
    return f'({p50}{{hop="{hop}", {chosen}}} - on (function) {p50}{{hop="{following}", {chosen}}})'


def added(hop: str, kind: str, query: Query, unit: str) -> Panel:
    return graph(
        f"Added by the {hop}, {kind}",
        f"Time that the {hop} adds to a request of each function. More than a millisecond or two while nothing "
        "else is slow means that the hop itself is short of processor.",
        query,
        unit=unit,
        width=6,
        signed=True,
    )


def balance() -> Row:
    total = REPLICA_RATE.replace("function, replica", "function")
    share = f"{REPLICA_RATE} / on (function) group_left () ({total} > 0)"
    fair = 'count by (function) (up{job="functions"} == 1)'
    return Row(
        "Is load spread evenly over the replicas?",
        [
            graph(
                "Share of each replica",
                "Of the requests of a function with more than one replica, the share that each replica answers. "
                "Equal shares are right; cart has three replicas and a third each.",
                Query(f"{share} and on (function) ({MANY})", "{{replica}}"),
                unit=style.SHARE,
                maximum=1,
            ),
            bars(
                "Busiest replica against its fair share",
                "1 is an even spread, 2 a replica that answers twice what it should.",
                Query(f"max by (function) ({share}) * on (function) ({fair} > 1)", "{{function}}"),
                unit=style.COUNT,
                limits=(1.25, 1.75),
            ),
            graph(
                "Latency of each replica, p99",
                "A replica that leaves the others of its function is sick, or asked too much.",
                Query(
                    promql.quantile(
                        0.99,
                        "http_request_duration_seconds",
                        f'{FUNCTION}, replica=~"$replica"',
                        "function, replica",
                    )
                    + f" and on (function) ({MANY})",
                    "{{replica}}",
                ),
                unit=style.SECONDS,
            ),
        ],
    )


def upstreams() -> Row:
    return Row(
        "Do the edge's upstreams answer?",
        [
            number(
                "Addresses out of rotation",
                "Addresses of upstreams that the edge's health checks have taken out, or whose name is not "
                "resolved. 0 is right.",
                Query(
                    promql.or_zero('sum(kong_upstream_target_health{state=~"unhealthy|dns_error"})'),
                    "addresses",
                ),
                unit=style.COUNT,
                height=8,
                limits=style.ANY_IS_BAD,
            ),
            graph(
                "Addresses by health",
                "Addresses of each upstream in the state that the edge has them in.",
                Query("sum by (upstream, state) (kong_upstream_target_health) > 0", "{{upstream}} {{state}}"),
                unit=style.COUNT,
            ),
            listing(
                "Where each address stands",
                "One row for each address of each upstream, with its present state.",
                Query("sum by (upstream, address, state) (kong_upstream_target_health == 1)", "addresses"),
                columns={"upstream": "upstream", "address": "address", "state": "state"},
                units={"addresses": style.COUNT},
                hidden=["Value"],
            ),
        ],
    )


def refused() -> Row:
    code = 'code=~"429|50[234]"'
    return Row(
        "What is refused, and what goes over the wire?",
        [
            graph(
                "Answers by class",
                "Answers of the edge in a second by the first digit of their status, as areas on each other.",
                Query(
                    "sum by (class) ("
                    + promql.status_class(promql.rate("kong_http_requests_total", SERVICE, "code"))
                    + ")",
                    "{{class}}xx",
                ),
                unit=style.REQUESTS_PER_SECOND,
                colours=style.STATUSES,
                stacked=True,
            ),
            graph(
                "Limited and unanswered",
                "429 is a client over its rate limit, or a function with no room; 502 to 504 a function that did "
                "not answer. By hop; 0 is right unless somebody tries the limits.",
                Query(
                    promql.or_zero(promql.rate("kong_http_requests_total", f'{SERVICE}, code="429"')),
                    "edge 429",
                ),
                Query(
                    promql.or_zero(promql.rate("kong_http_requests_total", f'{SERVICE}, code=~"50[234]"')),
                    "edge 502–504",
                ),
                Query(
                    promql.or_zero(
                        promql.rate("gateway_function_invocation_total", f"{FUNCTION_NAME}, {code}")
                    ),
                    "gateway 429, 502–504",
                ),
                unit=style.REQUESTS_PER_SECOND,
            ),
            graph(
                "Answered by the edge itself",
                "Requests in a second that no function saw, by status: preflights, limits, bodies that are too "
                "large, and upstreams that are away.",
                Query(
                    promql.or_zero(promql.rate("kong_http_requests_total", f'{SERVICE}, source="kong"')),
                    "all of them",
                ),
                Query(
                    promql.rate("kong_http_requests_total", f'{SERVICE}, source="kong"', "code"), "{{code}}"
                ),
                unit=style.REQUESTS_PER_SECOND,
            ),
            graph(
                "Bandwidth",
                "Bytes in a second from clients (ingress) and to them (egress), over all chosen functions.",
                Query(promql.rate("kong_bandwidth_bytes", SERVICE, "direction"), "{{direction}}"),
                unit=style.BYTES_PER_SECOND,
                width=12,
            ),
            graph(
                "Client connections",
                "Connections open at the edge now, and those accepted in a second. Many accepted for few requests: "
                "clients do not keep theirs.",
                Query('sum(kong_nginx_connections_total{state="active"})', "open"),
                Query(
                    promql.rate("kong_nginx_connections_total", 'state="accepted"'), "accepted in a second"
                ),
                unit=style.COUNT,
                width=12,
            ),
        ],
    )


BOARD = Board(
    uid="magasin-edge",
    description="What each hop adds, whether load is spread evenly over replicas, and what the edge refuses.",
    since="now-15m",
    rows=[by_hop(), overhead(), balance(), upstreams(), refused()],
    choices=[FUNCTIONS, REPLICAS],
    marks=[ALERTS, SCALING],
)
