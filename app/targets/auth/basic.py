"""`{"type": "basic", "username", "password"}`: RFC 7617, in UTF-8."""

from base64 import b64encode
from collections.abc import Iterable, Mapping

from app.core.secrets.masking import Secret
from app.errors import FieldError
from app.targets.auth.base import Auth, Outgoing


class BasicAuth(Auth, frozen=True, kw_only=True, tag="basic"):
    """A user name and a password."""

    username: str
    password: Secret

    def errors(self) -> Iterable[FieldError]:
        if ":" in self.username:
            yield FieldError(field="username", message="may not contain a colon")

    async def headers(self, request: Outgoing) -> Mapping[str, str]:  # noqa: ARG002 - needs nothing of it
        token = b64encode(f"{self.username}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {token}"}


AUTH = BasicAuth
