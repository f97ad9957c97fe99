"""The second port (:8082, loopback only): metrics, health, and the replicas that Prometheus should scrape."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response

from localfaas import gateway_metrics, loopback, own_metrics
from localfaas.api import answers
from localfaas.api.app import as_plain_text
from localfaas.api.context import ApiContext

PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


def create_metrics_app(context: ApiContext) -> Flask:
    """`/metrics` and `/healthz` as OpenFaaS' gateway has them, and `/system/localfaas/targets`; none needs a password."""
    app = Flask("localfaas.metrics", static_folder=None)
    app.config["TRUSTED_HOSTS"] = loopback.HOSTS
    as_plain_text(app)
    app.add_url_rule("/metrics", "metrics", lambda: metrics(context))
    app.add_url_rule("/healthz", "healthz", lambda: answers.empty(200))
    app.add_url_rule("/system/localfaas/targets", "targets", lambda: answers.as_json(targets(context)))
    return app


def metrics(context: ApiContext) -> Response:
    """OpenFaaS' gateway metrics and localfaas' own; 503 while the gateway's Envoy is away: the target counts as down."""
    try:
        stats = gateway_metrics.read_stats(context.settings)
    except (OSError, RuntimeError):
        return answers.error(503, "the function gateway's Envoy is not answering")
    deployed = context.registry.all()
    available = {one.name: context.available(one.name) for one in deployed}
    own = own_metrics.render(context.settings, available, context.programs())
    return Response(gateway_metrics.render(stats, deployed) + own, content_type=PROMETHEUS_TEXT)


def targets(context: ApiContext) -> list[dict[str, Any]]:
    """Prometheus' HTTP discovery: one target per replica of each function whose annotation asks for scraping."""
    scraped = {one.name for one in context.registry.all() if one.deployment.scraped}
    return [
        {
            "targets": ["{}:{}".format(*replica.address)],
            "labels": {
                "function": replica.function,
                "replica": replica.name,
            },
        }
        for replica in context.replicas()
        if replica.function in scraped
    ]
