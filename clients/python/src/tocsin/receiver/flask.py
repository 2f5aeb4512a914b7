"""Views of Flask for what Tocsin calls."""

from collections.abc import Callable
from functools import wraps

from flask import Response, request

from tocsin.receiver.answers import Work, answer, refused
from tocsin.receiver.signatures import Receiver, too_large


def receives(receiver: Receiver) -> Callable[[Work], Callable[[], Response]]:
    """Make a view of a function that takes a `Delivery`: below `@app.post("/report")`."""

    def view_of(work: Work) -> Callable[[], Response]:
        @wraps(work)
        def view() -> Response:
            body = request.stream.read(receiver.max_body_bytes + 1)
            if len(body) > receiver.max_body_bytes:
                found = refused(too_large(receiver))
            else:
                found = answer(receiver, dict(request.headers), body, work)
            return Response(found.body, status=found.status, headers=found.headers)

        return view

    return view_of
