"""`{"type": "header", "name", "value"}`: an API key in a header of its own."""

from collections.abc import Iterable, Mapping

from app.core.net.headers import name_error, value_error
from app.core.secrets.masking import Secret
from app.errors import FieldError
from app.targets.auth.base import Auth, Outgoing


class HeaderAuth(Auth, frozen=True, kw_only=True, tag="header"):
    """One header whose value is secret, whatever the header's name."""

    name: str
    value: Secret

    def errors(self) -> Iterable[FieldError]:
        if problem := name_error(self.name):
            yield FieldError(field="name", message=problem)
        if problem := value_error(self.value):
            yield FieldError(field="value", message=problem)

    def header_names(self) -> frozenset[str]:
        return frozenset({self.name.lower()})

    async def headers(self, request: Outgoing) -> Mapping[str, str]:  # noqa: ARG002 - needs nothing of it
        return {self.name: self.value}


AUTH = HeaderAuth
