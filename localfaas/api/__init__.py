"""The REST API of OpenFaaS' gateway and provider, for this machine: an unmodified `faas-cli` talks to it.

`app.py` has the routing table; each resource has a module of its own. What is odd in OpenFaaS and not followed is
listed in docs/decisions/0018-openfaas-api.md.
"""

from localfaas.api.app import create_app
from localfaas.api.context import ApiContext, Replica
from localfaas.api.metrics import create_metrics_app

__all__ = ["ApiContext", "Replica", "create_app", "create_metrics_app"]
