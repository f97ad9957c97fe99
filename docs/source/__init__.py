"""What of the documentation is made by code: reference pages, diagrams, the site. `python -m docs.source --help`."""
