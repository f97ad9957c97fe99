"""The embedded edge: compiles Kong's declarative configuration to Envoy's and answers Kong's Admin API.

Parse (document, schema, entities, parse, link), compute (resolve, clusters, routes, listener, compile, plugins),
act (apply, edge, admin, metrics). kong/README.md lists what it supports.
"""

from localfaas.edge.admin import create_admin_app
from localfaas.edge.certificate import CertificateError
from localfaas.edge.edge import Edge, Loaded, bootstrap, write_bootstrap
from localfaas.edge.errors import KongConfigError
from localfaas.edge.kong_conf import KongConfError

__all__ = [
    "CertificateError",
    "Edge",
    "KongConfError",
    "KongConfigError",
    "Loaded",
    "bootstrap",
    "create_admin_app",
    "write_bootstrap",
]
