"""The interface of the ways to authenticate an outgoing request."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from app.core.secrets.masking import Masked, Unshown
from app.errors import AppError, FieldError
from app.targets.auth.tokens import Tokens
from app.targets.net.tls import Tls


class Answer(Unshown, frozen=True, kw_only=True):
    """The answer of a server to a `Form`."""

    status: int
    body: bytes


class Form(Unshown, frozen=True, kw_only=True):
    """A form to be posted to a server that issues tokens."""

    url: str
    headers: Mapping[str, str]
    fields: Mapping[str, str]
    ca: str | None
    """The authorities to trust, in PEM; None stands for the system's."""


Post = Callable[[Form], Awaitable[Answer]]
"""Posts a form, through the guard; raises AuthFailed without an answer."""


class Outgoing(Unshown, frozen=True, kw_only=True):
    """A request that is about to be sent, as an `Auth` sees it."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    idempotency_key: str
    tokens: Tokens
    post: Post


class Auth(Masked, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """The `auth` of a target: one way to authenticate; `type` is the tag of the subclass."""

    def errors(self) -> Iterable[FieldError]:
        """Check the rules that msgspec's types cannot express; field paths begin in the auth."""
        return ()

    def certificates(self) -> Iterable[Tls]:
        """Return the TLS settings of connections that the auth itself needs, as to a token server.

        Their certificates are loaded ahead.
        """
        return ()

    def header_names(self) -> frozenset[str]:
        """Return the headers that the auth sets, in lower case: a target may not set them too."""
        return frozenset({"authorization"})

    async def headers(self, request: Outgoing) -> Mapping[str, str]:
        """Return the headers to add to `request`; may fetch a token for them.

        Raises:
            AuthFailed: nothing could be obtained to authenticate with.
        """
        raise NotImplementedError

    def refused(self, request: Outgoing, proof: Mapping[str, str]) -> bool:  # noqa: ARG002 - for others
        """Note that `proof` was answered with 401; return whether another one may succeed."""
        return False


class AuthFailed(AppError):
    """The request was not sent, as it cannot be authenticated; the message holds no secret."""

    def __init__(self, message: str, *, retryable: bool, reason: str = "auth") -> None:
        super().__init__(message)
        self.retryable = retryable
        self.reason = reason
