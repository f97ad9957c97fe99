"""The page at :8011 that draws the project's Grafana dashboards where no Grafana is installed. It is not Grafana."""

from localfaas.dashboards.app import create_app
from localfaas.dashboards.serve import serve

__all__ = ["create_app", "serve"]
