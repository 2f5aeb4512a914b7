"""What every way to authenticate an outgoing request has in common."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from app.core.secrets.masking import Masked, Unshown
from app.errors import AppError, FieldError
from app.targets.auth.tokens import Tokens
from app.targets.net.tls import Tls


class Answer(Unshown, frozen=True, kw_only=True):
    """What a server said to a `Form`."""

    status: int
    body: bytes


class Form(Unshown, frozen=True, kw_only=True):
    """A form to be posted to a server that hands out proofs."""

    url: str
    headers: Mapping[str, str]
    fields: Mapping[str, str]
    ca: str | None
    """PEM: the authorities to trust; None: the system's."""


Post = Callable[[Form], Awaitable[Answer]]
"""Posts a form within the rules for all that goes out; raises AuthFailed where that fails."""


class Outgoing(Unshown, frozen=True, kw_only=True):
    """A request as it is about to be sent, for those who sign it."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    idempotency_key: str
    tokens: Tokens
    post: Post


class Auth(Masked, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """How an outgoing request proves itself. Its `type` is the tag of the subclass."""

    def errors(self) -> Iterable[FieldError]:
        """What msgspec's types cannot say is wrong; fields are relative to the auth."""
        return ()

    def certificates(self) -> Iterable[Tls]:
        """What has to be loaded for connections of its own."""
        return ()

    def header_names(self) -> frozenset[str]:
        """The headers it sets, in lower case: the target may not set them too."""
        return frozenset({"authorization"})

    async def headers(self, request: Outgoing) -> Mapping[str, str]:
        """The headers to add to `request`; may do I/O, e.g. fetch a token.

        Raises:
            AuthFailed: nothing could be obtained to authenticate with.
        """
        raise NotImplementedError

    def refused(self, request: Outgoing, proof: Mapping[str, str]) -> bool:  # noqa: ARG002 - for others
        """Take note that `proof` was answered with 401; whether another one is worth trying."""
        return False


class AuthFailed(AppError):
    """The request was not sent for want of a proof; the message holds no secret."""

    def __init__(self, message: str, *, retryable: bool, reason: str = "auth") -> None:
        super().__init__(message)
        self.retryable = retryable
        self.reason = reason
