"""Opens connections; where an address names several hosts, to the first that will do."""

import random
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import asyncpg

from app.db.errors import TRANSIENT
from app.db.keepalive import keep_alive
from app.db.refusals import check_files, is_pooler_refusing, saying_why
from app.dsn import Address, Host, parse

CONNECT_TIMEOUT_SECONDS = 5.0
MAX_TIMEOUT_SECONDS = 60.0

SEARCH_PATH = "set search_path = pg_catalog, pg_temp"
"""Names without a schema are Postgres's own, whatever others put into `public`. Said after the
connection is made, as poolers pass on few settings that come with the request for it."""
TLS_PARAMETERS = (
    *("sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "sslnegotiation"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version"),
)
"""Parameters that asyncpg takes in an address only."""
AT_START = frozenset({"application_name", "options"})
"""Settings of a session that have to come with its start."""


async def connect(url: str, **options: Any) -> asyncpg.Connection:  # noqa: ANN401
    """Connect within five seconds, or `connect_timeout`, of which each host gets its share.

    One may be silent, and asyncpg would let that one use up the time of those after it.

    Raises:
        DatabaseUnavailable: what the last of the hosts said, or that it said nothing.
        PoolerInTheWay: a pooler answers that does not let us say what a session needs.
        InvalidSettings: `url` is no address.
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
    with saying_why(address, last):
        return await connect_to(last, address, options)


def timeout_seconds(address: Address) -> float:
    """Seconds that each host has."""
    given = address.number("connect_timeout") or 0
    if given > 0:
        return min(float(given), MAX_TIMEOUT_SECONDS)
    return CONNECT_TIMEOUT_SECONDS / len(address.hosts)


async def connect_to(host: Host, address: Address, options: dict[str, Any]) -> asyncpg.Connection:
    """Connect to one host; what a pooler does not take at the start is set right after it."""
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
        await connection.execute(SEARCH_PATH + as_statement(later), timeout=options["timeout"])
    except BaseException:
        connection.terminate()
        raise
    return connection


def as_statement(settings: Mapping[str, str]) -> str:
    """Write what makes settings of a session that has begun, as what follows another statement."""
    calls = [
        "pg_catalog.set_config({}, {}, false)".format(*map(literal, one))
        for one in settings.items()
    ]
    return f"; select {', '.join(calls)}" if calls else ""


def literal(text: str) -> str:
    """Write a text as SQL; as it has no backslash, any setting of Postgres reads it alike."""
    return "'{}'".format(text.replace("'", "''"))


def arguments(host: Host, address: Address) -> dict[str, Any]:
    """Say the same in asyncpg's words.

    Not as one address: asyncpg quotes it in errors, and does not know all that it may say.
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
    """Trust whom the system trusts, with the name of the host verified."""
    context = ssl.create_default_context()
    if "sslcert" in tls:
        context.load_cert_chain(tls["sslcert"], tls.get("sslkey"), tls.get("sslpassword", ""))
    return context
