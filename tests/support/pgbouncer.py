"""A real PgBouncer in front of a Postgres, from the package `pgbouncer`."""

import asyncio
import os
import re
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from tests.support.postgres import throwaway_directory
from tests.support.rabbit import free_ports

START_SECONDS = 10.0


@asynccontextmanager
async def pooled(
    database_url: str,
    *,
    mode: str,
    ignored: tuple[str, ...],
    auth: str = "any",
    shown: str = "",
) -> AsyncIterator[str]:
    """Serve the database through a pooler; give the URL that leads through it.

    `ignored` are parameters of a new session that are dropped rather than refused. With `auth`
    other than `any`, the user `any` has to give the password `any`. `shown` is a configuration
    with a database at db.internal, which is then this one.
    """
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
    assert program, "these tests need PgBouncer: install the package pgbouncer"
    [port] = free_ports(1)
    behind = urlsplit(database_url)
    name = behind.path.removeprefix("/")
    address = f"host={behind.hostname} port={behind.port} dbname={name}"
    account = f"user={behind.username} password={behind.password}"
    with throwaway_directory() as home:
        (home / "users").write_text('"any" "any"\n', "utf-8")
        configuration = home / "pgbouncer.ini"
        settings = (
            shown or f"[databases]\n{name} = host=db.internal pool_mode={mode}\n[pgbouncer]\n"
        )
        settings = re.sub(
            r"^\w+ = host=db\.internal( (port|dbname)=\w+)*",
            f"{name} = {address} {account}",
            settings,
            flags=re.MULTILINE,
        )
        configuration.write_text(
            f"""
{settings}
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = {auth}
auth_file = {home}/users
ignore_startup_parameters = {",".join(ignored)}
""",
            "utf-8",
        )
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        process = await asyncio.create_subprocess_exec(
            *(program, *user, os.fspath(configuration)),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await listens(port)
            yield behind._replace(netloc=f"any:any@127.0.0.1:{port}").geturl()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def listens(port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert time.monotonic() < until, "PgBouncer did not start"
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
