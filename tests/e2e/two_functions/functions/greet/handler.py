"""As written for OpenFaaS' template python3-http: its secret is where OpenFaaS puts it."""

from pathlib import Path


def handle(event, context):
    word = Path("/var/openfaas/secrets/echo-word").read_text()
    answer = {"word": word, "replica": context.hostname, "body": event.body.decode(), "path": event.path}
    return {
        "statusCode": 201,
        "body": answer | {"name": event.query["name"]},
        "headers": {"X-Kind": "greeting"},
    }
