"""The dashboards, as code: one module for each, of panels made in `panels.py`; `make dashboards` writes their JSON."""
