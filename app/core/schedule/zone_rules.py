"""Time zone rules: releases of the IANA time zone database, and the choice among them.

A machine can have several releases: in the system's directories and in the Python package
`tzdata`. Each zone is a file (RFC 9636). A release is named by its year and a letter, as 2026f is.
"""

import lzma
import re
import struct
import zoneinfo
from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property
from importlib import resources
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from app.errors import InvalidSettings

AUTO, SYSTEM, PACKAGE = "auto", "system", "package"
ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", re.ASCII)
ZONE_MAGIC = b"TZif"
"""The first bytes of the file of a zone."""
FOREIGN_NAMES = ("posix/", "right/", "posixrules", "localtime", "Factory")
"""Files beside the zones that other machines do not have, and the zone of unset clocks."""
VERSION = re.compile(r"\d{4}[a-z]{1,2}", re.ASCII)
VERSION_FILES = ("tzdata.zi", "+VERSION", "version")
"""Files of a directory of zones that can have the version in their first line."""
UNKNOWN = ""
"""The version of rules without such a file, which compares as older than any other."""


class Rules:
    """The time zone rules of one release.

    `read` returns a zone's file, or None; `names` returns the names that may be those of zones.
    Instances are compared by identity, so that results worked out from them can be cached.
    """

    def __init__(
        self,
        *,
        source: str,
        version: str,
        read: Callable[[str], bytes | None],
        names: Callable[[], Iterable[str]],
    ) -> None:
        self.source = source
        self.version = version
        self.read = read
        self.list_names = names
        self.zone = cache(self.load)

    def __str__(self) -> str:
        return f"{self.version or 'of unknown version'} ({self.source})"

    def __repr__(self) -> str:
        return f"Rules({self})"

    def load(self, name: str) -> ZoneInfo | None:
        """Read one zone; None if no zone has this name."""
        content = self.content(name)
        try:
            return ZoneInfo.from_file(BytesIO(content), key=name) if content else None
        except (ValueError, struct.error):  # a file that is no whole zone
            return None

    def content(self, name: str) -> bytes | None:
        """Read the file of one zone; None if there is no such file, or if it is no zone's."""
        # The name becomes a path below a directory: nothing else may reach the file system.
        if not ZONE_NAME.fullmatch(name) or name.startswith(FOREIGN_NAMES):
            return None
        try:
            content = self.read(name)
        except (ValueError, OSError):  # a name too long for a file, or a file that is not ours
            return None
        return content if content and content.startswith(ZONE_MAGIC) else None

    @cached_property
    def names(self) -> list[str]:
        """The names of all zones, sorted."""
        return sorted({name for name in self.list_names() if self.zone(name) is not None})

    def archive(self) -> bytes:
        """Return all zones, compressed, so that a later release can be compared with this one.

        The first instance does this while it drains what is due, so no zone is parsed, and the
        compression is the quickest: 45 KB instead of 40.
        """
        found = {name: self.content(name) for name in sorted({*self.list_names()})}
        contents = {name: content for name, content in found.items() if content is not None}
        return lzma.compress(msgspec.msgpack.encode(contents), preset=0)


def from_archive(version: str, archive: bytes) -> Rules:
    """Return the rules that `Rules.archive` compressed."""
    contents = msgspec.msgpack.decode(lzma.decompress(archive), type=dict[str, bytes])
    return Rules(source="archive", version=version, read=contents.get, names=lambda: contents)


def from_directories(source: str, version: str, *directories: Path) -> Rules:
    """Return rules that read each zone from the first of these directories that has it."""

    def read(name: str) -> bytes | None:
        for directory in directories:
            path = directory / name
            if path.is_file():
                return path.read_bytes()
        return None

    def names() -> Iterator[str]:
        for directory in directories:
            for top in directory.glob("*"):
                if f"{top.name}/" not in FOREIGN_NAMES:
                    paths = (top, *top.rglob("*"))
                    names = (path.relative_to(directory).as_posix() for path in paths)
                    yield from filter(ZONE_NAME.fullmatch, names)

    return Rules(source=source, version=version, read=read, names=names)


@cache
def choose_rules(setting: str) -> Rules:
    """Return the rules that a setting asks for: `auto`, `system`, `package`, or a directory.

    `auto` takes the newest release. Rules without a version are taken only if there are no others.
    A zone that the chosen rules lack (some systems package legacy names apart) comes from the
    other rules.

    Raises:
        InvalidSettings: this machine does not have such rules.
    """
    if setting.startswith("/"):
        systems = [Path(setting)] if Path(setting).is_dir() else []
    else:
        systems = [path for path in map(Path, zoneinfo.TZPATH) if path.is_dir()]
    system = max(systems, key=version_in, default=None)
    package = package_directory()
    prefer_package = package is not None and (
        setting == PACKAGE
        or system is None
        or (setting == AUTO and version_in(system) <= version_in(package))
    )
    if (setting == PACKAGE and package is None) or (
        setting not in (AUTO, PACKAGE) and system is None
    ):
        message = (
            f"TOCSIN_TZDATA is {setting}, and there are no such time zone rules here; "
            "auto takes what there is"
        )
        raise InvalidSettings(message)
    if package is not None and prefer_package:
        return from_directories(PACKAGE, version_in(package), package, *systems)
    if system is None:
        message = "there are no time zone rules: install tzdata, the system's or the Python package"
        raise InvalidSettings(message)
    source = setting if setting.startswith("/") else SYSTEM
    others = [path for path in (*systems, package) if path not in {None, system}]
    return from_directories(source, version_in(system), system, *filter(None, others))


def find_versions() -> dict[str, str]:
    """Return the versions of the rules on this machine, by their source."""
    directories = {SYSTEM: max(map(Path, zoneinfo.TZPATH), key=version_in, default=None)}
    directories[PACKAGE] = package_directory()
    return {
        source: version_in(path) for source, path in directories.items() if path and path.is_dir()
    }


def package_directory() -> Path | None:
    """Find the directory of zones of the Python package `tzdata`."""
    try:
        found = Path(str(resources.files("tzdata") / "zoneinfo"))
    except ModuleNotFoundError:
        return None
    return found if found.is_dir() else None


def version_in(directory: Path) -> str:
    """Read the version of the rules in a directory; `UNKNOWN` if no file there has it."""
    for name in VERSION_FILES:
        try:
            with (directory / name).open("rb") as file:
                found = VERSION.search(file.readline(100).decode("ascii", "replace"))
        except OSError:
            continue
        if found:
            return found[0]
    return UNKNOWN
