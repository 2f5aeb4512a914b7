"""Endpoints of FastAPI, and of Starlette, for what Tocsin calls."""

from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tocsin.receiver.answers import AsyncWork, answer_awaited, refused
from tocsin.receiver.bodies import read_bounded
from tocsin.receiver.signatures import Receiver, Rejected

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


def receives(receiver: Receiver) -> Callable[[AsyncWork], Endpoint]:
    """Make an endpoint of a function that takes a `Delivery`: below `@app.post("/report")`."""

    def endpoint_of(work: AsyncWork) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            try:
                body = await read_bounded(request.stream(), receiver)
            except Rejected as refusal:
                found = refused(refusal)
            else:
                found = await answer_awaited(receiver, request.headers, body, work)
            return Response(found.body, status_code=found.status, headers=found.headers)

        # Not by `wraps`: what the framework is to pass is the request.
        endpoint.__name__ = getattr(work, "__name__", "receive")
        endpoint.__doc__ = work.__doc__
        return endpoint

    return endpoint_of
