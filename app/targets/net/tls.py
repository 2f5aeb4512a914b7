"""TLS with a certificate or with authorities of one's own, given as PEM texts."""

import os
import re
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import ParamSpec, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_pem_x509_certificate

from app.core.secrets.masking import Masked, Secret
from app.errors import FieldError
from app.targets.net.tls_groups import limit_groups

P = ParamSpec("P")
T = TypeVar("T")

MAX_PEM_LENGTH = 32_768
"""The most characters of a text in PEM."""
MAX_KEY_BITS = 4096
"""The largest private key, in bits; a signature with one of 16,384 takes the event loop most of a
second."""
MAX_CONTEXTS = 256
"""The most TLS contexts that are kept: to make one takes milliseconds, and only connections with
the same context can be shared."""
MAX_CHECKED = 16_384
"""How many verdicts are kept, in some 4 MB: to read the texts again would take milliseconds."""

HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""Names of files by which OpenSSL finds a certificate, by its subject's hash (`openssl rehash`)."""
CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


class Tls(Masked, frozen=True, kw_only=True):
    """The TLS settings of a connection; the names are those of a target's fields."""

    client_certificate: str | None = None
    client_key: Secret | None = None
    ca: str | None = None
    verify: bool = True


class BadPem(ValueError):
    """OpenSSL cannot use one of the texts; the message does not quote it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Unread(Exception):
    """No verdict on the texts is kept, and within `by_kept_verdicts` they may not be read."""


class Verdicts:
    """The errors, or their absence, found in settings; the verdict used last is kept longest."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept: dict[bytes, FieldError | None] = {}
        """The contexts by the digest of their settings, whose texts may have 96 kB."""
        self.lock = Lock()  # two threads read texts, and the event loop asks

    def __repr__(self) -> str:
        return f"<Verdicts: {len(self.kept)} of {self.most}>"

    def of(self, tls: Tls) -> FieldError | None:
        """Return the first error in the texts; None if there is none.

        Raises:
            Unread: within `by_kept_verdicts`, none is kept.
        """
        digest = blake2b(msgspec.msgpack.encode(tls), digest_size=16).digest()
        with self.lock:
            if digest in self.kept:
                verdict = self.kept[digest] = self.kept.pop(digest)
                return verdict
        if ONLY_KEPT.get():
            raise Unread
        verdict = problem_of(tls)
        with self.lock:
            self.kept[digest] = verdict
            while len(self.kept) > self.most:
                del self.kept[next(iter(self.kept))]
        return verdict


ONLY_KEPT: ContextVar[bool] = ContextVar("only_kept", default=False)
VERDICTS = Verdicts(MAX_CHECKED)


