"""Opens connections to Postgres; of an address with several hosts, to the first that accepts."""

import random
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import asyncpg

from app.db.errors import TRANSIENT
from app.db.keepalive import keep_alive
from app.db.refusals import check_files, is_pooler_refusing, translate_connection_errors
from app.dsn import Address, Host, parse

CONNECT_TIMEOUT_SECONDS = 5.0
"""How long connecting to any host of the address may take, unless `connect_timeout` says
otherwise."""
MAX_TIMEOUT_SECONDS = 60.0
"""The longest `connect_timeout` that is honoured."""

SEARCH_PATH = "set search_path = pg_catalog, pg_temp"
"""Makes Postgres resolve names without a schema in its own catalog, never in `public`, where other
roles may have put functions of the same name. A statement of its own after the connection was made:
poolers refuse most settings that come with the start of a session."""
ISOLATION = "set default_transaction_isolation = 'read committed'"
"""Overrides what the database or the role has: statements that skip locked rows, and compare before
they set, must see what others committed meanwhile. Under another level they fail time and again."""
IDLE_IN_TRANSACTION_SECONDS = 30
"""How long a process may be silent in a transaction until Postgres undoes this: what was frozen
there would keep rows locked for as long as its machine answers. No transaction of ours waits for
anything but the database."""
IDLE_IN_TRANSACTION = f"set idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_SECONDS}s'"
TLS_PARAMETERS = (
    *("sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "sslnegotiation"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version"),
)
"""Parameters of an address that asyncpg accepts only inside an address."""
AT_START = frozenset({"application_name", "options"})
"""Settings of a session that only its start can set; all others can be set afterwards."""


async def connect(url: str, **options: Any) -> asyncpg.Connection:  # noqa: ANN401
    """Connect to the first host of `url` that accepts, within five seconds or `connect_timeout`.

    Each host gets an equal share of the five seconds: asyncpg would let one silent host use up the
    time of the hosts after it.

    Raises:
        DatabaseUnavailable: no host accepts; names what the last host said.
        DatabaseRefused: the last host refuses until an operator changes something.
        PoolerInTheWay: a pooler answers and refuses the settings that a session needs.
        InvalidSettings: `url` is no valid address.
    """
    address = parse(url)
    hosts = list(address.hosts)
    if address.parameters.get("load_balance_hosts") == "random":
        random.shuffle(hosts)
    *before, last = hosts
    options |= {"timeout": timeout_seconds(address)}
    check_files(address)
    for host in before:
        try:
            return await connect_to(host, address, options)
        except TRANSIENT:
            continue
    with translate_connection_errors(address, last):
        return await connect_to(last, address, options)


def timeout_seconds(address: Address) -> float:
    """Return the seconds allowed for a connection to one host."""
    given = address.number("connect_timeout") or 0
    if given > 0:
        return min(float(given), MAX_TIMEOUT_SECONDS)
    return CONNECT_TIMEOUT_SECONDS / len(address.hosts)


async def connect_to(host: Host, address: Address, options: dict[str, Any]) -> asyncpg.Connection:
    """Connect to one host; settings that a pooler refuses at the start are made right after it."""
    settings: dict[str, str] = dict(options.get("server_settings") or {})
    if "options" in address.parameters:
        settings["options"] = address.parameters["options"]
    how = options | arguments(host, address)
    later: dict[str, str] = {}
    try:
        connection: asyncpg.Connection = await asyncpg.connect(
            **how | {"server_settings": settings}
        )
    except asyncpg.PostgresError as error:
        if not is_pooler_refusing(error):
            raise
        first = {name: value for name, value in settings.items() if name in AT_START}
        later = {name: value for name, value in settings.items() if name not in AT_START}
        connection = await asyncpg.connect(**how | {"server_settings": first})
    try:
        keep_alive(connection, address)
        await connection.execute(
            f"{SEARCH_PATH}; {ISOLATION}; {IDLE_IN_TRANSACTION}{as_statement(later)}",
            timeout=options["timeout"],
        )
    except BaseException:
        connection.terminate()
        raise
    return connection


def as_statement(settings: Mapping[str, str]) -> str:
    """Write SQL that makes these settings in a session, to be appended to another statement."""
    calls = [
        "pg_catalog.set_config({}, {}, false)".format(*map(literal, one))
        for one in settings.items()
    ]
    return f"; select {', '.join(calls)}" if calls else ""


def literal(text: str) -> str:
    """Quote a text without backslashes as a literal of SQL."""
    return "'{}'".format(text.replace("'", "''"))


def arguments(host: Host, address: Address) -> dict[str, Any]:
    """Return the keyword arguments with which asyncpg connects to a host as `address` says.

    No URL is given to asyncpg, which quotes a URL, with its password, in errors, and does not know
    all parameters that libpq allows in one.
    """
    tls = {name: address.parameters[name] for name in TLS_PARAMETERS if name in address.parameters}
    if host.name and not host.name.startswith("/"):
        tls.setdefault("sslmode", "prefer")
    given: dict[str, Any] = {
        "host": host.name or None,
        "port": host.port,
        "user": address.user,
        "password": address.password,
        "database": address.database,
        "passfile": address.parameters.get("passfile"),
        "target_session_attrs": address.parameters.get("target_session_attrs"),
        "krbsrvname": address.parameters.get("krbsrvname"),
        "gsslib": address.parameters.get("gsslib"),
    }
    if tls.get("sslrootcert") == "system":
        given["ssl"] = system_trust(tls)
    elif tls:
        given["dsn"] = f"postgresql://?{urlencode(tls, quote_via=quote)}"
    return given


def system_trust(tls: Mapping[str, str]) -> ssl.SSLContext:
    """Trust the authorities that the system trusts, and verify the host's name."""
    context = ssl.create_default_context()
    if "sslcert" in tls:
        context.load_cert_chain(tls["sslcert"], tls.get("sslkey"), tls.get("sslpassword", ""))
    return context
