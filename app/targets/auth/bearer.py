"""`{"type": "bearer", "token"}`: RFC 6750."""

from collections.abc import Iterable, Mapping

from app.core.net.headers import value_error
from app.core.secrets.masking import Secret
from app.errors import FieldError
from app.targets.auth.base import Auth, Outgoing


class BearerAuth(Auth, frozen=True, kw_only=True, tag="bearer"):
    """A token that is known beforehand."""

    token: Secret

    def errors(self) -> Iterable[FieldError]:
        problem = value_error(self.token)
        if problem or not self.token or " " in self.token:
            yield FieldError(field="token", message="must be visible ASCII without spaces")

    async def headers(self, request: Outgoing) -> Mapping[str, str]:  # noqa: ARG002 - needs nothing of it
        return {"Authorization": f"Bearer {self.token}"}


AUTH = BearerAuth
