"""Who is told of each request over HTTP that was sent to a target, to count them."""

from typing import Protocol


class NoteRequest(Protocol):
    """Takes note of a request and how it ended; redirects are requests of their own.

    `status`: None if no answer came. `error`: the stable word for why no complete answer came; None
    if one did. `seconds`: from when a connection was asked for to the end of the answer.
    """

    def __call__(
        self, method: str, status: int | None, error: str | None, seconds: float, /
    ) -> None: ...
