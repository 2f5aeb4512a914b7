"""Targets that may be reached over TLS, with client certificates and authorities of their own."""

from collections.abc import Iterable
from typing import Annotated, Protocol

from msgspec import Meta, MsgspecError, Struct
from msgspec.json import Decoder

from app.core.secrets.masking import Secret
from app.errors import FieldError
from app.targets.body import BodyTarget
from app.targets.net.tls import MAX_PEM_LENGTH, Tls, tls_errors

Pem = Annotated[str, Meta(max_length=MAX_PEM_LENGTH)]


def brings_certificates(stored: str) -> bool:
    """Return whether a target, as stored, may have certificates, which take long to load.

    The names of the fields, as Postgres writes them in JSON, match at any depth, such as in a body.
    """
    # Not in a loop, which takes three times as long.
    if not ('"ca":' in stored or '"client_key":' in stored or '"client_certificate":' in stored):
        return False
    try:
        return DECODER.decode(stored).has_any()
    except MsgspecError:  # no such target: the execution, which decodes all of it, says so
        return True


class Certified(Struct):
    """The certificates of a target: for its own server, and for the server of its tokens."""

    client_certificate: object = None
    client_key: object = None
    ca: object = None
    auth: "Certified | None" = None

    def has_any(self) -> bool:
        own = (self.client_certificate, self.client_key, self.ca)
        return any(one is not None for one in own) or (
            self.auth is not None and self.auth.has_any()
        )


DECODER = Decoder(Certified)


class TlsTarget(BodyTarget, frozen=True, kw_only=True):
    """A target whose server may ask for a client certificate, or be certified by any authority."""

    client_certificate: Pem | None = None
    """The client certificate in PEM, followed by those that lead to its authority."""
    client_key: Annotated[Secret, Meta(max_length=MAX_PEM_LENGTH)] | None = None
    """The key of the client certificate in PEM, without a passphrase."""
    ca: Pem | None = None
    """The authorities to trust, in PEM, instead of the system's."""

    def errors(self) -> Iterable[FieldError]:
        yield from super().errors()
        if (tls := self.tls_settings()) is not None:
            yield from tls_errors(tls)

    def tls_settings(self, *, verify: bool = True, ours: bool = True) -> Tls | None:
        """Return the TLS settings; None if all are the defaults. `ours`: with the certificate."""
        if self.client_certificate is self.client_key is self.ca is None:
            return None
        return tls_settings(self, verify=verify, ours=ours)


class HasTls(Protocol):
    """A target with the fields of TLS."""

    @property
    def client_certificate(self) -> str | None: ...
    @property
    def client_key(self) -> str | None: ...
    @property
    def ca(self) -> str | None: ...


def tls_settings(target: HasTls, *, verify: bool = True, ours: bool = True) -> Tls | None:
    """Return the TLS settings; None if all are the defaults. `ours`: with the certificate."""
    if target.client_certificate is None and target.client_key is None and target.ca is None:
        return None
    tls = Tls(
        client_certificate=target.client_certificate if ours else None,
        client_key=target.client_key if ours else None,
        ca=target.ca,
        verify=verify,
    )
    return None if tls == Tls(verify=verify) else tls
