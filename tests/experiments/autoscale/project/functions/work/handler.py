"""Work that takes a known time and no processor: sleeps for a lognormal time, and measures itself as a function of the shop does."""

import math
import os
import random
import time

from flask import Flask, request
from prometheus_client import Gauge, Histogram

MEAN, VARIATION = float(os.environ["mean_seconds"]), float(os.environ["variation"])
SIGMA = math.sqrt(math.log(1 + VARIATION**2))
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)

DURATION = Histogram(
    "http_request_duration_seconds",
    "Time to answer a request.",
    ["route", "method", "status"],
    buckets=BUCKETS,
)
QUEUE = Histogram(
    "http_request_queue_seconds", "From the gateway to the beginning of the work.", buckets=BUCKETS
)
THREADS = Gauge("function_threads", "Requests that one replica works on at once.")
THREADS.set(int(os.environ["threads"]))

app = Flask(__name__)


@app.get("/")
def work() -> tuple[dict[str, str], dict[str, str]]:
    begun = time.perf_counter()
    if "X-Start-Time" in request.headers:
        QUEUE.observe(max(0.0, time.time() - int(request.headers["X-Start-Time"]) / 1e9))
    time.sleep(random.lognormvariate(math.log(MEAN) - SIGMA**2 / 2, SIGMA))
    DURATION.labels("/", "GET", "200").observe(time.perf_counter() - begun)
    return {"replica": os.environ["HOSTNAME"]}, {"X-Served-By": os.environ["HOSTNAME"]}
