"""The connection parameters that libpq knows: which have an effect in Tocsin, and which have none.

Names, values and environment variables are those of PostgreSQL 18, "Database Connection Control
Functions" and "Environment Variables" of its chapter on libpq.
"""

import re
from difflib import get_close_matches

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SESSION_ATTRS = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")

NUMBER = re.compile(r"\s*-?[0-9]{1,9}\s*", re.ASCII)

PLACES = ("host", "hostaddr", "port", "dbname", "user", "password")
SERVICE = ("service", "servicefile")
WORDS: dict[str, tuple[str, ...]] = {
    "sslmode": SSL_MODES,
    "target_session_attrs": SESSION_ATTRS,
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": TLS_VERSIONS,
    "ssl_max_protocol_version": TLS_VERSIONS,
    "load_balance_hosts": ("disable", "random"),
    "gsslib": ("gssapi", "sspi"),
}
"""Parameters that take one of a few words."""
NUMBERS = (
    *("connect_timeout", "tcp_user_timeout", "keepalives"),
    *("keepalives_idle", "keepalives_interval", "keepalives_count"),
)
"""Parameters that take a whole number; as in libpq, a negative one has no effect."""
TEXTS = (
    *("passfile", "options", "krbsrvname"),
    *("sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl"),
)
HONOURED = frozenset({*PLACES, *SERVICE, *WORDS, *NUMBERS, *TEXTS})

IGNORED: dict[str, str] = {
    "application_name": "Tocsin gives each of its connections a name of its own",
    "fallback_application_name": "Tocsin gives each of its connections a name of its own",
    "client_encoding": "it is UTF-8",
} | dict.fromkeys(
    (
        *("channel_binding", "gssencmode", "gssdelegation", "requirepeer", "require_auth"),
        *("requiressl", "sslcompression", "sslsni", "sslcrldir", "sslcertmode", "sslkeylogfile"),
        *("replication", "min_protocol_version", "max_protocol_version"),
        *("scram_client_key", "scram_server_key", "authtype", "tty"),
        *("oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope"),
    ),
    "the client does not have it",
)
"""Parameters of libpq that have no effect in Tocsin, with the reason."""

ALIASES = {"database": "dbname"}

MEANT = {
    **dict.fromkeys(("db", "db_name", "database_name", "catalog", "initial_catalog"), "dbname"),
    **dict.fromkeys(("username", "user_name", "uid", "login", "role"), "user"),
    **dict.fromkeys(("pass", "passwd", "pwd", "user_password", "userpassword"), "password"),
    **dict.fromkeys(("hostname", "server", "address", "addr", "data_source"), "host"),
    **dict.fromkeys(("ssl", "tls", "ssl_mode", "tls_mode", "use_ssl", "encrypt"), "sslmode"),
    **dict.fromkeys(("ssl_root_cert", "sslca", "ssl_ca", "cafile", "ca_file"), "sslrootcert"),
    **dict.fromkeys(("timeout", "connection_timeout", "login_timeout"), "connect_timeout"),
    **dict.fromkeys(("app_name", "appname", "app"), "application_name"),
}
"""Names that other clients have for a parameter, in lower case."""
SETTINGS = frozenset({"statement_timeout", "lock_timeout", "search_path", "timezone", "datestyle"})
"""Settings of the server that people write as parameters."""

VARIABLES = {
    "PGHOST": "host",
    "PGHOSTADDR": "hostaddr",
    "PGPORT": "port",
    "PGDATABASE": "dbname",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGPASSFILE": "passfile",
    "PGSERVICE": "service",
    "PGSERVICEFILE": "servicefile",
    "PGOPTIONS": "options",
    "PGSSLMODE": "sslmode",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCRL": "sslcrl",
    "PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version",
    "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version",
    "PGKRBSRVNAME": "krbsrvname",
    "PGGSSLIB": "gsslib",
    "PGCONNECT_TIMEOUT": "connect_timeout",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
    "PGLOADBALANCEHOSTS": "load_balance_hosts",
}
"""The environment variables of libpq that have an effect, with the parameter of each."""


def unknown(name: str, *, quotable: bool) -> str:
    """Word the refusal of an unknown parameter, with a similar name.

    A name that is not `quotable` may be a piece of a password: the message has it only if it is
    similar to the name of a parameter.
    """
    known = sorted({*HONOURED, *IGNORED})
    plain = name.lower().replace("-", "_")
    close = get_close_matches(plain, known, n=1)
    meant = MEANT.get(plain) or ALIASES.get(plain) or next(iter(close), None)
    if plain in SETTINGS:
        return (
            f"has a parameter {name}, which is a setting of the server: write it as "
            f"options=-c%20{plain}=value, among pairs of key and value options='-c {plain}=value'"
        )
    if meant:
        return f"has a parameter {name}, which libpq does not know; did you mean {meant}?"
    shown = f"a parameter {name}" if quotable else "a parameter"
    return (
        f"has {shown} that libpq does not know; settings of the server are written "
        "options=-c%20name=value"
    )


def value_error(name: str, value: str) -> str | None:
    """Say why a parameter cannot have this value, without quoting it; None if it can."""
    if name in WORDS:
        *before, last = WORDS[name]
        return None if value in WORDS[name] else f"{name} takes {', '.join(before)} or {last}"
    if name in NUMBERS and not NUMBER.fullmatch(value):
        return f"{name} takes a whole number"
    return None
