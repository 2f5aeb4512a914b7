"""Parses the address of a database: a URL, or pairs of key and value, as libpq does."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Self
from urllib.parse import quote, unquote, urlencode

from msgspec import Struct, field

from app.dsn.parameters import ALIASES, HONOURED, IGNORED, unknown, value_error
from app.errors import InvalidSettings

URL = re.compile(r"postgres(?:ql)?://", re.IGNORECASE)
PAIR = re.compile(
    r"\s*(?P<key>[^\s=]+)\s*=\s*(?P<value>'(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)(?=\s|\Z)", re.DOTALL
)
HOST_NAME = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+(%\w+)?|/.*|@.*|", re.ASCII)
PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
PORTS = range(1, 65_536)
VARIABLE = "TOCSIN_DATABASE_URL"
ESCAPE = "percent-encode what is special in the user and password: @ is %40, / %2F, : %3A, ? %3F"


class Host(Struct, frozen=True):
    """A host of the address; an empty name stands for the usual sockets and then localhost."""

    name: str
    port: int | None

    def __str__(self) -> str:
        if not self.name or self.name.startswith("/"):
            return self.name or "the local socket"
        return f"{self.name}:{self.port or 5432}"


class Address(Struct, frozen=True, kw_only=True):
    """Where a database is and how to connect to it; parameters have libpq's names."""

    hosts: tuple[Host, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)
    """The parameters that have an effect, without hosts and ports."""
    ignored: tuple[str, ...] = ()
    """The names of parameters that have no effect."""

    @classmethod
    def from_parameters(cls, given: Mapping[str, str]) -> Self:
        """Check parameters and make an address of them; an empty one counts as not given.

        Raises:
            InvalidSettings: a parameter has an invalid value, or hosts and ports do not match.
        """
        values = {name: value for name, value in given.items() if value}
        for name, value in values.items():
            if error := value_error(name, value):
                raise unusable(f"cannot be used: {error}")
        system = values.get("sslrootcert") == "system"
        if system and values.setdefault("sslmode", "verify-full") != "verify-full":
            raise unusable("cannot be used: sslrootcert=system takes sslmode=verify-full")
        ignored = tuple(name for name in values if name in IGNORED)
        hosts = tuple(hosts_of(values))
        places = {"host", "hostaddr", "port"}
        kept = {name: values[name] for name in values if name in HONOURED - places}
        return cls(hosts=hosts, parameters=kept, ignored=ignored)

    @property
    def user(self) -> str | None:
        return self.parameters.get("user")

    @property
    def database(self) -> str | None:
        """The name of the database; None stands for the user's name."""
        return self.parameters.get("dbname")

    @property
    def password(self) -> str | None:
        return self.parameters.get("password")

    def number(self, name: str) -> int | None:
        """Return a parameter that is a number; None if it is not given."""
        value = self.parameters.get(name)
        return None if value is None else int(value)

    def shown(self, text: str) -> str:
        """Return a text of a library or server with `***` for the passwords, encoded ones too."""
        for secret in (self.password, self.parameters.get("sslpassword")):
            for form in {secret, quote(secret, safe=""), quote(secret)} if secret else ():
                text = text.replace(form, "***")
        return text


@lru_cache(maxsize=8)
def parse(text: str) -> Address:
    """Parse an address.

    Raises:
        InvalidSettings: the text is no address; the message quotes nothing that can be a password.
    """
    return Address.from_parameters(parameters_of(text))


