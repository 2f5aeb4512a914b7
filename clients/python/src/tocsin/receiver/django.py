"""Views of Django for what Tocsin calls."""

from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from tocsin.receiver.answers import Answer, AsyncWork, answer, answer_awaited, refused
from tocsin.receiver.signatures import Receiver, too_large

View = Callable[[HttpRequest], HttpResponse | Coroutine[Any, Any, HttpResponse]]


def receives(receiver: Receiver) -> Callable[[AsyncWork], View]:
    """Make a view of a function that takes a `Delivery`; one of a coroutine function is awaited.

    The signature takes the place of Django's token against forged forms.
    """

    def view_of(work: AsyncWork) -> View:
        if iscoroutinefunction(work):

            @wraps(work)
            async def awaited_view(request: HttpRequest) -> HttpResponse:
                body = read(request, receiver)
                if body is None:
                    return response(refused(too_large(receiver)))
                return response(await answer_awaited(receiver, request.headers, body, work))

            awaited: View = csrf_exempt(awaited_view)
            return awaited

        @wraps(work)
        def view(request: HttpRequest) -> HttpResponse:
            body = read(request, receiver)
            if body is None:
                return response(refused(too_large(receiver)))
            return response(answer(receiver, request.headers, body, work))

        made: View = csrf_exempt(view)
        return made

    return view_of


def read(request: HttpRequest, receiver: Receiver) -> bytes | None:
    """Read the body; None if it is too large."""
    body: bytes = request.read(receiver.max_body_bytes + 1)
    return body if len(body) <= receiver.max_body_bytes else None


def response(found: Answer) -> HttpResponse:
    return HttpResponse(found.body, status=found.status, headers=found.headers)
