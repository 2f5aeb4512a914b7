"""The target of an `http` job: a request, and how to judge its answer."""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, field
from msgspec.structs import force_setattr

from app.core.field_paths import joined
from app.core.net.headers import header_errors, name_as_read
from app.core.net.urls import MAX_URL_LENGTH, url_error
from app.core.secrets.masking import NAMED_SECRETS, URL_SECRET
from app.core.secrets.places import Path
from app.errors import FieldError
from app.targets.auth import AnyAuth
from app.targets.base import AtUrl
from app.targets.http.protocol import TlsChoice
from app.targets.net.tls import Tls
from app.targets.tls_target import TlsTarget

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

Status = Annotated[int, Meta(ge=100, le=599)]
StatusClass = Annotated[str, Meta(pattern="^[1-5]xx$")]
Retried = Annotated[str, Meta(pattern="^([1-5]xx|dns|connect|tls|timeout|closed|protocol)$")]


class HttpTarget(TlsTarget, frozen=True, kw_only=True):
    """One HTTP request, and how to judge the answer."""

    templatable: ClassVar[tuple[str, ...]] = ("url", "headers", "body", "json")
    leading_on: ClassVar[tuple[str, ...]] = ("follow_redirects",)

    url: Annotated[str, Meta(max_length=MAX_URL_LENGTH), URL_SECRET]
    """http or https."""
    method: Annotated[str, Meta(extra_json_schema={"enum": METHODS})] = "POST"
    headers: Annotated[dict[str, str], NAMED_SECRETS] = field(default_factory=dict)
    """Sent beside the ones Tocsin sets; those whose names sound secret read as `***`."""
    auth: AnyAuth | None = None
    success: tuple[Status | StatusClass, ...] = ("2xx",)
    """Status codes, or classes of them, that mean the job is done."""
    retry_on: tuple[Status | Retried, ...] = (
        *(408, 425, 429, "5xx"),
        *("dns", "connect", "tls", "timeout", "closed", "protocol"),
    )
    """Status codes, classes and reasons after which another attempt may help."""
    follow_redirects: bool = False
    """Follow at most five; credentials and secret headers stay with the origin they are for."""
    verify_tls: bool = True
    """False accepts any certificate; see `ca` for authorities of your own."""
    templates: tuple[Literal["url", "headers", "body", "json"], ...] = ()
    """The fields whose texts are templates, rendered for each attempt."""

    def __post_init__(self) -> None:
        force_setattr(self, "method", self.method.upper())

    def errors(self) -> Iterable[FieldError]:
        if self.has_body or self.tls_settings() is not None:
            yield from super().errors()
        if message := url_error(self.url):
            yield FieldError(field="url", message=message)
        if self.method not in METHODS:
            yield FieldError(field="method", message=f"must be one of {', '.join(METHODS)}")
        if self.ca is not None and not self.verify_tls:
            yield FieldError(field="ca", message="is of no use without verify_tls: remove one")
        if self.headers:
            yield from header_errors(self.headers, field="headers")
        if self.auth is not None:
            for problem in self.auth.errors():
                yield FieldError(field=f"auth.{problem.field}", message=problem.message)
            theirs = set(map(name_as_read, self.auth.header_names()))
            for name in sorted(self.headers):
                if name_as_read(name) in theirs:
                    at = joined("headers", name)
                    yield FieldError(field=at, message="is set by auth: remove one")

    def certificates(self) -> Iterable[Tls]:
        if isinstance(tls := self.tls(ours=True), Tls) and self.url.lower().startswith("https:"):
            yield tls
        if self.auth is not None:
            yield from self.auth.certificates()

    def tls(self, *, ours: bool) -> TlsChoice:
        """Return the TLS settings; `ours`: the server may see the target's client certificate."""
        return self.tls_settings(verify=self.verify_tls, ours=ours) or self.verify_tls


class HttpWhere(AtUrl, frozen=True):
    """The destinations of the request and of the request for its token."""

    auth: Any = None

    def addresses(self) -> Iterable[object]:
        here = () if self.url is UNSET else (self.url,)
        return here if self.auth is None else (*here, *self.token_servers())

    def addresses_for(self, secret: Path) -> Iterable[Iterable[object]]:
        here, tokens_from = super().addresses(), self.token_servers()
        if secret[0] == "auth" and tokens_from:
            return (tokens_from, here)  # the secret goes there, and the token here
        return (here,)

    def token_servers(self) -> tuple[object, ...]:
        """Return the URL of the server that the auth gets its token from, if it gets any."""
        token_url = self.auth.get("token_url") if isinstance(self.auth, dict) else None
        return () if token_url is None else (token_url,)
