"""Whatever a database says to who connects is told in one sentence, and survived by who runs."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from app.config import Settings
from app.core.facts import Connected, Disconnected, Settled
from app.db.connecting import connect
from app.errors import DatabaseRefused, DatabaseUnavailable
from app.scheduler.instance import Instance
from app.telemetry import Observers
from tests.support.api import serving
from tests.support.builders import insert_job
from tests.support.cluster import ROOT
from tests.support.recorder import Recorder
from tests.support.sink import Sink
from tests.support.waiting import until

PASSWORD = "s3cret%2Fof%40the%40role"
"""As it stands in a URL."""


class Guest:
    """A role of its own, with the rights that an instance needs and no others."""

    def __init__(self, admin: asyncpg.Connection, database_url: str) -> None:
        self.admin = admin
        self.address = urlsplit(database_url)
        self.name = f"guest_{uuid4().hex[:8]}"
        self.database = self.address.path.removeprefix("/")

    def url(self, *, user: str = "", password: str = PASSWORD, database: str = "") -> str:
        place = f"{self.address.hostname}:{self.address.port}/{database or self.database}"
        return f"postgresql://{user or self.name}:{password}@{place}"

    async def do(self, script: str) -> None:
        names = {"role": self.name, "database": self.database}
        await self.admin.execute(script.format(**names))

    async def create(self) -> None:
        await self.do(
            """create role {role} login password 's3cret/of@the@role';
            grant usage, create on schema tocsin to {role};
            grant all on all tables in schema tocsin to {role};
            grant all on all sequences in schema tocsin to {role};
            grant execute on all functions in schema tocsin to {role}"""
        )

    async def change(self, script: str, *, inside: bool = False) -> None:
        """Do something to the role or the database."""
        if not inside:
            await self.do(script)
            return
        connection = await asyncpg.connect(self.address.geturl())
        await connection.execute(script.format(role=self.name, database=self.database))
        await connection.close()

    async def disturb(self, script: str, *, inside: bool = False) -> None:
        """Do it while nobody is connected; for a renamed database nobody may be."""
        if inside:
            await self.change(script, inside=True)
        else:
            await self.allow(entry=False)
            await self.end_sessions()
            await self.do(script)
        if "database {database}" not in script or "revoke" in script:
            await self.allow(entry=True)
        await self.end_sessions()

    async def allow(self, *, entry: bool) -> None:
        await self.do(f"alter database {{database}} allow_connections {entry}")

    async def end_sessions(self) -> None:
        await self.admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1",
            self.database,
        )

    async def insert_job(self, url: str) -> None:
        connection = await asyncpg.connect(self.address.geturl())
        await insert_job(connection, target={"url": url})
        await connection.close()


@pytest.fixture
async def guest(postgres_server: Any, database_url: str) -> AsyncIterator[Guest]:  # noqa: ANN401
    # Of another database: this one is renamed, and locked up.
    admin = await asyncpg.connect(postgres_server.url)
    inside = await asyncpg.connect(database_url)
    one = Guest(inside, database_url)
    await one.create()
    await inside.close()
    one.admin = admin
    yield one
    await one.allow(entry=True)
    await one.end_sessions()
    inside = await asyncpg.connect(database_url)
    await inside.execute(f"drop owned by {one.name}")
    await inside.execute(f"drop role {one.name}")
    await inside.close()
    await admin.close()


REFUSALS = {
    "wrong password": ("select 1", {"password": "other"}, "password"),
    "no such role": ("select 1", {"user": "nobody_here"}, "nobody_here"),
    "no such database": ("select 1", {"database": "nothing_here"}, "nothing_here.*Create"),
    "no login": ("alter role {role} nologin", {}, "LOGIN"),
    "no connect": (
        "revoke connect on database {database} from public",
        {},
        "GRANT CONNECT ON DATABASE",
    ),
    "a setting that is none": (
        "select 1",
        {"options": "-c%20nothing.at.all%3D1%20-c%20x%3D1"},
        "options",
    ),
}
PASSING = {
    "no connections allowed": (
        "alter database {database} allow_connections false",
        "not currently accepting connections.*ALLOW_CONNECTIONS",
    ),
    "a full role": ("alter role {role} connection limit 0", "too many connections.*limit"),
}


@pytest.mark.parametrize("what", REFUSALS)
async def test_a_refusal_that_lasts_is_one_sentence_with_its_remedy(
    guest: Guest, what: str
) -> None:
    script, change, says = REFUSALS[what]
    await guest.do(script)
    options = change.get("options")
    url = guest.url(**{name: value for name, value in change.items() if name != "options"})

    with pytest.raises(DatabaseRefused, match=says) as refused:
        await connect(f"{url}?options={options}" if options else url)

    assert one_sentence(str(refused.value))


@pytest.mark.parametrize("what", PASSING)
async def test_what_may_pass_by_itself_is_one_sentence_with_its_remedy(
    guest: Guest, what: str
) -> None:
    script, says = PASSING[what]
    await guest.do(script)

    with pytest.raises(DatabaseUnavailable, match=says) as unavailable:
        await connect(guest.url())

    assert not isinstance(unavailable.value, DatabaseRefused)
    assert one_sentence(str(unavailable.value))


@pytest.mark.parametrize(
    ("parameters", "kind", "says"),
    [
        ("sslmode=require", DatabaseRefused, "does not speak TLS.*ssl = on"),
        ("sslmode=verify-full&sslrootcert=/nowhere/ca.pem", DatabaseRefused, "/nowhere/ca.pem"),
        ("sslmode=verify-full&sslrootcert=README.md", DatabaseRefused, "no certificates in PEM"),
        ("sslmode=require&sslcert=README.md", DatabaseRefused, "no certificate with its key"),
        ("sslmode=require&sslkey=/nowhere/key", DatabaseRefused, "/nowhere/key"),
        ("sslrootcert=system", DatabaseRefused, "does not speak TLS"),
        ("target_session_attrs=standby", DatabaseUnavailable, "target_session_attrs"),
        ("host=nothing.invalid", DatabaseUnavailable, "nothing.invalid"),
        ("port=9", DatabaseUnavailable, "nothing listens"),
        ("host=/nowhere", DatabaseUnavailable, "nothing listens at /nowhere"),
    ],
)
async def test_a_parameter_that_does_not_fit_the_server_is_told_of(
    guest: Guest, parameters: str, kind: type[Exception], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    url = guest.url()
    if parameters.startswith(("host", "port")):  # those in front of the database win
        user = url.partition("@")[0]
        url = f"{user}@/{guest.database}" if "host" in parameters else f"{user}@127.0.0.1/x"

    with pytest.raises(kind, match=says) as told:
        await connect(f"{url}?{parameters}")

    assert one_sentence(str(told.value))
    if kind is DatabaseUnavailable:
        assert not isinstance(told.value, DatabaseRefused)


AUTHENTICATE = b"R\0\0\0\x08\0\0\0"
OTHERS = {
    "a web server": ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], True, "is not Postgres"),
    "a mail server": ([b"220 hello\r\n"], True, "is not Postgres"),
    "who says nothing": ([b""], False, "closes connections without a word"),
    "an unknown proof": ([b"N", AUTHENTICATE + b"\x63"], True, "method.*scram-sha-256"),
    "Kerberos": ([b"N", AUTHENTICATE + b"\x07"], True, "gssapi.*scram-sha-256"),
}


@pytest.mark.parametrize("who", OTHERS)
async def test_whoever_else_answers_is_told_of(who: str) -> None:
    answers, lasts, says = OTHERS[who]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for one in answers:
            await reader.read(1000)
            writer.write(one)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(DatabaseUnavailable, match=says) as told:
            await connect(f"postgresql://me:s3cret@127.0.0.1:{port}/x")

    assert isinstance(told.value, DatabaseRefused) is lasts
    assert one_sentence(str(told.value))


def one_sentence(message: str) -> bool:
    """Whether a message is one line of some length without a password."""
    return len(message) < 400 and "\n" not in message and "s3cret" not in message


@pytest.mark.parametrize(
    "parameters",
    [
        "connect_timeout=3",
        "connect_timeout=0",
        "channel_binding=require",
        "channel_binding=prefer",
        "gssencmode=prefer",
        "keepalives=0",
        "keepalives=1&keepalives_idle=5&keepalives_interval=2&keepalives_count=4",
        "keepalives_idle=999999&keepalives_count=9999",
        "tcp_user_timeout=9000",
        "application_name=other&fallback_application_name=x",
        "client_encoding=latin1",
        "options=-c%20statement_timeout%3D60s",
        "sslmode=prefer&sslsni=0&sslcompression=1&sslcertmode=disable",
        "target_session_attrs=primary",
        "load_balance_hosts=random",
        "replication=false&requirepeer=postgres&require_auth=scram-sha-256",
        "min_protocol_version=3.0&max_protocol_version=latest",
        "ssl_min_protocol_version=TLSv1.2",
        "krbsrvname=postgres&gsslib=gssapi&gssdelegation=0",
        "passfile=/nowhere",
    ],
)
async def test_what_libpq_knows_is_never_fatal(guest: Guest, parameters: str) -> None:
    connection = await connect(
        f"{guest.url()}?{parameters}", server_settings={"application_name": "tocsin test"}
    )
    try:
        name = await connection.fetchval("show application_name")
        timeout = await connection.fetchval("show statement_timeout")
    finally:
        await connection.close()

    assert name == "tocsin test"
    assert (timeout == "1min") == ("statement_timeout" in parameters)


async def test_pairs_of_key_and_value_and_a_password_file_let_us_in(
    guest: Guest, tmp_path: Path
) -> None:
    passwords = tmp_path / "passwords"
    place = f"{guest.address.hostname}:{guest.address.port}:{guest.database}:{guest.name}"
    passwords.write_text(f"# ours\nother:1:*:*:wrong\n{place}:s3cret/of@the@role\n", "utf-8")
    passwords.chmod(0o600)
    given = Settings.from_environ(
        {
            "TOCSIN_DATABASE_URL": f"host={guest.address.hostname} user='{guest.name}'",
            "PGPORT": str(guest.address.port),
            "PGDATABASE": guest.database,
            "PGPASSFILE": str(passwords),
        }
    )

    connection = await connect(given.required_database_url())

    assert await connection.fetchval("select current_user") == guest.name
    await connection.close()


FAULTS = {
    "connect revoked": (
        "revoke connect on database {database} from public",
        "grant connect on database {database} to public",
    ),
    "password changed": (
        "alter role {role} password 'other'",
        "alter role {role} password 's3cret/of@the@role'",
    ),
    "password expired": (
        "alter role {role} valid until '2000-01-01'",
        "alter role {role} valid until 'infinity'",
    ),
    "login taken": ("alter role {role} nologin", "alter role {role} login"),
    "connections forbidden": (
        "alter database {database} allow_connections false",
        "alter database {database} allow_connections true",
    ),
    "role full": (
        "alter role {role} connection limit 0",
        "alter role {role} connection limit -1",
    ),
    "role renamed": (
        "alter role {role} rename to {role}_x",
        "alter role {role}_x rename to {role}",
    ),
    "database renamed": (
        "alter database {database} rename to {database}_x",
        "alter database {database}_x rename to {database}",
    ),
    "schema renamed": (
        "alter schema tocsin rename to other",
        "alter schema other rename to tocsin",
    ),
    "right revoked": (
        "revoke update on tocsin.jobs from {role}",
        "grant update on tocsin.jobs to {role}",
    ),
}
INSIDE = {"schema renamed", "right revoked"}


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_instance_and_an_api_that_run_survive_what_the_database_says(
    guest: Guest, sink: Sink, fault: str
) -> None:
    breaks, mends = FAULTS[fault]
    facts = Recorder()
    settings = Settings(
        database_url=guest.url(), allow_private_targets=True, longest_sleep_seconds=1.0
    )
    one = Instance(settings, Observers(facts))
    running = asyncio.create_task(one.run(), name="instance")
    async with serving(guest.url(), Recorder()) as api:

        async def is_ready(*, expected: int) -> bool:
            return (await api.get("/health/ready")).status_code == expected

        try:
            await facts.seen(Connected)
            assert await is_ready(expected=200)
            await guest.disturb(breaks, inside=fault in INSIDE)
            await facts.seen(Disconnected)
            if fault != "right revoked":  # of which readiness needs none
                await until(partial(is_ready, expected=503), "the API is not ready")
                kind = "schema-outdated" if fault == "schema renamed" else "database-unavailable"
                assert (await api.get("/health/ready")).json()["type"].endswith(kind)
            assert not running.done()

            await guest.change(mends, inside=fault in INSIDE)
            await guest.allow(entry=True)
            await facts.seen(Connected, count=2)
            await guest.insert_job(sink.url("/after"))
            await sink.arrived(1)
            await facts.seen(Settled)
            await until(partial(is_ready, expected=200), "the API is ready")
        finally:
            one.stop()
            await running
