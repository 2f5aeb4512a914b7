"""Completes an address from libpq's environment variables and service files, as libpq does."""

from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from configparser import Error as NotReadable
from pathlib import Path

from app.dsn.address import named, parameters_of, unusable, url_of
from app.dsn.parameters import VARIABLES

ENOUGH = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE")
"""Variables of which one alone suffices to name a database."""


def complete(text: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the address completed from `environ`; None if no database is named.

    As in libpq, the address wins over the service that it names, and the service over variables.

    Raises:
        InvalidSettings: the address or the service cannot be read.
    """
    if not text and not any(environ.get(name) for name in ENOUGH):
        return None
    given = {name: value for name, value in parameters_of(text or "").items() if value}
    variables = {
        parameter: environ[name] for name, parameter in VARIABLES.items() if environ.get(name)
    }
    if text and not variables and "service" not in given:
        return text
    place = variables | given
    service = service_called(place, environ) if "service" in place else {}
    merged = variables | service | given
    return url_of({name: merged[name] for name in merged if not name.startswith("service")})


def service_called(place: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Read the parameters of a service from its file.

    Raises:
        InvalidSettings: no file has the service, or a file cannot be read.
    """
    paths = list(service_files(place, environ))
    for path in paths:
        # As in libpq, % is an ordinary character: a password may have one.
        parser = ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
        try:
            parser.read_string(path.read_text("utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, NotReadable):
            raise unusable(f"names a service, and its file {path} cannot be read") from None
        if parser.has_section(place["service"]):
            return named(parser.items(place["service"]))
    looked = " and ".join(map(str, paths)) or "any file"
    raise unusable(f"names the service {place['service']}, which is not in {looked}")


def service_files(place: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[Path]:
    if "servicefile" in place:
        yield Path(place["servicefile"])
    elif "HOME" in environ:
        yield Path(environ["HOME"]) / ".pg_service.conf"
    if "PGSYSCONFDIR" in environ:
        yield Path(environ["PGSYSCONFDIR"]) / "pg_service.conf"
