"""A request over HTTP that was sent to a target, for whoever counts them."""

from collections.abc import Callable

from msgspec import Struct


class Requesting(Struct, frozen=True, kw_only=True):
    """One request and how it ended; redirects are requests of their own."""

    method: str
    status: int | None
    """None if no answer came."""
    error: str | None
    """The stable word for why no complete answer came; None if one did."""
    seconds: float
    """From when a connection was asked for to the end of the answer."""


NoteRequest = Callable[[Requesting], None]