def parameters_of(text: str) -> dict[str, str]:
    """Return the parameters that an address gives, by libpq's names.

    Raises:
        InvalidSettings: the text cannot be read, or has an unknown parameter.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise unusable("is not UTF-8") from None
    if "\0" in text:
        raise unusable("has a zero byte")
    if URL.match(text):
        return named(from_url(text), quotable="@" not in text.partition("?")[2])
    return named(from_pairs(text), quotable="pass" not in text)


def named(found: Iterable[tuple[str, str]], *, quotable: bool = False) -> dict[str, str]:
    """Return parameters by libpq's names; of repeated ones the last counts.

    Unless `quotable`, an unknown name may be a piece of a password, and errors do not quote it.

    Raises:
        InvalidSettings: libpq does not know a parameter.
    """
    parameters: dict[str, str] = {}
    for name, value in found:
        real = ALIASES.get(name, name)
        if real not in HONOURED and real not in IGNORED:
            plain = re.fullmatch("[A-Za-z_]{2,40}", name) is not None
            raise unusable(unknown(name, quotable=quotable and plain))
        parameters[real] = value
    return parameters


def from_url(text: str) -> Iterator[tuple[str, str]]:
    """Read `postgresql://user:password@host:port,…/database?parameter=value&…`."""
    text = URL.sub("", text, count=1)
    text, _, query = text.partition("?")
    authority, _, database = text.partition("/")
    credentials, _, places = authority.rpartition("@")
    if "@" in database or any("@" in name for name, _, _ in pairs_in(query)):
        raise unusable(f"cannot be read: {ESCAPE}")
    user, _, password = credentials.partition(":")
    hosts, ports = hosts_and_ports(places)
    yield from (("user", decoded(user)), ("password", decoded(password)))
    yield from (("host", hosts), ("port", ports), ("dbname", decoded(database)))
    for name, equals, value in pairs_in(query):
        if not equals:
            raise unusable("has a parameter without =; a & inside a value is written %26")
        if decoded(name) == "ssl":  # JDBC's parameter, which libpq accepts in a URL
            yield "sslmode", "require" if decoded(value) == "true" else "prefer"
        elif value:
            yield decoded(name), decoded(value)


def pairs_in(query: str) -> list[tuple[str, str, str]]:
    return [one.partition("=") for one in query.split("&") if one]


def hosts_and_ports(places: str) -> tuple[str, str]:
    """Return the hosts and the ports of a URL, each separated by commas."""
    hosts, ports = [], []
    for place in places.split(","):
        if place.startswith("["):
            host, bracket, port = place[1:].partition("]")
            if not bracket or (port and not port.startswith(":")):
                raise unusable("cannot be read: an IPv6 address is written [2001:db8::1]:5432")
            port = port[1:]
        else:
            host, _, port = place.partition(":")
        if port and not PORT.fullmatch(port):
            raise unusable(f"cannot be read: a port is a number from 1 to 65535; {ESCAPE}")
        hosts.append(decoded(host))
        ports.append(port)
    return ",".join(hosts), ",".join(ports) if any(ports) else ""


def from_pairs(text: str) -> Iterator[tuple[str, str]]:
    """Read `key=value key='a value'`, where a backslash escapes the next character."""
    text = text.strip()
    position = 0
    while position < len(text):
        match = PAIR.match(text, position)
        if match is None:
            raise unusable(
                r"cannot be read: write key=value pairs, and a value with spaces in single quotes "
                r"in which ' is \' and \ is \\"
            )
        position = match.end()
        value = match["value"]
        if value.startswith("'"):
            value = value[1:-1]
        yield match["key"], re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)


def hosts_of(values: Mapping[str, str]) -> Iterator[Host]:
    """Pair hosts with ports; a single port is for all hosts."""
    names = values.get("host", "").split(",")
    if given := values.get("hostaddr"):
        addresses = given.split(",")
        if values.get("host") and len(addresses) != len(names):
            raise unusable("cannot be used: hostaddr has not as many entries as host")
        if values.get("sslmode") != "verify-full":  # else the certificate has to have the name
            names = addresses
    ports = values.get("port", "").split(",")
    if len(ports) == 1:
        ports *= len(names)
    if len(ports) != len(names):
        raise unusable("cannot be used: it has not as many ports as hosts")
    for name, port in zip(names, ports, strict=True):
        if not HOST_NAME.fullmatch(name):
            raise unusable(f"has a host with characters that no name of a host has; {ESCAPE}")
        if port and not (PORT.fullmatch(port) and int(port) in PORTS):
            raise unusable("cannot be used: a port is a number from 1 to 65535")
        yield Host(name, int(port) if port else None)


def decoded(text: str) -> str:
    """Return a percent-encoded text in plain.

    Raises:
        InvalidSettings: the plain text is not UTF-8, or has a zero byte.
    """
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise unusable("has percent-encoded bytes that are not UTF-8") from None
    if "\0" in plain:
        raise unusable("has a zero byte")
    return plain


def url_of(parameters: Mapping[str, str]) -> str:
    """Write parameters as an equivalent URL."""
    user, password = (quote(parameters.get(one, ""), safe="") for one in ("user", "password"))
    credentials = f"{user}{f':{password}' if password else ''}@" if user or password else ""
    rest = {
        name: value
        for name, value in parameters.items()
        if value and name not in {"user", "password", "dbname"}
    }
    query = f"?{urlencode(rest, quote_via=quote)}" if rest else ""
    return f"postgresql://{credentials}/{quote(parameters.get('dbname', ''), safe='')}{query}"


def unusable(why: str) -> InvalidSettings:
    return InvalidSettings(f"{VARIABLE} {why}")
