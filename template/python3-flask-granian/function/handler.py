"""A function: the Flask application called `app` is served. Paths arrive without the function's name.

`create_app(environ)` is used instead, when there is one; and `ready()`, when there is one, says whether
requests can be answered: it returns None, or a sentence about what is missing.
"""

import os

from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def greet():
    """Say hello, by name if there is one: `/?name=Ada`."""
    name = request.args.get("name", "stranger")
    return {"message": f"Hello, {name}!", "replica": os.environ.get("HOSTNAME", "unknown")}


@app.route("/<path:path>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def echo(path):
    """Show what arrived, to try paths, methods and bodies out."""
    return {"method": request.method, "path": f"/{path}", "body": request.get_data(as_text=True)}
