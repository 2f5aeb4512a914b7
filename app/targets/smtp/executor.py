"""Carries out `smtp` jobs: one mail per attempt, accepted by a mail server or not.

The client library is imported by the first mail: few instances send any.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from app.core.runs.outcome import Report
from app.core.secrets.masking import NAMED_SECRETS, Secret
from app.errors import FieldError
from app.targets.base import AtUrl, Context, Options, Shown, Target, Where
from app.targets.net.tls import MAX_PEM_LENGTH, Tls, tls_errors
from app.targets.smtp.rules import (
    MAX_RECIPIENTS,
    address_error,
    header_errors,
    line_error,
    url_error,
)
from app.targets.tls_target import Pem, tls_settings

Recipients = Annotated[tuple[str, ...], Meta(max_length=MAX_RECIPIENTS)]


class SmtpTarget(Target, frozen=True, kw_only=True):
    """One mail, and the server to hand it over to."""

    templatable: ClassVar[tuple[str, ...]] = ("subject", "text", "html", "headers")

    url: Annotated[str, Meta(max_length=2048)]
    """`smtp://mail.example.com:587`, or smtps, which begins with TLS."""
    starttls: bool = True
    """Whether a connection by `smtp` has to change to TLS before anything is said."""
    verify_tls: bool = True
    """False accepts any certificate; see `ca` for authorities of your own."""
    client_certificate: Pem | None = None
    """The client certificate in PEM, followed by those that lead to its authority."""
    client_key: Annotated[Secret, Meta(max_length=MAX_PEM_LENGTH)] | None = None
    """The key of the client certificate in PEM, without a passphrase."""
    ca: Pem | None = None
    """The authorities to trust, in PEM, instead of the system's."""
    username: str | None = None
    password: Secret | None = None
    sender: str = field(name="from")
    """`me@example.com`, or `Me <me@example.com>`."""
    to: Recipients = ()
    cc: Recipients = ()
    bcc: Recipients = ()
    """Recipients that no header names."""
    reply_to: str | None = None
    subject: str = ""
    text: str | None = None
    """The plain text."""
    html: str | None = None
    """The same in HTML, which readers show in place of the text where they can."""
    headers: Annotated[dict[str, str], NAMED_SECRETS] = field(default_factory=dict)
    """Sent beside those that have fields of their own."""
    templates: tuple[Literal["subject", "text", "html", "headers"], ...] = ()
    """The fields whose texts are templates, rendered for each attempt."""

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS protects the connection before anything secret is said."""
        return self.starttls or self.begins_with_tls

    @property
    def begins_with_tls(self) -> bool:
        return self.url.lower().startswith("smtps:")

    def errors(self) -> Iterable[FieldError]:
        yield from super().errors()
        if problem := url_error(self.url):
            yield FieldError(field="url", message=problem)
        if self.ca is not None and not self.verify_tls:
            yield FieldError(field="ca", message="is of no use without verify_tls: remove one")
        if (tls := tls_settings(self)) is not None:
            yield from tls_errors(tls)
        yield from self.proof_errors()
        yield from self.address_errors()
        if problem := line_error(self.subject):
            yield FieldError(field="subject", message=problem)
        if self.text is None and self.html is None:
            yield FieldError(field="text", message="is missing, as html is: write one of them")
        yield from header_errors(self.headers)

    def proof_errors(self) -> Iterator[FieldError]:
        if (self.username is None) != (self.password is None):
            missing = "username" if self.username is None else "password"
            yield FieldError(field=missing, message="is missing: username and password go together")
        if self.password is not None and not self.is_encrypted:
            message = "would be sent in clear: use starttls, or smtps://"
            yield FieldError(field="password", message=message)

    def address_errors(self) -> Iterator[FieldError]:
        for name, text in (("from", self.sender), ("reply_to", self.reply_to)):
            if text is not None and (problem := address_error(text)):
                yield FieldError(field=name, message=problem)
        for name in ("to", "cc", "bcc"):
            for index, text in enumerate(getattr(self, name)):
                if problem := address_error(text):
                    yield FieldError(field=f"{name}[{index}]", message=problem)
        many = len(self.to) + len(self.cc) + len(self.bcc)
        if not 1 <= many <= MAX_RECIPIENTS:
            message = f"a mail has 1 to {MAX_RECIPIENTS} recipients in to, cc and bcc together"
            yield FieldError(field="to", message=message)

    def certificates(self) -> Iterable[Tls]:
        if (tls := tls_settings(self, verify=self.verify_tls)) is not None and self.is_encrypted:
            yield tls

    def tls(self) -> Tls:
        return tls_settings(self, verify=self.verify_tls) or Tls(verify=self.verify_tls)


class SmtpExecutor:
    """Hands over the mails of all `smtp` jobs, each by a connection of its own."""

    kind: ClassVar[str] = "smtp"
    target_type: ClassVar[type[Target]] = SmtpTarget
    where_type: ClassVar[type[Where]] = AtUrl
    shown: ClassVar[Mapping[str, Shown]] = {"url": Shown(origin=("smtp", "smtps"))}

    def __init__(self, options: Options) -> None:
        self.options = options

    async def execute(self, target: SmtpTarget, context: Context) -> Report:
        from app.targets.smtp.delivery import Delivery  # noqa: PLC0415 - few instances send mails

        return await Delivery(self.options, target, context).report()

    async def prepare(self, target: SmtpTarget, context: Context) -> None:  # noqa: ARG002 - of all kinds
        """Import the client, which takes time once; a server would see a connection as a mail."""
        from app.targets.smtp import delivery  # noqa: F401, PLC0415 - few instances send mails

    async def close(self) -> None:
        """Nothing stays open between two attempts."""
