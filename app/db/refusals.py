"""Translates the errors of connecting to Postgres into one sentence with its remedy."""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from app.db.connections import NEEDED
from app.db.errors import TRANSIENT, in_one_line
from app.dsn import Address, Host
from app.errors import AppError, DatabaseRefused, DatabaseUnavailable, PoolerInTheWay

UNSUPPORTED = "unsupported startup parameter"
"""Words of a pooler, never of Postgres, that refuses a setting at a session's start."""
NO_TLS = "rejected SSL upgrade"
"""Words of asyncpg about a server that does not speak TLS or, where it need not, no Postgres."""
CLOSED = "unexpected connection_lost"
"""Words of asyncpg about a connection that was closed before any answer."""
UNKNOWN_PROOF = re.compile("unsupported authentication method|gssapi module not found")
"""Words of asyncpg about a way to authenticate that it does not have."""
NO_ENCRYPTION = "no encryption"
"""Words of Postgres for a session without TLS that no line of pg_hba.conf admits."""
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
WHERE = "in TOCSIN_DATABASE_URL"

OURS: tuple[type[BaseException], ...] = (
    *TRANSIENT,
    asyncpg.PostgresError,
    ValueError,
    RuntimeError,
)
"""Errors of asyncpg that come from a server, a network or a file, and are no bugs."""


@contextmanager
def translate_connection_errors(address: Address, host: Host) -> Iterator[None]:
    """Raise Tocsin's errors for those that asyncpg raises while it connects.

    Raises:
        DatabaseRefused: an operator has to change something before another try can succeed.
        DatabaseUnavailable: another try may succeed.
        PoolerInTheWay: a pooler refuses a setting that a session needs.
    """
    try:
        yield
    except OURS as error:
        raise reason(error, address, host) from error


def reason(error: BaseException, address: Address, host: Host) -> AppError:
    """Translate one error of connecting."""
    said = address.shown(in_one_line(error))
    if not isinstance(error, asyncpg.PostgresError):
        return no_session(error, said, address, host)
    if is_pooler_refusing(error):
        return PoolerInTheWay(
            f"what answers at {host} is a pooler and refuses what a session needs ({said}): let it "
            f"ignore that parameter (ignore_startup_parameters), or leave it out {WHERE}"
        )
    if isinstance(error, TEMPORARY):
        remedy = next((text for kind, text in HELP if isinstance(error, kind)), "")
        return DatabaseUnavailable(f"Postgres is not available: {said}{remedy}")
    remedy = next((text for kind, text in REMEDIES if isinstance(error, kind)), LAST_REMEDY)
    if address.parameters.get("sslmode") == "disable" and NO_ENCRYPTION in said:
        remedy = USE_TLS
    names = {"user": address.user or "of this user", "database": address.database or "this one"}
    return DatabaseRefused(
        f"Postgres at {host} refused the connection: {said}. {remedy.format(**names)}",
        remedy=remedy.format(user="of Tocsin", database="this one"),
    )


TEMPORARY: tuple[type[BaseException], ...] = (
    *TRANSIENT,
    asyncpg.ObjectNotInPrerequisiteStateError,
)
"""Refusals of Postgres that pass by themselves, or that an operator causes for a moment."""

HELP: tuple[tuple[type[BaseException], str], ...] = (
    (
        asyncpg.TooManyConnectionsError,
        f". Raise max_connections, or the limit of role, database or pooler: up to {NEEDED}",
    ),
    (
        asyncpg.ObjectNotInPrerequisiteStateError,
        ". ALTER DATABASE ... ALLOW_CONNECTIONS true lets everybody in again",
    ),
)
REMEDIES: tuple[tuple[type[BaseException], str], ...] = (
    (
        asyncpg.InvalidPasswordError,
        f"Correct the user or the password {WHERE}, in PGPASSWORD or in the password file",
    ),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "The role {user} needs LOGIN, and a line in pg_hba.conf that lets it in; some ask for TLS",
    ),
    (asyncpg.InvalidCatalogNameError, f"Create the database, or correct its name {WHERE}"),
    (
        asyncpg.InsufficientPrivilegeError,
        "Its owner may say: GRANT CONNECT ON DATABASE {database} TO {user}",
    ),
)
USE_TLS = (
    f"It may let in by TLS alone: write sslmode=require instead of disable {WHERE}, or better "
    "verify-full with sslrootcert; else it needs a line in pg_hba.conf that lets {user} in"
)
UNREACHED = f"See that Postgres runs there and lets this machine in, or correct the address {WHERE}"
LAST_REMEDY = f"Look at the options {WHERE}, and at the log of Postgres"