def by_kept_verdicts(check: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that checks targets, and return what it does.

    Raises:
        Unread: no verdict on a text is kept.
    """
    token = ONLY_KEPT.set(True)
    try:
        return check(*args, **kwargs)
    finally:
        ONLY_KEPT.reset(token)


def tls_errors(tls: Tls) -> Iterator[FieldError]:
    """Check the texts; an error names the field of the target.

    Raises:
        Unread: within `by_kept_verdicts`, no verdict is kept.
    """
    if (problem := VERDICTS.of(tls)) is not None:
        yield problem


def problem_of(tls: Tls) -> FieldError | None:
    """Check the texts with OpenSSL, without loading the system's authorities, which takes long."""
    try:
        check_fields(tls)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if tls.ca is None else trusting(tls)
        if tls.client_certificate is not None:
            trusting_only(tls.client_certificate, "client_certificate")
            check_size(tls.client_certificate)
        load_ours(context, tls)
    except BadPem as error:
        return FieldError(field=error.field, message=str(error))
    return None


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Make a context; this takes milliseconds up to a tenth of a second, see `Contexts`.

    The texts have passed `tls_errors`, which parses a certificate while no other thread runs.

    Raises:
        BadPem: naming the field.
    """
    limit_groups()
    check_fields(tls)
    context = trusting(tls)
    load_ours(context, tls)
    context.set_ciphers(ciphers())
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # Debian's Python leaves that to a file
    return context


def check_fields(tls: Tls) -> None:
    """Check that each text is where it belongs.

    Raises:
        BadPem: naming the field.
    """
    for field in ("client_certificate", "ca"):
        if "PRIVATE KEY" in (getattr(tls, field) or ""):
            raise BadPem(field, "holds a private key, which belongs in client_key alone")
    if (tls.client_certificate is None) is not (tls.client_key is None):
        missing = "client_key" if tls.client_key is None else "client_certificate"
        raise BadPem(missing, "is required: certificate and key go together")


def load_ours(context: ssl.SSLContext, tls: Tls) -> None:
    """Load our certificate and its key, if there are any.

    Raises:
        BadPem: naming the field.
    """
    if tls.client_certificate is not None and tls.client_key is not None:
        load(context, tls.client_certificate, tls.client_key)


@lru_cache(maxsize=1)
def ciphers() -> str:
    """List OpenSSL's default ciphers without those whose group the server chooses freely (`DHE`).

    A group of 8,192 bits takes the event loop a third of a second for each handshake. The ciphers
    of TLS 1.3 are not listed here, and cannot be chosen.
    """
    known = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).get_ciphers()
    return ":".join(one["name"] for one in known if one["kea"] not in {"kx-dhe", "kx-any"})


@lru_cache(maxsize=1)
def directory_of_authorities() -> str | None:
    """Name the system's directory of authorities, if it has all those in the system's file.

    From a directory OpenSSL reads only the authority that a server's certificate names. To read
    all of the file takes a tenth of a second and a megabyte for each context.
    """
    paths = ssl.get_default_verify_paths()
    if not paths.capath or not paths.cafile:
        return None
    hashed = (path for path in Path(paths.capath).iterdir() if HASHED.fullmatch(path.name))
    try:
        found = {one for path in hashed for one in CERTIFICATE.findall(path.read_bytes())}
        wanted = set(CERTIFICATE.findall(Path(paths.cafile).read_bytes()))
    except OSError:
        return None
    return paths.capath if wanted <= found else None


def trusting_all() -> ssl.SSLContext:
    """Trust the authorities of the system."""
    return ssl.create_default_context(capath=directory_of_authorities())


def trusting(tls: Tls) -> ssl.SSLContext:
    context = trusting_all() if tls.ca is None else trusting_only(tls.ca, "ca")
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def trusting_only(certificates: str, field: str) -> ssl.SSLContext:
    try:
        # An empty text would mean the system's authorities.
        return ssl.create_default_context(cadata=certificates or "none")
    except (ssl.SSLError, ValueError, TypeError):
        raise BadPem(field, "must be one or more certificates in PEM") from None


def load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    def no_passphrase() -> str:  # without it OpenSSL would ask for one on the terminal
        raise BadPem("client_key", "is encrypted: it has to be stored without a passphrase")

    with as_file(certificate) as certificate_file, as_file(key) as key_file:
        try:
            context.load_cert_chain(certificate_file, key_file, password=no_passphrase)
        except ssl.SSLError as error:
            mismatch = error.reason == "KEY_VALUES_MISMATCH"
            message = "is not the key of the certificate" if mismatch else "must be a key in PEM"
            raise BadPem("client_key", message) from None


def check_size(certificate: str) -> None:
    """Refuse a certificate with a key so large that each handshake would block the event loop.

    Raises:
        BadPem: the key of the certificate is larger than what is in use.
    """
    key = load_pem_x509_certificate(certificate.encode()).public_key()
    if isinstance(key, RSAPublicKey | DSAPublicKey) and key.key_size > MAX_KEY_BITS:
        message = f"has a key of {key.key_size} bits: at most {MAX_KEY_BITS}, or a curve, will do"
        raise BadPem("client_certificate", message)


@contextmanager
def as_file(text: str) -> Iterator[str]:
    """Name a file that holds `text`, in memory where the system can do that.

    OpenSSL as Python has it takes certificates and keys from files only, and seeks in them.
    """
    in_memory = sys.platform == "linux"
    with os.fdopen(os.memfd_create("pem"), "w+b") if in_memory else TemporaryFile() as file:
        file.write(text.encode())
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"
