def handle(req):
    """Answer the body of the request, which is bytes."""
    return req
