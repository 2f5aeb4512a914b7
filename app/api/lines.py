"""Lists as lines of JSON (NDJSON), for clients that ask for it by `Accept`."""

from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Litestar, Request, Response
from litestar.response.base import ASGIResponse
from litestar.serialization import get_serializer

from app.api.body import LINES, wants_lines
from app.api.problems import ApiRequest


class Listed(Response[Any]):
    """An answer, of which a list is sent as lines, one for each item, where a client wants that.

    The page after has its address in `Link`, as lines have no place for `next_cursor`.
    """

    def to_asgi_response(
        self,
        app: Litestar | None,
        request: Request[Any, Any, Any],
        **options: Any,  # noqa: ANN401 - Litestar's own
    ) -> ASGIResponse:
        """Make the answer."""
        items = getattr(self.content, "items", None)
        if isinstance(items, list) and wants_lines(request):
            if cursor := getattr(self.content, "next_cursor", None):
                self.headers["Link"] = f'<{query_after(request, cursor)}>; rel="next"'
            encoder = msgspec.json.Encoder(enc_hook=get_serializer(None))
            self.content = encoder.encode_lines(items)
            self.media_type = LINES
        return super().to_asgi_response(app, request, **options)


def query_after(request: ApiRequest, cursor: str) -> str:
    """Return the query of the page after, which is at the same path, with all that was asked."""
    given = [
        (name, value) for name, value in request.query_params.multi_items() if name != "cursor"
    ]
    return f"?{urlencode([*given, ('cursor', cursor)])}"
