"""The stream of events: every execution is told, in whatever order it ends, also after a loss."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest

from app.api import feed as feeds
from app.api.events import streamed
from app.db import Database, events
from app.db.clock import PolledClock
from app.errors import DatabaseUnavailable
from tests.support.browser import Site, served
from tests.support.builders import insert_job
from tests.support.waiting import until

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("app.api.feed", "app.api.events"):
        monkeypatch.setattr(f"{module}.LOOK_SECONDS", 0.05)


class Reader:
    """Reads a stream."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self.lines = lines
        self.last = ""

    async def next(self) -> tuple[str, dict[str, Any]]:
        """Return the name and the data of the next event."""
        name = ""
        async with asyncio.timeout(10):
            async for line in self.lines:
                field, _, value = line.partition(": ")
                if field == "id":
                    self.last = value
                elif field == "event":
                    name = value
                elif field == "data":
                    return name, msgspec.json.decode(value)
        raise AssertionError("the stream has ended")

    async def ids(self, count: int) -> list[int]:
        """Return the numbers of the next executions."""
        found = []
        for _ in range(count):
            name, event = await self.next()
            assert name == "execution", event
            found.append(event["id"])
        return found


@asynccontextmanager
async def reading(site: Site, last: str = "") -> AsyncIterator[Reader]:
    """Open a stream, which goes on from `last`."""
    headers = STREAM | ({"Last-Event-ID": last} if last else {})
    async with (
        httpx.AsyncClient(base_url=site.address, timeout=30) as api,
        api.stream("GET", "/v1/events", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers.get_list("Cache-Control") == ["no-store"]
        yield Reader(answer.aiter_lines())


async def record(connection: asyncpg.Connection, job: UUID, *ids: int | None) -> list[int]:
    """Record executions, with these numbers or the next ones."""
    return [
        await connection.fetchval(
            "insert into tocsin.executions (id, job_id, fence, kind, scheduled_for, attempt, "
            "outcome, started_at) select coalesce($2, nextval('tocsin.executions_id_seq')), $1, "
            "coalesce($2, 0) + nextval('tocsin.audit_log_id_seq'), 'http', now(), 1, 'succeeded', "
            "now() returning id",
            job,
            one,
        )
        for one in ids
    ]


async def test_a_stream_begins_with_a_snapshot_and_tells_of_what_is_recorded(
    database_url: str, connection: asyncpg.Connection
) -> None:
    job = await insert_job(connection, name="pays")
    await record(connection, job, None)
    async with served(database_url) as site, reading(site) as stream:
        name, event = await stream.next()
        assert (name, event["why"], event["upto"]) == ("snapshot", "begin", 1)
        recorded = await record(connection, job, None, None)

        name, first = await stream.next()

        assert (name, first["id"], first["job_name"]) == ("execution", recorded[0], "pays")
        assert (first["outcome"], first["attempt"]) == ("succeeded", 1)
        assert await stream.ids(1) == recorded[1:]


async def test_an_execution_that_ends_long_after_later_ones_is_told(
    database_url: str, connection: asyncpg.Connection
) -> None:
    job = await insert_job(connection, name="slow")
    number = await connection.fetchval("select nextval('tocsin.executions_id_seq')")
    await connection.execute(
        "update tocsin.jobs set locked_until = now() + interval '1 min', locked_by = 'a', "
        "claimed_at = now(), claimed_for = now(), claimed_attempt = 1, attempt = 1, "
        "execution_id = $2 where id = $1",
        job,
        number,
    )
    async with served(database_url) as site, reading(site) as stream:
        await stream.next()
        for _ in range(5):  # more looks than numbers are read again for
            await stream.ids(len(await record(connection, job, None)))
        await connection.execute(
            "update tocsin.jobs set locked_until = null, locked_by = null, claimed_at = null, "
            "claimed_for = null, claimed_attempt = null, execution_id = null where id = $1",
            job,
        )
        await connection.execute("delete from tocsin.executions where id = $1", number)
        await record(connection, job, number)

        assert await stream.ids(1) == [number]


async def test_a_stream_goes_on_after_a_loss_on_another_process(
    database_url: str, connection: asyncpg.Connection
) -> None:
    job = await insert_job(connection)
    late = await connection.fetchval("select nextval('tocsin.executions_id_seq')")
    async with served(database_url) as first, served(database_url) as second:
        async with reading(first) as stream:
            await stream.next()
            [seen] = await stream.ids(len(await record(connection, job, None)))
            last = stream.last
        missed = await record(connection, job, None, None)
        await record(connection, job, late)

        async with reading(second, last) as stream:
            found = set[int]()
            while not {*missed, late} <= found:
                found |= {*await stream.ids(1)}
            following = await record(connection, job, None)
            while following[0] not in found:
                found |= {*await stream.ids(1)}

        assert found <= {seen, late, *missed, *following}


async def test_a_place_that_is_too_far_back_or_of_another_database_begins_anew(
    database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("app.db.events", "app.api.events", "app.api.feed"):
        monkeypatch.setattr(f"{module}.MAX_AT_ONCE", 2)
    job = await insert_job(connection)
    await record(connection, job, None, None, None)
    async with served(database_url) as site:
        for last, why in (("0-0", "gap"), ("999-1", "gap"), ("nonsense", "begin")):
            async with reading(site, last) as stream:
                name, event = await stream.next()
                assert (name, event["why"]) == ("snapshot", why)


async def test_a_flood_ends_in_a_snapshot_for_all(
    database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("app.db.events", "app.api.feed"):
        monkeypatch.setattr(f"{module}.MAX_AT_ONCE", 3)
    job = await insert_job(connection)
    async with served(database_url) as site, reading(site) as stream:
        await stream.next()
        async with connection.transaction():
            await record(connection, job, *[None] * 5)
        name, event = await stream.next()
        assert (name, event["why"], event["upto"]) == ("snapshot", "overflow", 5)
        following = await record(connection, job, None)
        assert await stream.ids(1) == following


async def test_what_was_told_takes_no_room_from_what_is_new(
    db: Database, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.db.events.MAX_AT_ONCE", 3)
    job = await insert_job(connection)
    told = await record(connection, job, *[None] * 4)
    new = await record(connection, job, *[None] * 3)

    found = await events.look(db, after=0, unended=told[:1], told=told)

    assert ([one.id for one in found.events], found.upto) == (new, new[-1])


async def test_a_hundred_streams_cost_what_one_does_and_none_costs_nothing(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with served(database_url) as site:
        feed: feeds.Feed = site.app.state.feed
        looks, look = 0, feed.look

        async def counted() -> None:
            nonlocal looks
            looks += 1
            await look()

        feed.look = counted  # type: ignore[method-assign]

        async def listen() -> int:
            async with api.stream("GET", "/v1/events", headers=STREAM) as answer:
                stream = Reader(answer.aiter_lines())
                await stream.next()
                return len(await stream.ids(1))

        async with (
            httpx.AsyncClient(base_url=site.address, timeout=30) as api,
            asyncio.TaskGroup() as group,
        ):
            listening = [group.create_task(listen()) for _ in range(90)]

            async def all_listen() -> bool:
                return len(feed.listeners) == 90

            await until(all_listen, "all listen")
            began, at = looks, asyncio.get_running_loop().time()
            await asyncio.sleep(1)
            rate = (looks - began) / (asyncio.get_running_loop().time() - at)
            await record(connection, await insert_job(connection), None)

        async def nobody_listens() -> bool:
            return not feed.listeners

        await until(nobody_listens, "all have left")
        before = looks
        await asyncio.sleep(0.3)
        assert sum(one.result() for one in listening) == 90
        assert rate <= 1 / 0.05 + 1
        assert looks == before


async def test_a_stream_ends_with_its_key_and_says_that_it_is_there(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.events.BEAT_SECONDS", 0.1)
    async with (
        served(database_url) as site,
        httpx.AsyncClient(base_url=site.address, timeout=30) as api,
    ):
        key = (await api.post("/v1/keys", json={"name": "root", "scopes": ["admin"]})).json()
        given = {"Authorization": f"Bearer {key['key']}"}
        other = await api.post("/v1/keys", json={"name": "eye", "scopes": ["read"]}, headers=given)
        assert (await api.get("/v1/events", headers=STREAM)).status_code == 401
        own = STREAM | {"Authorization": f"Bearer {other.json()['key']}"}
        async with api.stream("GET", "/v1/events", headers=own) as answer:
            lines = answer.aiter_lines()
            while await anext(lines) != ":":
                pass  # to the first heartbeat
            await api.delete(f"/v1/keys/{other.json()['prefix']}", headers=given)
            async for _ in lines:
                pass  # to its end


async def test_nothing_is_told_before_a_stream_has_its_beginning(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def read_beginning(feed: feeds.Feed, last: str) -> tuple[bytes, frozenset[int]]:
        nonlocal tries
        tries += 1
        [listener] = feed.listeners
        listener.put([feeds.Sent(tries, b"%d" % tries)])
        if tries == 1:
            raise DatabaseUnavailable("it has gone away")
        return b"begun", frozenset({1})

    async def allowed() -> bool:
        return True

    monkeypatch.setattr("app.api.events.read_beginning", read_beginning)
    feed = feeds.Feed(db, PolledClock(db))
    stream = streamed(feed, "", is_allowed=allowed, ending=asyncio.Event())

    assert [await anext(stream) for _ in range(3)] == [b"retry: 3000\n\n", b"begun", b"2"]


def test_a_client_that_takes_nothing_loses_what_waits_and_is_told_so() -> None:
    listener = feeds.Listener()

    for number in range(feeds.MAX_WAITING + 1):
        listener.put([feeds.Sent(number, b"")])

    assert listener.overflowed
    assert listener.take() == []