def no_session(error: BaseException, said: str, address: Address, host: Host) -> AppError:
    """Translate an error that came before any answer of Postgres: of names, network, TLS, files."""
    if (lasting := lasting_error(error, said, address, host)) is not None:
        return lasting
    match error:
        case socket.gaierror():
            said = f"the name {host.name} was not found ({error.strerror})"
        case TimeoutError():
            said = f"no answer from {host} in time"
        case ssl.SSLError():
            said = f"no TLS with {host}: {error.reason or said}"
        case FileNotFoundError() | ConnectionRefusedError():
            said = f"nothing listens at {host} ({said})"
        case ConnectionError() if CLOSED in said:
            said = f"{host} closes connections without a word"
        case asyncpg.TargetServerAttributeNotMatched():
            said = f"{host} is not what target_session_attrs {WHERE} asks for"
        case _:
            pass
    unavailable = DatabaseUnavailable(f"Postgres is not available: {said}")
    unavailable.remedy = UNREACHED
    return unavailable


def lasting_error(
    error: BaseException, said: str, address: Address, host: Host
) -> DatabaseRefused | None:
    """Translate such an error if an operator has to change something; None for any other."""
    sslmode = address.parameters.get("sslmode", "prefer")
    message = ""
    match error:
        case ssl.SSLCertVerificationError():
            message = (
                f"the certificate of Postgres at {host} is not trusted: {error.verify_message}. "
                f"Give its authority as sslrootcert, and the host by the name it has, {WHERE}"
            )
        case ConnectionError() if NO_TLS in said and sslmode in {"prefer", "allow"}:
            message = f"what answers at {host} is not Postgres: correct host and port {WHERE}"
        case ConnectionError() if NO_TLS in said:
            message = (
                f"Postgres at {host} does not speak TLS, and sslmode={sslmode} {WHERE} asks for "
                "it. Switch it on there (ssl = on), or write sslmode=prefer"
            )
        case _ if UNKNOWN_PROOF.search(said):
            message = (
                f"Postgres at {host} asks for a proof that Tocsin cannot give ({said}): have "
                "pg_hba.conf ask for scram-sha-256"
            )
        case asyncpg.ClientConfigurationError() | ValueError():
            message = f"there is no connecting to {host} as TOCSIN_DATABASE_URL has it: {said}"
        case _:
            pass
    return DatabaseRefused(message) if message else None


def is_pooler_refusing(error: asyncpg.PostgresError) -> bool:
    """Return whether a pooler refused a setting that came with the start of a session."""
    return UNSUPPORTED in str(error)


def check_files(address: Address) -> None:
    """Make sure that the files of keys and certificates are valid: asyncpg's errors are vague.

    Raises:
        DatabaseRefused: a file cannot be read, or is no certificate or key in PEM.
    """
    named = {
        name: Path(address.parameters[name])
        for name in FILES
        if name in address.parameters and address.parameters[name] != "system"
    }
    for name, path in named.items():
        try:
            path.open("rb").close()
        except OSError as error:
            message = f"{name} {WHERE} names {path}, which cannot be read: {error.strerror}"
            raise DatabaseRefused(message) from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name in ("sslrootcert", "sslcrl"):
        try:
            if name in named:
                context.load_verify_locations(named[name])
        except ssl.SSLError as error:
            message = f"{name} {WHERE} names {named[name]}, which has no certificates in PEM"
            raise DatabaseRefused(message) from error
    try:
        if "sslcert" in named:
            password = address.parameters.get("sslpassword", "")
            context.load_cert_chain(named["sslcert"], named.get("sslkey"), password)
    except (ssl.SSLError, ValueError) as error:
        message = (
            f"sslcert and sslkey {WHERE} name no certificate with its key in PEM, or sslpassword "
            "does not open the key"
        )
        raise DatabaseRefused(message) from error
