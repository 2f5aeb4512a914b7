"""Settings from the environment: read once, at the edge, then passed to whoever needs them."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, Self

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import FieldInfo, fields

from app.dsn import HIDDEN, completed, masked, parse
from app.errors import InvalidSettings

PREFIX = "TOCSIN_"
LINKED = re.compile(
    r"TOCSIN_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|ENV_.+"
    r"|PORT_[0-9_]+(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR)(_START|_END)?|_START|_END)?)"
)
LINKED_VALUES = {
    "PORT": re.compile(r"(tcp|udp|sctp)://.*"),
    "NAME": re.compile(r"/[^/]+/[^/]+"),
}
"""What Kubernetes gives every container for each Service whose name begins with `tocsin`, and
Docker for each linked container; of the latter two names, which settings may have, the value tells.
"""
DATABASE_URL = Meta(description="an address such as postgresql://user:password@host:5432/tocsin")
KEYS = Meta(
    description="keys separated by commas, each 32 random bytes in base64, as made by "
    "head -c 32 /dev/urandom | base64"
)
LISTS = (
    "secret_keys",
    "allowed_targets",
    "denied_targets",
    "allowed_ports",
    "trusted_proxies",
    "name_servers",
)
HOSTS_AND_NETWORKS = Meta(description="hosts and networks such as *.example.com,10.1.0.0/16")


PostgresAddress = Annotated[str, Meta(pattern=r"^(postgres(ql)?://|\s*[a-z_]+\s*=)")]
SecretKey = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/_-]{43}=?$")]
PortRange = Annotated[str, Meta(pattern=r"^[0-9]{1,5}(-[0-9]{1,5})?$")]
NameServer = Annotated[str, Meta(pattern=r"^[0-9A-Fa-f.:\[\]]+$")]


def between(low: float, high: float, what: str) -> Meta:
    """Bounds that also say in words what is allowed."""
    return Meta(ge=low, le=high, description=f"{what} from {low} to {high}")


class Settings(Struct, frozen=True, kw_only=True):
    """What can be set: `TOCSIN_` and a field's name in capitals is its environment variable."""

    database_url: Annotated[PostgresAddress | None, DATABASE_URL] = None
    """Where Postgres is, as a URL or in libpq's pairs of key and value; see `app.dsn`."""

    host: Annotated[str, Meta(min_length=1, description="a host name or an address")] = "127.0.0.1"
    """The address the API listens on."""

    port: Annotated[int, between(0, 65535, "a number")] = 8080
    """The port the API listens on; 0 takes any that is free."""

    concurrency: Annotated[int, between(1, 10_000, "a number")] = 100
    """Slots of one instance: how many executions it carries out at once."""

    lease_seconds: Annotated[float, between(3, 3600, "seconds")] = 60.0
    """How long a claim is exclusive unless extended, which it is while it executes."""

    longest_sleep_seconds: Annotated[float, between(0.1, 30, "seconds")] = 30.0
    """The most a lost notification can cost; at most half of the window in `db/triggers.sql`."""

    grace_seconds: Annotated[float, between(0, 3600, "seconds")] = 30.0
    """How long executions may still take after a stop was asked for."""

    rate_limit: Annotated[int, between(0, 60_000, "requests a minute")] = 0
    """Requests a minute of each API key to one API process; 0: no limit."""

    connections_per_client: Annotated[int, between(0, 10_000, "a number")] = 100
    """Connections of one client to one API process at once, trusted proxies aside; 0: no limit."""

    trusted_proxies: Annotated[
        tuple[str, ...], Meta(description="addresses and networks such as 10.1.2.3,10.2.0.0/16")
    ] = ()
    """Proxies before the API that are believed in X-Forwarded-For and -Proto; by default none."""

    retention_days: Annotated[int, between(1, 36_500, "days")] = 30
    """How long executions are kept."""

    secret_keys: Annotated[tuple[SecretKey, ...], KEYS] = ()
    """Encrypt the secrets inside targets; the first encrypts, each decrypts. Never shown."""

    allow_private_targets: Annotated[bool, Meta(description="true or false")] = False
    """Whether targets may be on loopback, link-local and private addresses."""

    allowed_targets: Annotated[tuple[str, ...], HOSTS_AND_NETWORKS] = ()
    """Targets that may be called although other rules forbid it; wins over all of them."""

    denied_targets: Annotated[tuple[str, ...], HOSTS_AND_NETWORKS] = ()
    """Targets that may not be called; with `*`, only the allowed ones may."""

    allowed_ports: Annotated[
        tuple[PortRange, ...], Meta(description="ports such as 443,8000-8999")
    ] = ()
    """Ports of targets; by default 80, 443 and from 1024, or any where targets may be private."""

    name_servers: Annotated[
        tuple[NameServer, ...], Meta(description="addresses such as 10.0.0.2,[2001:db8::2]:5353")
    ] = ()
    """Who is asked for the addresses of names; by default whom the system asks."""

    tzdata: Annotated[
        str,
        Meta(
            pattern=r"^(auto|system|package|/.*)$",
            description="auto, system, package or the path of a directory of time zones",
        ),
    ] = "auto"
    """Whose time zone rules to go by; `auto`: the newest of the system's and the package's."""

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="debug, info, warning or error"),
    ] = "info"
    """The least important level that is logged."""

    log_format: Annotated[
        Literal["auto", "text", "json"], Meta(description="auto, text or json")
    ] = "auto"
    """`auto`: text on a terminal, JSON elsewhere."""

    data_dir: Annotated[Path, Meta(description="a directory")] = Path(".tocsin")
    """Where `tocsin dev` keeps its Postgres."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], **overrides: object) -> Self:
        """Read the variables that start with `TOCSIN_`; an empty one counts as not given.

        What the address of the database leaves open comes from libpq's own variables.

        `overrides` are by field and win over the environment; None counts as not given.

        Raises:
            InvalidSettings: naming every variable that is unknown or cannot be used.
        """
        given = given_by(environ) | {
            field: Given(field=field, label=field, value=normalized(field, value))
            for field, value in overrides.items()
            if value is not None
        }
        known = {field.name: field for field in fields(cls)}
        problems = [problem for one in given.values() if (problem := one.problem(known))]
        if problems:
            raise InvalidSettings("\n".join(problems))
        values = {field: one.value for field, one in given.items()}
        given_address = values.get("database_url")
        if address := completed(str(given_address) if given_address else None, environ):
            parse(address)
            values["database_url"] = address
        return convert(values, cls, strict=False, dec_hook=from_text)

    def required_database_url(self) -> str:
        """Where Postgres is.

        Raises:
            InvalidSettings: no address was given.
        """
        if self.database_url is None:
            raise InvalidSettings(
                f"{PREFIX}DATABASE_URL is not set, nor is PGHOST or PGSERVICE; it takes "
                f"{DATABASE_URL.description}. "
                "`tocsin dev` needs none: it starts a Postgres of its own"
            )
        return self.database_url

    def __repr__(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        shown = [f"{name}={shown_value(name, value)!r}" for name, value in values.items()]
        return f"Settings({', '.join(shown)})"


class Given(Struct, frozen=True, kw_only=True):
    """One value as it came in, before it is known to be usable."""

    field: str
    label: str
    """What its giver calls it: the variable, or the field where an option gave it."""
    value: object

    def problem(self, known: Mapping[str, FieldInfo]) -> str | None:
        """Why it cannot be used, and what to write instead; None where it can."""
        if self.field not in known:
            return f"{self.label} is not a setting; {nearest(self.field, tuple(known))}"
        kind = known[self.field].type
        try:
            convert(self.value, kind, strict=False, dec_hook=from_text)
        except ValidationError:
            allowed = kind.__metadata__[0].description
            shown = shown_value(self.field, self.value)
            return f"{self.label} cannot be {shown!r}; it takes {allowed}"
        if self.field == "database_url":
            return address_problem(str(self.value))
        return None


def address_problem(address: str) -> str | None:
    try:
        parse(address)
    except InvalidSettings as error:
        return str(error)
    return None


def is_linked(name: str, value: str) -> bool:
    """Whether Kubernetes or Docker made a variable, because something there is called `tocsin`."""
    if LINKED.fullmatch(name):
        return True
    of_name = LINKED_VALUES.get(name.rpartition("_")[-1])
    return of_name is not None and of_name.fullmatch(value) is not None


def nearest(field: str, known: Sequence[str]) -> str:
    close = get_close_matches(field.lower(), known, n=1)
    names = ", ".join(PREFIX + name.upper() for name in close or known)
    return f"did you mean {names}?" if close else f"there are {names}"


def given_by(environ: Mapping[str, str]) -> dict[str, Given]:
    variables = {
        name.removeprefix(PREFIX).lower(): (name, value)
        for name, value in environ.items()
        if name.startswith(PREFIX) and value and not is_linked(name, value)
    }
    return {
        field: Given(field=field, label=name, value=normalized(field, value))
        for field, (name, value) in variables.items()
    }


def normalized(field: str, value: object) -> object:
    """What people write in more than one way, written in one."""
    match field, value:
        case _, str(items) if field in LISTS:
            return [item.strip() for item in items.split(",") if item.strip()]
        case "log_level", str(level):
            return level.lower()
        case _:
            return value


def from_text(kind: type[Path], value: str) -> Path:
    """Make what msgspec has no conversion for; a path is the only one."""
    return kind(value)


def shown_value(field: str, value: object) -> object:
    """What may be shown of a value: no secret key, no password."""
    match field:
        case "secret_keys":
            return HIDDEN if value else ()
        case "database_url" if isinstance(value, str):
            return masked(value)
        case _:
            return value
