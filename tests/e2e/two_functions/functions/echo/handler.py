"""Answers what it was asked, and what it knows of itself."""

import os
import pathlib

from flask import Flask, request

app = Flask(__name__)
print("echo is here", flush=True)


@app.route("/", defaults={"path": ""}, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@app.route("/<path:path>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def echo(path):
    directory = pathlib.Path(os.environ["secret_mount_path"])
    answer = {
        "method": request.method,
        "path": path,
        "query": request.query_string.decode(),
        "headers": dict(request.headers),
        "body": request.get_data(as_text=True),
        "greeting": os.environ["greeting"],
        "gateway": os.environ["gateway_url"],
        "replica": os.environ["HOSTNAME"],
        "secrets": {file.name: file.read_text() for file in directory.iterdir()},
    }
    return answer, {"X-Served-By": os.environ["HOSTNAME"]}
