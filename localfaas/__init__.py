"""localfaas: OpenFaaS functions behind a gateway and an edge, on one machine, without containers."""

__version__ = "0.1.0"
