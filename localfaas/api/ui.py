"""`/ui/`: one page that lists the functions, without scripts."""

from __future__ import annotations

from flask import Response, render_template_string

from localfaas.api import status
from localfaas.api.context import ApiContext

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>localfaas</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem; color: #222; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: .3rem 1.2rem .3rem 0; border-bottom: 1px solid #ddd; }
td.number, th.number { text-align: right; }
</style>
<h1>Functions</h1>
{% if functions %}
<table>
<tr><th>Name<th class="number">Ready<th class="number">Wanted<th class="number">Invocations<th>Image
{% for one in functions %}
<tr><td><a href="/function/{{ one.name }}">{{ one.name }}</a>
<td class="number">{{ one.availableReplicas or 0 }}
<td class="number">{{ one.replicas }}
<td class="number">{{ one.invocationCount or 0 }}
<td>{{ one.image }}
{% endfor %}
</table>
{% else %}
<p>None is deployed yet.</p>
{% endif %}
</html>
"""


def page(context: ApiContext) -> Response:
    counts = context.counts()
    functions = [status.of(context, one, counts.get(one.name, 0)) for one in context.registry.all()]
    response = Response(
        render_template_string(_PAGE, functions=functions), content_type="text/html; charset=utf-8"
    )
    response.headers["Access-Control-Allow-Headers"] = "Content-Type"
    response.headers["Access-Control-Allow-Methods"] = "GET"
    response.headers["Access-Control-Allow-Origin"] = "raw.githubusercontent.com"
    return response
