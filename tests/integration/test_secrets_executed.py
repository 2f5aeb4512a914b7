"""Encrypted targets and named secrets, as instances carry them out."""

import asyncio
import os
import sys
from time import monotonic
from uuid import UUID

import asyncpg
import pytest

from app.core.facts import Settled
from app.db import Database
from app.vault import NamedSecrets, SecretKeys, SecretUnusable, of_job, of_secret
from app.vault.named import FRESH_SECONDS
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.cluster import ROOT
from tests.support.instances import StartInstance
from tests.support.sink import Sink, reply
from tests.support.vault import KEY, KEYS, OLD_KEY, OTHER_KEY

JOB = UUID(int=7)
INSERT = "insert into tocsin.secrets (name, value) values ($1, $2)"


async def named(connection: asyncpg.Connection, keys: SecretKeys = KEYS, **values: str) -> None:
    for name, value in values.items():
        await connection.execute(INSERT, name, keys.encrypt(value, of_secret(name)))


@pytest.mark.parametrize("keys", [(KEY,), (OTHER_KEY, KEY)], ids=["its key", "its key second"])
async def test_an_encrypted_secret_is_sent_in_clear(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink, keys: tuple[str, ...]
) -> None:
    auth = {"type": "bearer", "token": KEYS.encrypt("sesame", of_job(JOB, "target.auth.token"))}
    await insert_job(connection, id=JOB, target={"url": sink.url(), "auth": auth})

    async with instance(secret_keys=keys):
        [request] = await sink.arrived()

    assert request.headers["authorization"] == "Bearer sesame"


