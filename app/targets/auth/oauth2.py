"""`{"type": "oauth2", "token_url", "client_id", "client_secret", "scope"}`: client credentials.

RFC 6749, section 4.4. The token is shared by all attempts that ask for the same, and renewed before
its end. A request that needs one is never sent without.
"""

import asyncio
from base64 import b64encode
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Annotated, Literal
from urllib.parse import quote_plus, urlsplit

import msgspec
from msgspec import Meta, Struct

from app.core.net.headers import value_error
from app.core.net.urls import MAX_URL_LENGTH, url_error
from app.core.secrets.masking import Secret
from app.errors import FieldError
from app.targets.auth.base import Answer, Auth, AuthFailed, Form, Outgoing
from app.targets.auth.tokens import Granted
from app.targets.net.tls import MAX_PEM_LENGTH, Tls, tls_errors

TOKEN_SECONDS = 10.0
"""How long a token server may take to answer."""
UNSAID_LIFETIME_SECONDS = 300.0
"""The assumed lifetime of a token if the server does not state one."""
MAX_SAID_LENGTH = 200
"""The characters of a token server's explanation that are kept."""

BEARER = "Bearer "


class OAuth2Auth(Auth, frozen=True, kw_only=True, tag="oauth2"):
    """An access token, obtained by the client for itself."""

    token_url: Annotated[str, Meta(max_length=MAX_URL_LENGTH)]
    client_id: str
    client_secret: Secret
    scope: str | None = None
    """Names separated by spaces."""
    audience: str | None = None
    """The API that the token is for, which some servers ask for."""
    client_auth: Literal["basic", "post"] = "basic"
    """How the client proves itself to the token server: in a header or in the form."""
    ca: Annotated[str, Meta(max_length=MAX_PEM_LENGTH)] | None = None
    """PEM: the authorities to trust about the token server, instead of the system's."""

    def errors(self) -> Iterable[FieldError]:
        if problem := url_error(self.token_url):
            yield FieldError(field="token_url", message=problem)
        if not self.client_id:
            yield FieldError(field="client_id", message="may not be empty")
        if self.ca is not None:
            yield from tls_errors(Tls(ca=self.ca))

    def certificates(self) -> Iterable[Tls]:
        if self.ca is not None:
            yield Tls(ca=self.ca)

    async def headers(self, request: Outgoing) -> Mapping[str, str]:
        async def ask() -> Granted:
            try:
                async with asyncio.timeout(TOKEN_SECONDS):
                    return self.granted(await request.post(self.form()))
            except TimeoutError:
                raise self.failed(f"no answer within {TOKEN_SECONDS:g} s") from None

        return {"Authorization": BEARER + await request.tokens.get(self, ask)}

    def refused(self, request: Outgoing, proof: Mapping[str, str]) -> bool:
        request.tokens.forget(self, proof["Authorization"].removeprefix(BEARER))
        return True

    def form(self) -> Form:
        """The request for a token."""
        fields = {"grant_type": "client_credentials"}
        fields |= {"scope": self.scope} if self.scope else {}
        fields |= {"audience": self.audience} if self.audience else {}
        headers = {"Accept": "application/json"}
        if self.client_auth == "post":
            fields |= {"client_id": self.client_id, "client_secret": self.client_secret}
        else:
            pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        return Form(url=self.token_url, headers=headers, fields=fields, ca=self.ca)

    def granted(self, answer: Answer) -> Granted:
        """Read the token server's answer.

        Raises:
            AuthFailed: the answer has no token.
        """
        if answer.status != HTTPStatus.OK:
            raise self.failed(f"{answer.status} {explained(answer.body)}".rstrip())
        try:
            said = msgspec.json.decode(answer.body, type=Said, strict=False)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise self.failed("the answer is not that of a token server") from None
        if said.token_type.lower() != "bearer":
            raise self.failed("the token is of another type than Bearer")
        if value_error(said.access_token) or not said.access_token or " " in said.access_token:
            raise self.failed("the token cannot be sent in a header")
        lifetime = UNSAID_LIFETIME_SECONDS if said.expires_in is None else said.expires_in
        return Granted(token=said.access_token, lifetime_seconds=lifetime)

    def failed(self, because: str) -> AuthFailed:
        host = urlsplit(self.token_url).netloc
        return AuthFailed(f"no token from {host}: {because}", retryable=True)


class Said(Struct, frozen=True, kw_only=True):
    """RFC 6749, section 5.1."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the name of a type
    expires_in: float | None = None


class Refusal(Struct, frozen=True, kw_only=True):
    """RFC 6749, section 5.2."""

    error: str
    error_description: str = ""


def explained(body: bytes) -> str:
    """Return a token server's explanation of a refusal, if it has the form of RFC 6749."""
    try:
        refusal = msgspec.json.decode(body, type=Refusal)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    return f"{refusal.error} {refusal.error_description}".strip()[:MAX_SAID_LENGTH]


AUTH = OAuth2Auth
