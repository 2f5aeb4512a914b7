"""Handlers of Litestar for what Tocsin calls."""

from collections.abc import Callable, Coroutine
from typing import Any

from litestar import Request, Response

from tocsin.receiver.answers import AsyncWork, answer_awaited, refused
from tocsin.receiver.bodies import read_bounded
from tocsin.receiver.signatures import Receiver, Rejected

Handler = Callable[[Request[Any, Any, Any]], Coroutine[Any, Any, Response[bytes]]]


def receives(receiver: Receiver) -> Callable[[AsyncWork], Handler]:
    """Make a handler of a function that takes a `Delivery`: below `@post("/report")`."""

    def handler_of(work: AsyncWork) -> Handler:
        async def handler(request: Request[Any, Any, Any]) -> Response[bytes]:
            try:
                body = await read_bounded(request.stream(), receiver)
            except Rejected as refusal:
                found = refused(refusal)
            else:
                found = await answer_awaited(receiver, request.headers, body, work)
            return Response(
                found.body,
                status_code=found.status,
                headers=found.headers,
                media_type=found.media_type,
            )

        # Not by `wraps`: what the framework is to pass is the request.
        handler.__name__ = getattr(work, "__name__", "receive")
        handler.__doc__ = work.__doc__
        return handler

    return handler_of