async def test_a_row_typed_in_clear_works_where_there_are_keys(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    target = {"url": sink.url(), "headers": {"X-Api-Key": "sesame"}}
    await insert_job(connection, target=target)

    async with instance(secret_keys=(KEY,)):
        [request] = await sink.arrived()

    assert request.headers["x-api-key"] == "sesame"


@pytest.mark.parametrize("keys", [(), (OTHER_KEY,)], ids=["no key", "another key"])
async def test_what_no_key_of_an_instance_decrypts_fails_there_and_another_may_do_it(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink, keys: tuple[str, ...]
) -> None:
    auth = {"type": "bearer", "token": KEYS.encrypt("sesame", of_job(JOB, "target.auth.token"))}
    job_id = await insert_job(
        connection, id=JOB, target={"url": sink.url(), "auth": auth}, backoff_seconds=0.5
    )

    async with instance(secret_keys=keys) as (_, facts):
        await facts.seen(Settled, job_id=job_id)
    row = await job_row(connection, job_id)
    async with instance(secret_keys=(KEY,)):
        [request] = await sink.arrived()

    assert (row["state"], row["plan_error"]) == ("retrying", None)
    first = (await execution_rows(connection, job_id))[0]
    assert (first["outcome"], first["reason"]) == ("failed", "target")
    assert first["error"].startswith("target.auth.token: no key in TOCSIN_SECRET_KEYS")
    assert request.headers["authorization"] == "Bearer sesame"


@pytest.mark.parametrize("command", ["scheduler", "api"])
@pytest.mark.parametrize("keys", ["", OTHER_KEY], ids=["no key", "another key"])
async def test_a_process_whose_keys_open_no_named_secret_does_not_start(
    database_url: str, connection: asyncpg.Connection, keys: str, command: str
) -> None:
    await named(connection, TOKEN="sesame", OTHER="sesame")
    job_id = await insert_job(connection)

    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", command),
        env=os.environ
        | {"TOCSIN_DATABASE_URL": database_url, "TOCSIN_SECRET_KEYS": keys, "TOCSIN_PORT": "0"},
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(started.communicate(), 30)

    assert started.returncode == 1
    assert said.decode().startswith("tocsin: TOCSIN_SECRET_KEYS ")
    assert said.decode().count("\n") == 1
    assert (await job_row(connection, job_id))["fence"] == 0


async def test_values_that_no_key_made_and_secrets_copied_in_sql_keep_no_instance_from_starting(
    instance: StartInstance, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        """insert into tocsin.secrets (name, value) values
           ('A', 'encrypted.v2.AAAA'), ('B', 'encrypted.v9.'), ('C', 'encrypted.v2.%00')"""
    )
    async with instance(secret_keys=(KEY,)):
        pass

    await named(connection, TOKEN="sesame")
    await connection.execute(
        """insert into tocsin.secrets (name, value)
           select name || '_' || n, value
           from tocsin.secrets, generate_series(1, 120) as n where name = 'TOKEN'"""
    )
    async with instance(secret_keys=(KEY,)):
        pass


async def test_a_named_secret_is_filled_in_where_a_target_typed_in_psql_refers_to_it(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    await named(connection, TOKEN="sesame", HOOK="T0/B0")
    headers = {"Authorization": "Bearer ${secret:TOKEN}", "X-Plain": "${secret:TOKEN}"}
    target = {"url": sink.url("/${secret:HOOK}"), "headers": headers, "body": "${secret:TOKEN}"}
    await insert_job(connection, target=target)

    async with instance(secret_keys=(KEY,)):
        [request] = await sink.arrived()

    assert request.path == "/T0/B0"
    assert request.headers["authorization"] == "Bearer sesame"
    assert request.headers["x-plain"] == "sesame"
    assert request.body == b"${secret:TOKEN}"


async def test_what_a_receiver_repeats_of_a_named_secret_is_not_recorded(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    await named(connection, TOKEN="open-sesame", HOOK="T0/B+/hook-sesame é")
    said = b"you said open-sesame, open%2Dsesame, b3Blbi1zZXNhbWU= on "
    said += b"%2FT0%2fB%2B%2fhook%2Dsesame+%C3%A9"
    url = sink.on("/T0/B%2B/hook-sesame%20%C3%A9", reply(500, said + b", %252FT0, hook-sesame"))
    url = url.replace("T0/B%2B/hook-sesame%20%C3%A9", "${secret:HOOK}")
    target = {"url": url, "headers": {"X-Plain": "${secret:TOKEN}"}}
    job_id = await insert_job(connection, target=target, max_attempts=1)

    async with instance(secret_keys=(KEY,)) as (_, facts):
        await facts.seen(Settled, job_id=job_id)

    [row] = await execution_rows(connection, job_id)
    assert row["response"] == "you said ***, ***, *** on %2F***, %252FT0, ***"


async def test_an_unknown_name_is_a_failed_execution_that_is_retried_when_it_is_set(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    target = {"url": sink.url(), "headers": {"X": "${secret:TOKEN}"}}
    job_id = await insert_job(connection, target=target, backoff_seconds=1.4 * FRESH_SECONDS)

    async with instance(secret_keys=(KEY,)) as (_, facts):
        await facts.seen(Settled, job_id=job_id)
        await named(connection, TOKEN="sesame")
        await facts.seen(Settled, job_id=job_id, outcome="succeeded", within=15)

    first, second = await execution_rows(connection, job_id)
    assert (first["outcome"], first["reason"]) == ("failed", "target")
    assert first["error"] == ("no secret is called 'TOKEN': set it with `tocsin secrets set TOKEN`")
    assert (second["outcome"], second["attempt"]) == ("succeeded", 2)
    assert [request.headers["x"] for request in sink.requests] == ["sesame"]


async def test_a_named_secret_that_no_key_decrypts_is_a_failed_execution(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    await named(connection, SecretKeys([OLD_KEY]), TOKEN="sesame")
    await named(connection, OTHER="sesame")
    target = {"url": sink.url(), "headers": {"X": "${secret:TOKEN}"}}
    job_id = await insert_job(connection, target=target)

    async with instance(secret_keys=(KEY,)) as (_, facts):
        await facts.seen(Settled, job_id=job_id)

    [row] = await execution_rows(connection, job_id)
    assert (row["outcome"], row["reason"]) == ("failed", "target")
    assert "'TOKEN'" in row["error"]
    assert "TOCSIN_SECRET_KEYS" in row["error"]
    assert sink.requests == []


async def test_a_secret_that_makes_a_target_impossible_is_not_told_in_its_plan_error(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    await named(connection, TOKEN="open\nsesame", PORT="open-sesame")
    headers = {"X": "${secret:TOKEN}"}
    broken = await insert_job(connection, target={"url": sink.url(), "headers": headers})
    in_host = await insert_job(connection, target={"url": "http://${secret:PORT}.example/"})

    async with instance(secret_keys=(KEY,)) as (_, facts):
        await facts.seen(Settled, job_id=broken)
        await facts.seen(Settled, job_id=in_host)

    errors = [(await job_row(connection, id))["plan_error"] for id in (broken, in_host)]
    assert errors[0].startswith("target.headers.X: must be visible ASCII")
    assert errors[1].startswith("target.url: may have only the characters of RFC 3986")
    assert "sesame" not in str(errors)
    assert sink.requests == []


async def test_a_hundred_executions_that_refer_to_secrets_read_them_a_few_times(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    await connection.execute("create extension if not exists pg_stat_statements")
    await named(connection, **{f"S{number}": "sesame" for number in range(100)})
    jobs: list[UUID] = [
        await insert_job(
            connection,
            target={"url": sink.url(), "headers": {"X": f"${{secret:S{number}}}"}},
        )
        for number in range(100)
    ]

    async with instance(secret_keys=(KEY,)):
        await sink.arrived(len(jobs))

    reads = await connection.fetchval(
        """select sum(calls) from pg_stat_statements
           where dbid = (select oid from pg_database where datname = current_database())
             and query like '%from tocsin.secrets where name = any%'"""
    )
    assert 1 <= reads <= 25  # and not a hundred


async def test_secrets_are_read_together_and_kept_for_seconds(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await named(connection, A="a", B="b")
    async with Database.connect(database_url, application_name="test") as db:
        read = Reads(db)
        secrets = NamedSecrets(read, KEYS, monotonic)
        found = await asyncio.gather(*(secrets.read_values({name}) for name in "ABAB"))
        with pytest.raises(SecretUnusable, match="'C'"):
            await secrets.read_values({"A", "C"})
        await connection.execute("delete from tocsin.secrets")
        again = await secrets.read_values({"A", "B"})

    assert found == [{"A": "a"}, {"B": "b"}, {"A": "a"}, {"B": "b"}]
    assert again == {"A": "a", "B": "b"}
    assert read.names == [["A"], ["B"], ["C"]]
    assert "a" not in repr(secrets.known["A"])


class Reads:
    """Runs queries, and notes for which names."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.names: list[list[str]] = []

    async def fetch(self, name: str, /, **arguments: list[str]) -> list[dict[str, object]]:
        self.names.append(arguments["names"])
        return await self.db.fetch(name, **arguments)


COPY = """insert into tocsin.jobs (name, kind, target, run_at)
          select 'copy', kind, target, run_at from tocsin.jobs"""


async def test_a_secret_does_not_go_with_a_job_that_is_copied_in_sql(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    auth = {"type": "bearer", "token": KEYS.encrypt("sesame", of_job(JOB, "target.auth.token"))}
    await insert_job(connection, id=JOB, target={"url": sink.url(), "auth": auth})
    await connection.execute(COPY)
    copy = await connection.fetchval("select id from tocsin.jobs where name = 'copy'")

    async with instance(secret_keys=(KEY,)) as (_, facts):
        await facts.seen(Settled, job_id=JOB)
        await facts.seen(Settled, job_id=copy)

    [original] = await execution_rows(connection, JOB)
    first = (await execution_rows(connection, copy))[0]
    assert (len(sink.requests), original["outcome"]) == (1, "succeeded")
    assert (first["outcome"], first["reason"]) == ("failed", "target")
    assert first["error"].startswith("target.auth.token: it was encrypted for another job")
    assert (await job_row(connection, copy))["plan_error"] is None


async def test_the_token_of_a_named_secret_opens_in_no_job_and_under_no_other_name(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    await named(connection, TOKEN="sesame")
    token = await connection.fetchval("select value from tocsin.secrets")
    await connection.execute(INSERT, "OTHER", token)
    targets = [
        {"url": sink.url(), "headers": {"X-Key": token}},
        {"url": sink.url(), "headers": {"X-Key": "${secret:OTHER}"}},
    ]
    jobs = [await insert_job(connection, target=target, max_attempts=1) for target in targets]

    async with instance(secret_keys=(KEY,)) as (_, facts):
        for job_id in jobs:
            await facts.seen(Settled, job_id=job_id)

    for job_id in jobs:
        [row] = await execution_rows(connection, job_id)
        assert (row["outcome"], row["reason"]) == ("failed", "target")
        assert "it was encrypted for another job, field or name" in row["error"]
    assert sink.requests == []


@pytest.mark.parametrize("value", ["open-sesame", "pin"])
@pytest.mark.parametrize("name", ["Accept", "User-Agent", "Content-Type"])
async def test_a_named_secret_in_a_harmless_header_goes_to_no_other_host(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink, name: str, value: str
) -> None:
    await named(connection, NAMED=value)
    sink.on("/start", reply(307, headers={"Location": sink.url("/there", host="127.0.0.2")}))
    headers = {name: "text/${secret:NAMED}", "X-Team": "night"}
    target = {"url": sink.url("/start"), "headers": headers, "follow_redirects": True}
    await insert_job(connection, target=target)

    async with instance(secret_keys=(KEY,)):
        first, there = await sink.arrived(2)

    assert first.headers[name.lower()] == f"text/{value}"
    assert name.lower() not in there.headers
    assert "idempotency-key" in there.headers
