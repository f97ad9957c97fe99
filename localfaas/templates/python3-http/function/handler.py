def handle(event, context):
    return {"statusCode": 200, "body": f"Hello from {context.hostname}"}
