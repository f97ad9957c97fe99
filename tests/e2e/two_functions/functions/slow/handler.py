"""Answers after the milliseconds it is told; counts how often its schedule called it."""

import os
import time

from flask import Flask, request

app = Flask(__name__)
CALLS = []


@app.get("/")
def wait():
    time.sleep(int(request.args.get("ms", 0)) / 1000)
    return {"calls": len(CALLS)}, {"X-Served-By": os.environ["HOSTNAME"]}


@app.post("/")
def called_by_schedule():
    CALLS.append(request.headers.get("X-Topic"))
    return {"topic": CALLS[-1]}
