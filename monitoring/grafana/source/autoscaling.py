"""Autoscaling: whether replicas follow the load, whether there are enough of them, and what the rules say."""

from __future__ import annotations

from . import promql, style
from .board import FUNCTIONS, RESTARTS, SCALING, Board, Row
from .overview import available
from .panels import bars, graph, listing
from .promql import FUNCTION, FUNCTION_NAME, Query

AT_FUNCTION = f'hop="function", {FUNCTION}'
REPLICAS = f"function:replicas{{{FUNCTION}}}"
SCALING_ALERTS = '(ALERTS{scaling!=""} or ALERTS{alertname="APIHighInvocationRate"})'
"""Our rules', which say which way they scale, and OpenFaaS CE's own."""


def asked() -> Row:
    return Row(
        "How are the functions asked, and how do they answer?",
        [
            graph(
                "Rate",
                "Requests in a second that each function answers: the load that replicas are to follow.",
                Query(f"sum by (function) (hop:http_requests:rate1m{{{AT_FUNCTION}}})", "{{function}}"),
                unit=style.REQUESTS_PER_SECOND,
            ),
            graph(
                "Errors",
                "Share of answers with a status of 500 or more, at the hop that has the largest.",
                Query(f"max by (function) (hop:http_errors:ratio1m{{{FUNCTION}}})", "{{function}}"),
                unit=style.SHARE,
                limits=style.ERRORS,
            ),
            graph(
                "Duration, p99",
                "One request in a hundred takes longer, in the function. It climbs when replicas are too few.",
                Query(f"hop:http_duration_seconds:p99_1m{{{AT_FUNCTION}}}", "{{function}}"),
                unit=style.SECONDS,
            ),
        ],
    )


def following() -> Row:
    load = f"sum by (function) (rate(http_request_duration_seconds_count{{{FUNCTION}}}[{promql.RATE}]))"
    return Row(
        "Do replicas follow the load?",
        [
            graph(
                "Replicas wanted",
                "What the gateway was told to run, by function.",
                Query(f"sum by (function) ({REPLICAS})", "{{function}}"),
                unit=style.COUNT,
                width=12,
            ),
            graph(
                "Replicas available",
                "Replicas that take requests. Far behind those wanted: they start slowly, or not at all. Where "
                "localfaas does not say it (a cluster), those that Prometheus reaches.",
                Query(available(), "{{function}}"),
                unit=style.COUNT,
                width=12,
            ),
            graph(
                "Load",
                "Requests in a second by function, over a shorter time than above: a step is seen as one.",
                Query(load, "{{function}}"),
                unit=style.REQUESTS_PER_SECOND,
                width=12,
            ),
            graph(
                "Load of one replica",
                "Requests in a second for each replica that is wanted. Good scaling keeps it level while load "
                "changes.",
                Query(f"{load} / on (function) (sum by (function) ({REPLICAS}) > 0)", "{{function}}"),
                unit=style.REQUESTS_PER_SECOND,
                width=12,
            ),
        ],
    )


def enough() -> Row:
    return Row(
        "Are there enough replicas, and not too many?",
        [
            graph(
                "Busy ratio",
                "Share of the threads that are at work. Above the red line too few replicas; near 0 for long, too "
                "many.",
                Query(f"function:busy_ratio:rate15s{{{FUNCTION}}}", "{{function}}"),
                unit=style.SHARE,
                limits=style.BUSY,
            ),
            graph(
                "Time in queue, p90",
                "One request in ten waits longer between the gateway and its function's work.",
                Query(f"function:queue_seconds:p90_15s{{{FUNCTION}}}", "{{function}}"),
                unit=style.SECONDS,
            ),
            graph(
                "In flight",
                "Requests being worked on or waiting inside the replicas, by function.",
                Query(f"sum by (function) (http_requests_in_flight{{{FUNCTION}}})", "{{function}}"),
                unit=style.COUNT,
            ),
        ],
    )


def rules() -> Row:
    labels = "alertname, function, function_name, alertstate"
    changes = f"sum by (function) (changes({REPLICAS}[{promql.RANGE}]))"
    return Row(
        "What do the scaling rules say?",
        [
            graph(
                "Scaling alerts, pending and firing",
                "How many alerts that scale are pending (their condition holds, but not for long enough) and how "
                "many fire: each notice of a firing one is a step up, its end the way back.",
                Query(
                    promql.or_zero(f'count({SCALING_ALERTS} and ALERTS{{alertstate="pending"}})'), "pending"
                ),
                Query(promql.or_zero(f'count({SCALING_ALERTS} and ALERTS{{alertstate="firing"}})'), "firing"),
                unit=style.COUNT,
                colours={"pending": style.YELLOW, "firing": style.RED},
            ),
            listing(
                "Scaling alerts now",
                "Which rule speaks for which function. Empty while nothing has to change.",
                Query(f"sum by ({labels}) ({SCALING_ALERTS})", "alerts"),
                columns={
                    "alertname": "rule",
                    "function": "function",
                    "function_name": "function (CE's rule)",
                    "alertstate": "state",
                },
                units={"alerts": style.COUNT},
                width=8,
                hidden=["Value"],
                empty="No scaling rule is pending or firing.",
            ),
            bars(
                "Changes of replicas",
                "How often the wanted number changed in the time shown. Many changes under a steady load are a "
                "rule that swings.",
                Query(changes, "{{function}}"),
                unit=style.COUNT,
                limits=(10, 20),
            ),
        ],
    )


def cost() -> Row:
    def failing(metric: str, labels: str) -> str:
        return promql.or_zero(promql.rate(metric, f'{labels}, code=~"5..|429|499"'))

    return Row(
        "What does scaling cost those who call?",
        [
            graph(
                "Lost answers",
                "Requests in a second that were answered with 5xx, with 429, or left by their caller (499), at "
                "each hop. 0 is right while replicas come and go.",
                Query(failing("kong_http_requests_total", promql.SERVICE), "edge"),
                Query(failing("gateway_function_invocation_total", FUNCTION_NAME), "gateway"),
                unit=style.REQUESTS_PER_SECOND,
                colours=style.HOPS,
            ),
            bars(
                "First request of each replica",
                "What a replica's first request took: the price of a replica that is started.",
                Query(f"http_first_request_duration_seconds{{{FUNCTION}}}", "{{replica}}"),
                unit=style.SECONDS,
                limits=(0.1, 0.5),
            ),
            graph(
                "Restarts in a minute",
                "Processes that died and were started again. 0 is right: scaling restarts nobody. Counted by "
                "localfaas; on a cluster the kubelet knows (kube_pod_container_status_restarts_total).",
                Query(
                    promql.or_zero(
                        promql.either(
                            promql.per_minute("localfaas_program_restarts_total"),
                            promql.per_minute("kube_pod_container_status_restarts_total"),
                        )
                    ),
                    "restarts",
                ),
                unit=style.PER_MINUTE,
                colours={"restarts": style.RED},
            ),
        ],
    )


BOARD = Board(
    uid="magasin-autoscaling",
    description="Whether replicas follow the load, whether there are enough of them, and what the rules say.",
    since="now-15m",
    rows=[asked(), following(), enough(), rules(), cost()],
    choices=[FUNCTIONS],
    marks=[SCALING, RESTARTS],
)
