"""The key that encrypts secrets under `tocsin dev`, kept beside its Postgres."""

import base64
import secrets
from contextlib import suppress
from pathlib import Path

from app.devdb.cluster import DevDatabaseFailed
from app.devdb.places import reachable_home

OWNER_ONLY = 0o600


def kept_key(data_dir: Path) -> str | None:
    """Return the key that is kept under `data_dir`, made on first use.

    None where there are data already that were made without one.

    Raises:
        DevDatabaseFailed: the file cannot be read or written.
    """
    try:
        home = reachable_home(data_dir)
        place = home / "secret-key"
        with suppress(FileNotFoundError):
            return place.read_text("ascii").strip()
        if (home / "server").exists():
            return None
        place.touch(mode=OWNER_ONLY)
        place.write_text(base64.b64encode(secrets.token_bytes(32)).decode() + "\n", "ascii")
        return place.read_text("ascii").strip()
    except OSError as error:
        message = f"cannot keep a key under {data_dir}: {error}; set TOCSIN_DATA_DIR"
        raise DevDatabaseFailed(message) from error
