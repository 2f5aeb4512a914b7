"""The key that encrypts secrets under `tocsin dev`, kept beside its Postgres."""

import base64
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from app.devdb.cluster import DevDatabaseFailed
from app.devdb.places import reachable_home


def kept_key(data_dir: Path) -> str | None:
    """Return the key that is kept under `data_dir`, made on first use.

    None where there are data already that were made without one. An empty file, which earlier
    versions left when they were killed, has encrypted nothing and is replaced.

    Raises:
        DevDatabaseFailed: the file cannot be read or written.
    """
    try:
        home = reachable_home(data_dir)
        place = home / "secret-key"
        with alone_in(home):
            if place.exists():
                if key := place.read_text("ascii").strip():
                    return key
            elif (home / "server").exists():
                return None
            made = base64.b64encode(secrets.token_bytes(32)).decode()
            keep(place, made)
            return made
    except OSError as error:
        message = f"cannot keep a key under {data_dir}: {error}; set TOCSIN_DATA_DIR"
        raise DevDatabaseFailed(message) from error


@contextmanager
def alone_in(home: Path) -> Iterator[None]:
    """Wait for others that look for a key there, so that all of them have the same."""
    directory = os.open(home, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def keep(place: Path, key: str) -> None:
    """Write a file that only its owner can read: all of it or, if this is cut off, nothing."""
    with NamedTemporaryFile("w", encoding="ascii", dir=place.parent, delete=False) as file:
        try:
            file.write(f"{key}\n")
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(place)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
