"""Has a form act once, however often it is sent: it carries a key that was made with its page.

What is sent a second time, with the same key and content, is answered as it was the first time,
in the way of requests with an Idempotency-Key: the key is entered in the transaction of what the
form does. A form that was filled in otherwise is another one.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Any
from uuid import uuid4

from litestar.response.base import Response
from litestar.types import ASGIApp, Receive, Send
from markupsafe import Markup

from app.api.access import require_scope
from app.api.problems import ApiRequest
from app.api.safe_writes import answer_once, send_problem
from app.errors import AppError
from app.web.forms import read_form

FIELD = "once"
ACTING = ("", "do", "save")
"""What buttons of forms say that act; the others only show what would be done."""
Refuse = Callable[[ApiRequest, AppError], Response[Any]]


def once_field() -> Markup:
    """Return a field with a new key, for a form."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, uuid4().hex)


def once(refuse: Refuse) -> Callable[[ASGIApp], ASGIApp]:
    """Return what forms pass through after the caller is known; `refuse` makes pages of errors."""

    def middleware(app: ASGIApp) -> ASGIApp:
        async def answer(scope: Any, receive: Receive, send: Send) -> None:  # noqa: ANN401 - as Litestar's
            request: ApiRequest = ApiRequest(scope, receive, send)
            key = await read_key(request) if scope["method"] == "POST" else ""
            if not key:
                await app(scope, receive, send)
                return
            try:
                # Before anything is answered, as an answer that is kept does not pass the guards.
                await require_scope(request, request.route_handler)
                await answer_once(app, scope, receive, send, key=key, is_form=True)
            except AppError as error:
                await send_problem(refuse(request, error), request, send)

        return answer

    return middleware


async def read_key(request: ApiRequest) -> str:
    """Return the key of a form and its content; empty if it only shows something, or has none."""
    if not request.route_handler.opt.get("acts", True):
        return ""
    form = await read_form(request)
    if not form[FIELD] or form["do"] not in ACTING:
        return ""
    return sha256(await request.body()).hexdigest()
