"""Settings from the environment: read once, when a process starts, then passed as arguments."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, Self

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import FieldInfo, fields

from app.dsn import HIDDEN, complete, masked, parse
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
"""The values of variables that Kubernetes sets for each Service, and Docker for each linked
container, whose name begins with `tocsin`: these are no settings. A name that ends in PORT or NAME
could be one, so the value decides.
"""
OF_CLIENTS = frozenset({"TOCSIN_URL", "TOCSIN_API_KEY", "TOCSIN_CONTEXT"})
"""Variables of commands that use the API, which may be set where others run."""
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
    "log_executions",
)
HOSTS_AND_NETWORKS = Meta(description="hosts and networks such as *.example.com,10.1.0.0/16")


PostgresAddress = Annotated[str, Meta(pattern=r"^(postgres(ql)?://|\s*[a-z_]+\s*=)")]
SecretKey = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/_-]{43}=?$")]
PortRange = Annotated[str, Meta(pattern=r"^[0-9]{1,5}(-[0-9]{1,5})?$")]
HttpUrl = Annotated[str, Meta(pattern=r"^https?://[^\s]+$")]
WatchedJob = Annotated[str, Meta(pattern=r"^(?!tag:$).+$", max_length=300)]
EXECUTION_ID = "{execution_id}"
"""What stands in `trace_url` for the number of an execution."""
TraceUrl = Annotated[
    str,
    Meta(
        pattern=r"^(https?://\S*\{execution_id\}\S*)?$",
        max_length=1000,
        description="a URL with {execution_id} in it",
    ),
]
NameServer = Annotated[str, Meta(pattern=r"^[0-9A-Fa-f.:\[\]]+$")]


def between(low: float, high: float, what: str) -> Meta:
    """Bound a number, and describe the bounds for error messages."""
    return Meta(ge=low, le=high, description=f"{what} from {low} to {high}")


class Settings(Struct, frozen=True, kw_only=True):
    """The settings; the variable of each is `TOCSIN_` and the field's name in capitals."""

    database_url: Annotated[PostgresAddress | None, DATABASE_URL] = None
    """Where Postgres is, as a URL or in libpq's pairs of key and value; see `app.dsn`."""

    host: Annotated[str, Meta(min_length=1, description="a host name or an address")] = "127.0.0.1"
    """The address that the API listens on."""

    port: Annotated[int, between(0, 65535, "a number")] = 8080
    """The port that the API listens on; 0 stands for any free port."""

    concurrency: Annotated[int, between(1, 10_000, "a number")] = 100
    """Slots of one instance: how many executions it carries out at once."""

    lease_seconds: Annotated[float, between(3, 3600, "seconds")] = 60.0
    """How long a lease lasts; an instance extends its leases while it executes."""

    longest_sleep_seconds: Annotated[float, between(0.1, 30, "seconds")] = 30.0
    """The longest sleep between two looks: the most that a lost notification delays a job.

    At most half of `tocsin.wake_window()`, within which `db/triggers.sql` notifies of a job.
    """

    grace_seconds: Annotated[float, between(0, 3600, "seconds")] = 30.0
    """How long executions may go on after the process was asked to stop."""

    root_path: Annotated[
        str,
        Meta(
            pattern=r"^(/[A-Za-z0-9._~-]+)*$",
            max_length=200,
            description="a path such as /tocsin, without a slash at its end",
        ),
    ] = ""
    """The path below which a proxy shows API and dashboard; by default they have the whole host."""

    title: Annotated[str, Meta(max_length=40, description="up to 40 characters")] = ""
    """What the dashboard calls this environment, such as production."""

    color: Annotated[
        Literal["", "red", "orange", "green", "blue", "purple"],
        Meta(description="red, orange, green, blue or purple"),
    ] = ""
    """The color of the edge and the title of the dashboard's pages, to tell environments apart."""

    trace_url: TraceUrl = ""
    """Where the dashboard finds the trace of an execution: a URL with `{execution_id}` in it."""

    rate_limit: Annotated[int, between(0, 60_000, "requests a minute")] = 0
    """Requests a minute of each API key to one API process; 0 stands for no limit."""

    connections_per_client: Annotated[int, between(0, 10_000, "a number")] = 100
    """Connections of one client to one API process at once; 0 stands for no limit.

    Trusted proxies are not limited.
    """

    trusted_proxies: Annotated[
        tuple[str, ...], Meta(description="addresses and networks such as 10.1.2.3,10.2.0.0/16")
    ] = ()
    """Proxies in front of the API whose X-Forwarded-For and -Proto are trusted; none by default."""

    retention_days: Annotated[int, between(1, 36_500, "days")] = 30
    """How long executions are kept."""

    secret_keys: Annotated[tuple[SecretKey, ...], KEYS] = ()
    """Keys for the secrets in the database: the first encrypts, all decrypt. Never shown."""

    allow_private_targets: Annotated[bool, Meta(description="true or false")] = False
    """Whether targets may be on loopback, link-local and private addresses."""

    allowed_targets: Annotated[tuple[str, ...], HOSTS_AND_NETWORKS] = ()
    """Targets that may be called; this list wins over all other rules."""

    denied_targets: Annotated[tuple[str, ...], HOSTS_AND_NETWORKS] = ()
    """Targets that may not be called; with `*`, only the allowed targets may."""

    allowed_ports: Annotated[
        tuple[PortRange, ...], Meta(description="ports such as 443,8000-8999")
    ] = ()
    """Ports of targets; by default 80, 443 and from 1024, or any if targets may be private."""

    name_servers: Annotated[
        tuple[NameServer, ...], Meta(description="addresses such as 10.0.0.2,[2001:db8::2]:5353")
    ] = ()
    """The DNS servers to ask for addresses of names; by default those of the system."""

    tzdata: Annotated[
        str,
        Meta(
            pattern=r"^(auto|system|package|/.*)$",
            description="auto, system, package or the path of a directory of time zones",
        ),
    ] = "auto"
    """The time zone rules; `auto` takes the newer ones of the system and the Python package."""

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="debug, info, warning or error"),
    ] = "info"
    """The least important level that is logged."""

    log_format: Annotated[
        Literal["auto", "text", "json"], Meta(description="auto, text or json")
    ] = "auto"
    """The form of log lines; `auto` writes text on a terminal and JSON elsewhere."""

    access_log_level: Annotated[
        Literal["off", "debug", "info", "warning", "error"],
        Meta(description="off, debug, info, warning or error"),
    ] = "debug"
    """The level of the line that each request to the API is; with `off` there is none."""

    log_executions: Annotated[
        tuple[WatchedJob, ...],
        Meta(description="names, ids and tags of jobs such as nightly-report,tag:billing, or *"),
    ] = ()
    """The jobs of which each execution is a line of level `info`, successes too; `*`: all."""

    metrics_port: Annotated[int, between(0, 65535, "a number")] = 0
    """The port on which an instance answers `/metrics`, on the host of the API; 0 stands for none.

    With several processes of `tocsin scheduler` each has a port of its own, counted up from this.
    """

    health_port: Annotated[int, between(0, 65535, "a number")] = 0
    """The port on which an instance answers `/health/live` and `/health/ready`, as `metrics_port`
    says; both may be the same. 0 stands for none."""

    heartbeat_url: Annotated[HttpUrl | None, Meta(description="an http or https URL")] = None
    """The URL that instances call while jobs start on time. Never shown: it may be a secret."""

    heartbeat_seconds: Annotated[float, between(1, 86_400, "seconds")] = 60.0
    """The pause between two such calls of one instance."""

    heartbeat_late_seconds: Annotated[float, between(1, 86_400, "seconds")] = 30.0
    """No such call is made while a due job has waited for longer than this."""

    data_dir: Annotated[Path, Meta(description="a directory")] = Path(".tocsin")
    """The directory in which `tocsin dev` keeps its Postgres."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], **overrides: object) -> Self:
        """Read the variables that start with `TOCSIN_`; an empty one counts as not given.

        libpq's own variables complete the address of the database. `overrides`, by field, win over
        the environment; None counts as not given.

        Raises:
            InvalidSettings: names every variable that is unknown or has an invalid value.
        """
        given = given_by(environ) | {
            field: Given(field=field, label=field, value=normalized(field, value))
            for field, value in overrides.items()
            if value is not None
        }
        known = {field.name: field for field in fields(cls)}
        errors = [error for one in given.values() if (error := one.error(known))]
        if errors:
            raise InvalidSettings("\n".join(errors))
        values = {field: one.value for field, one in given.items()}
        given_address = values.get("database_url")
        if address := complete(str(given_address) if given_address else None, environ):
            parse(address)
            values["database_url"] = address
        return convert(values, cls, strict=False, dec_hook=from_text)

    def required_database_url(self) -> str:
        """Return the address of the database.

        Raises:
            InvalidSettings: no address was given.
        """
        if self.database_url is None:
            raise InvalidSettings(
                f"{PREFIX}DATABASE_URL is not set, nor is PGHOST or PGSERVICE; it takes "
                f"{DATABASE_URL.description}. "
                "`tocsin dev` needs none: it starts a Postgres of its own, on which "
                "`tocsin dev COMMAND` works"
            )
        return self.database_url

    def __repr__(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        shown = [f"{name}={shown_value(name, value)!r}" for name, value in values.items()]
        return f"Settings({', '.join(shown)})"


class Given(Struct, frozen=True, kw_only=True):
    """A value as given, before it is checked."""

    field: str
    label: str
    """The name in error messages: that of the variable, or of the field for an override."""
    value: object

    def error(self, known: Mapping[str, FieldInfo]) -> str | None:
        """Say why the value cannot be used, and what to write instead; None if it can."""
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
            return address_error(str(self.value))
        return None


def address_error(address: str) -> str | None:
    try:
        parse(address)
    except InvalidSettings as error:
        return str(error)
    return None


def is_linked(name: str, value: str) -> bool:
    """Return whether Kubernetes or Docker set a variable for a service that is called `tocsin`."""
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
        if name.startswith(PREFIX)
        and value
        and name not in OF_CLIENTS
        and not is_linked(name, value)
    }
    return {
        field: Given(field=field, label=name, value=normalized(field, value))
        for field, (name, value) in variables.items()
    }


def normalized(field: str, value: object) -> object:
    """Return a value in one form: a list for items with commas, a log level in lower case."""
    match field, value:
        case _, str(items) if field in LISTS:
            return [item.strip() for item in items.split(",") if item.strip()]
        case "log_level" | "access_log_level", str(level):
            return level.lower()
        case _:
            return value


def from_text(kind: type[Path], value: str) -> Path:
    """Convert a text to a path: msgspec has no conversion of its own."""
    return kind(value)


def shown_value(field: str, value: object) -> object:
    """Return what errors may show of a value: no secret key, no password."""
    match field:
        case "secret_keys":
            return HIDDEN if value else ()
        case "heartbeat_url":
            return HIDDEN if value else None
        case "database_url" if isinstance(value, str):
            return masked(value)
        case _:
            return value
