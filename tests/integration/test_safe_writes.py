"""Writes that are sent twice, or tried: `Idempotency-Key`, `dry_run`, and jobs as lines of JSON."""

import asyncio
from functools import partial
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import msgspec
import pytest

from app.api import kept_answers, safe_writes, sent_again
from app.db import Database, idempotency, upkeep
from app.db.held import hold
from app.errors import DatabaseUnavailable
from tests.support.api import LATER, NIGHTLY, fields
from tests.support.builders import insert_job
from tests.support.waiting import until

JOBS = "select count(*) from tocsin.jobs where run_of is null"
KEPT = "select count(*) from tocsin.idempotency_keys"
LINES = {"Content-Type": "application/x-ndjson"}


def key(text: str | None = None) -> dict[str, str]:
    return {"Idempotency-Key": text or str(uuid4())}


def slug(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).removeprefix("urn:tocsin:problem:")


async def test_a_request_that_is_sent_again_is_answered_as_before_and_done_once(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    headers = key()

    first = await api.post("/v1/jobs", json=NIGHTLY, headers=headers)
    again = await api.post("/v1/jobs", json=NIGHTLY, headers=headers)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    for name in ("etag", "location", "content-type", "cache-control", "x-content-type-options"):
        assert again.headers[name] == first.headers[name]
    assert await connection.fetchval(JOBS) == 1
    assert await connection.fetchval("select headers ->> 'etag' from tocsin.idempotency_keys")
    assert (await api.get(first.headers["location"])).json() == first.json()


async def test_the_same_key_with_another_request_is_refused(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    headers = key()
    created = await api.post("/v1/jobs", json=LATER | {"name": "one"}, headers=headers)

    of_body = await api.post("/v1/jobs", json=LATER | {"name": "two"}, headers=headers)
    of_address = await api.post("/v1/jobs/one/run", headers=headers)

    assert created.status_code == 201
    for answer in (of_body, of_address):
        assert (answer.status_code, slug(answer)) == (422, "idempotency-key-reused")
    assert await connection.fetchval(JOBS) == 1


async def test_what_was_refused_may_be_sent_again_with_its_key(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    headers = key()
    taken = await insert_job(connection, name="taken")

    refused = await api.post("/v1/jobs", json=LATER | {"name": "taken"}, headers=headers)
    await connection.execute("delete from tocsin.jobs where id = $1", taken)
    done = await api.post("/v1/jobs", json=LATER | {"name": "taken"}, headers=headers)

    assert (refused.status_code, slug(refused)) == (409, "name-taken")
    assert (done.status_code, "idempotency-replayed" in done.headers) == (201, False)


async def test_requests_that_come_at_once_with_one_key_are_one(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await insert_job(connection, name="one")
    headers = key()

    answers = await asyncio.gather(
        *(api.post("/v1/jobs/one/run", headers=headers) for _ in range(20))
    )

    assert {one.status_code for one in answers} == {202}
    assert len({one.content for one in answers}) == 1
    assert sum("idempotency-replayed" in one.headers for one in answers) == 19
    assert await connection.fetchval("select pending_runs from tocsin.jobs where name = 'one'") == 1


async def begun_elsewhere(connection: asyncpg.Connection, text: str) -> None:
    """Have another process begin the request with this key."""
    id = safe_writes.id_of(text, credential="")
    await connection.execute(
        "insert into tocsin.idempotency_keys (id, request, owner) values ($1, $1, 'loopback')", id
    )


async def test_the_end_of_a_request_in_another_process_is_waited_for(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    await begun_elsewhere(connection, "one")

    waiting = asyncio.create_task(api.post("/v1/jobs", json=LATER, headers=key("one")))

    await until(partial(one_waits, connection), "the request waits")
    assert not waiting.done()
    await transaction.rollback()  # as where that process is killed

    answer = await waiting
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (201, False)


async def one_waits(connection: asyncpg.Connection) -> object:
    return await connection.fetchval(
        "select 1 from pg_locks where locktype = 'transactionid' and not granted"
    )


async def test_requests_that_wait_for_another_process_leave_connections_to_others(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    names = [f"one-{n}" for n in range(2 * safe_writes.AT_ONCE)]
    async with connection.transaction():
        for name in names:
            await begun_elsewhere(connection, name)
        waiting = [
            asyncio.create_task(api.post("/v1/jobs", json=LATER, headers=key(name)))
            for name in names
        ]
        await until(partial(one_waits, connection), "a request waits")

        async with asyncio.timeout(5):  # of the ten that they wait
            for n in range(3):
                other = await api.post("/v1/jobs", json=LATER, headers=key(f"other-{n}"))
                assert other.status_code == 201
        assert not any(one.done() for one in waiting)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_an_answer_is_not_given_again_to_who_may_not_write_any_more(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    made = await api.post("/v1/keys", json={"name": "k", "scopes": ["read", "write", "admin"]})
    headers = key("one") | {"Authorization": f"Bearer {made.json()['key']}"}
    first = await api.post("/v1/jobs", json=LATER, headers=headers)
    await connection.execute("update tocsin.api_keys set scopes = '{read}'")

    async def is_refused() -> bool:
        answer = await api.post("/v1/jobs", json=LATER, headers=headers)
        return answer.status_code == 403 and "idempotency-replayed" not in answer.headers

    assert first.status_code == 201
    await until(is_refused, "the change of the key is known")


async def test_a_request_under_way_for_long_is_told_of(
    api: httpx.AsyncClient, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 0.2)
    async with connection.transaction():
        await begun_elsewhere(connection, "one")

        answer = await api.post("/v1/jobs", json=LATER, headers=key("one"))
        other = await api.post("/v1/jobs", json=LATER, headers=key("two"))

    assert (answer.status_code, slug(answer)) == (409, "request-under-way")
    assert answer.headers["retry-after"] == "1"
    assert other.status_code == 201


async def test_a_statement_that_takes_too_long_ends_the_whole_request(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with (
        Database.connect(database_url, application_name="x", patience_seconds=0.3) as db,
        connection.transaction(),
    ):
        await connection.execute("select pg_advisory_xact_lock(hashtext('tocsin.sets'))")

        with pytest.raises(DatabaseUnavailable):
            async with hold(db) as held, held.transaction() as part:
                await part.fetch("sets.lock")

        assert await db.fetch("instances.clock")


async def test_more_requests_than_connections_hold_up_nothing(api: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(api.post("/v1/jobs", json=LATER, headers=key()) for _ in range(40)),
        *(api.post("/v1/jobs?dry_run=true", json=LATER) for _ in range(40)),
    )

    assert {one.status_code for one in answers} == {201}


async def test_the_answer_of_a_day_ago_is_not_kept(
    api: httpx.AsyncClient, connection: asyncpg.Connection, db: Database
) -> None:
    headers = key()
    await api.post("/v1/jobs", json=LATER, headers=headers)
    await connection.execute("update tocsin.idempotency_keys set at = at - interval '25 hours'")

    other = await api.post("/v1/jobs", json=NIGHTLY, headers=headers)
    await connection.execute("update tocsin.idempotency_keys set at = at - interval '25 hours'")
    more = await upkeep.prune_idempotency_keys(db)

    assert (other.status_code, "idempotency-replayed" in other.headers) == (201, False)
    assert (more, await connection.fetchval(KEPT)) == (False, 0)


@pytest.mark.parametrize("bad", ["", "two words", "x" * 256, "ü"])
async def test_a_key_that_is_none_is_refused(api: httpx.AsyncClient, bad: str) -> None:
    answer = await api.post("/v1/jobs", json=LATER, headers={"Idempotency-Key": bad.encode()})

    assert (answer.status_code, fields(answer)) == (422, ["Idempotency-Key"])


async def test_how_much_is_kept_has_limits(
    api: httpx.AsyncClient, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sent_again, "MAX_ANSWER_BYTES", 50)
    large = await api.post("/v1/jobs", json=LATER, headers=key())
    monkeypatch.undo()
    monkeypatch.setattr(kept_answers, "MAX_KEPT", 2)
    monkeypatch.setattr(kept_answers, "COUNTED_SECONDS", 0)
    keys = [key() for _ in range(3)]
    answers = [await api.post("/v1/jobs", json=LATER, headers=one) for one in keys]
    again = await api.post("/v1/jobs", json=LATER, headers=keys[0])

    assert (large.status_code, slug(large)) == (413, "answer-too-large")
    assert [one.status_code for one in answers] == [201, 201, 429]
    assert slug(answers[-1]) == "too-many-idempotency-keys"
    assert (again.status_code, again.json()) == (201, answers[0].json())
    assert await connection.fetchval(JOBS) == 2


async def test_a_new_key_is_answered_again_and_lies_nowhere_in_clear(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    ops = {"name": "ops", "scopes": ["admin"]}
    refused = await api.post("/v1/keys", json=ops, headers=key())
    made = (await api.post("/v1/keys", json=ops)).json()["key"]
    bearer = {"Authorization": f"Bearer {made}"}
    headers = key() | bearer

    more = {"name": "more", "scopes": ["read"]}
    first = await api.post("/v1/keys", json=more, headers=headers)
    again = await api.post("/v1/keys", json=more, headers=headers)

    assert (refused.status_code, fields(refused)) == (422, ["Idempotency-Key"])
    assert (first.status_code, again.content) == (201, first.content)
    [kept] = await connection.fetch("select * from tocsin.idempotency_keys")
    secret = first.json()["key"].encode()
    stored = b"".join(one for one in kept.values() if isinstance(one, bytes))
    assert secret not in stored
    assert kept["answer"].startswith(b"gAAAA")


async def test_each_client_has_keys_of_its_own(api: httpx.AsyncClient) -> None:
    made = [(await api.post("/v1/keys", json={"name": "a", "scopes": ["admin"]})).json()["key"]]
    first = {"Authorization": f"Bearer {made[0]}"}
    other = await api.post("/v1/keys", json={"name": "b", "scopes": ["write"]}, headers=first)
    second = {"Authorization": f"Bearer {other.json()['key']}"}

    one = await api.post("/v1/jobs", json=LATER, headers=key("same") | first)
    two = await api.post("/v1/jobs", json=NIGHTLY, headers=key("same") | second)

    assert (one.status_code, two.status_code) == (201, 201)


async def test_a_dry_run_finds_what_the_database_refuses(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        """create table public.owners (job text primary key);
        alter table tocsin.jobs add constraint has_owner
            foreign key (name) references public.owners (job) deferrable initially deferred"""
    )

    tried = await api.post("/v1/jobs?dry_run=true", json=LATER | {"name": "nobodys"})
    wrong = await api.post("/v1/jobs?dry_run=true", json=LATER | {"timezone": "Mars"})

    assert (tried.status_code, slug(tried)) == (409, "constraint-violated")
    assert fields(wrong) == ["timezone"]


@pytest.mark.parametrize(("query", "method"), [("dry_run=yes", "POST"), ("dry_run=true", "GET")])
async def test_dry_run_is_a_word_of_writes(api: httpx.AsyncClient, query: str, method: str) -> None:
    answer = await api.request(method, f"/v1/jobs?{query}", json=LATER)

    assert (answer.status_code, fields(answer)) == (422, ["dry_run"])


async def test_jobs_come_and_go_as_lines(api: httpx.AsyncClient) -> None:
    jobs = [LATER | {"name": f"job-{n}"} for n in range(5)]
    body = b"\n\n".join(msgspec.json.encode(one) for one in jobs) + b"\r\n"
    lines = {"Accept": "application/x-ndjson"}

    made = await api.post("/v1/jobs/batch", content=body, headers=LINES | lines)
    page = await api.get("/v1/jobs?limit=3&name=job-", headers=lines)
    rest = await api.get(page.url.join(page.links["next"]["url"]), headers=lines)
    usual = await api.get("/v1/jobs?limit=3&name=job-", headers={"Accept": "*/*"})

    assert made.status_code == 201, made.text
    assert made.headers["content-type"] == "application/x-ndjson"
    assert [one["name"] for one in read(made)] == [one["name"] for one in jobs]
    assert (len(read(page)), len(read(rest))) == (3, 2)
    assert {one["name"] for one in read(page) + read(rest)} == {one["name"] for one in jobs}
    assert "next" not in rest.links
    assert usual.json()["items"] == read(page)


def read(answer: httpx.Response) -> list[Any]:
    return msgspec.json.Decoder().decode_lines(answer.content)


async def test_a_line_that_is_wrong_keeps_all_out_and_is_named(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    good = msgspec.json.encode(LATER)

    cut = await api.post("/v1/jobs/batch", content=good + b"\n" + good[:-1], headers=LINES)
    wrong = await api.post("/v1/jobs/batch", content=good + b"\n[]", headers=LINES)
    many = await api.post("/v1/jobs/batch", content=b"{}\n" * 10_001, headers=LINES)
    elsewhere = await api.post("/v1/jobs", content=good, headers=LINES)
    single = await api.get("/v1/stats", headers={"Accept": "application/x-ndjson"})

    assert (cut.status_code, cut.json()["detail"][:3]) == (400, "[1]")
    assert (wrong.status_code, fields(wrong)) == (422, ["[1]"])
    assert (many.status_code, "10000" in many.text) == (422, True)
    assert (elsewhere.status_code, single.status_code) == (415, 406)
    assert await connection.fetchval(JOBS) == 0
