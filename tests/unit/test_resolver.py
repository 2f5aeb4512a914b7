"""Names are looked up within bounds that no name can leave, at a name server that misbehaves."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from time import monotonic

import pytest

from app.errors import InvalidSettings
from app.targets.net import resolver
from app.targets.net.loop import Loop
from app.targets.net.resolver import (
    MAX_ADDRESSES,
    MAX_FRESH_SECONDS,
    MAX_KNOWN,
    MAX_OF_A_ZONE,
    MIN_FRESH_SECONDS,
    RENEWED_AFTER,
    SILENCE_SECONDS,
    Known,
    NameFailed,
    Resolver,
)
from tests.support.nameserver import (
    REFUSED,
    SERVER_FAILURE,
    A,
    Answer,
    NameServer,
    alias,
    at,
    silent,
    truncated,
    with_code,
)
from tests.support.waiting import until

HERE = "127.0.0.1"
SOON_SECONDS = 0.2
MAKE_KNOWN = 2 * MAX_KNOWN


class Clock:
    """A clock to be set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def names(name_server: NameServer, clock: Clock) -> AsyncIterator[Resolver]:
    resolver = Resolver([name_server.address], clock=clock)
    yield resolver
    await resolver.close()


@pytest.fixture
def be_patient(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let lookups end soon; those that begin once this is called take their time."""
    usual = resolver.LOOKUP_SECONDS
    monkeypatch.setattr(resolver, "LOOKUP_SECONDS", SOON_SECONDS)
    return lambda: monkeypatch.setattr(resolver, "LOOKUP_SECONDS", usual)


@pytest.fixture
def asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No question is repeated because a busy machine was slow to answer."""
    monkeypatch.setattr(resolver, "UNTRIED_SECONDS", 60.0)


async def failure(names: Resolver, host: str) -> NameFailed:
    with pytest.raises(NameFailed) as caught:
        await names.find_addresses(host)
    return caught.value


@pytest.mark.parametrize(
    ("behaviour", "addresses"),
    [
        (at(HERE, "127.0.0.2"), {HERE, "127.0.0.2"}),
        (at("::1"), {"::1"}),
        (at("::1", HERE), {"::1", HERE}),
        (truncated(HERE), {HERE}),
        (alias("other.test"), {"127.0.0.9"}),
    ],
    ids=["ipv4", "ipv6", "both", "over tcp", "alias"],
)
async def test_a_name_has_the_addresses_that_its_server_tells(
    names: Resolver, name_server: NameServer, behaviour: Callable[..., Answer], addresses: set[str]
):
    name_server.names |= {"name.test": behaviour, "other.test": at("127.0.0.9")}

    assert set(await names.find_addresses("Name.Test")) == addresses


async def test_an_address_and_localhost_are_known_without_asking(
    names: Resolver, name_server: NameServer
):
    local = await names.find_addresses("localhost")

    assert await names.find_addresses("192.0.2.1") == ["192.0.2.1"]
    assert await names.find_addresses("2001:db8::1") == ["2001:db8::1"]
    assert HERE in local
    assert not name_server.asked


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (with_code(3), "does not exist"),
        (at(), "has no address"),
        (with_code(REFUSED), "refused"),
        (with_code(SERVER_FAILURE), "general failure"),
        (alias("name.test"), "reply"),
    ],
    ids=["unknown", "no address", "refused", "failed", "alias of itself"],
)
async def test_a_failure_says_what_the_server_said(
    names: Resolver, name_server: NameServer, behaviour: Callable[..., Answer], says: str
):
    name_server.names["name.test"] = behaviour

    assert says in (await failure(names, "name.test")).strerror


@pytest.mark.parametrize(
    "host", ["", "a..test", "x" * 64 + ".test", "nul\0.test", "a b", "ä.test", "x." * 200]
)
async def test_what_is_no_name_fails_without_a_question(
    names: Resolver, name_server: NameServer, host: str
):
    assert isinstance(await failure(names, host), socket.gaierror)
    assert not name_server.asked


async def test_silent_names_do_not_hold_up_healthy_ones(
    names: Resolver, name_server: NameServer, be_patient: Callable[[], None]
):
    name_server.names |= {"*.silent.test": silent, "healthy.test": at(HERE)}
    waiting = [asyncio.create_task(failure(names, f"n{n}.silent.test")) for n in range(200)]
    await until(lambda: asked(name_server, 1), "the silent ones were asked for")
    be_patient()

    found = await names.find_addresses("healthy.test")

    assert found == [HERE]
    assert all(one.is_silence for one in await asyncio.gather(*waiting))


async def asked(name_server: NameServer, count: int) -> bool:
    return name_server.asked.total() >= count


@pytest.mark.usefixtures("asked_once")
async def test_silence_is_remembered_for_a_while(
    names: Resolver, name_server: NameServer, clock: Clock, be_patient: Callable[[], None]
):
    name_server.names["name.test"] = silent
    first = await failure(names, "name.test")
    names.questions.clear()
    before = name_server.asked["name.test"]
    second = await failure(names, "name.test")
    still = name_server.asked["name.test"] - before
    clock.now += SILENCE_SECONDS
    name_server.names["name.test"] = at(HERE)
    be_patient()

    assert (first.is_silence, second.is_silence, still) == (True, True, 0)
    assert await names.find_addresses("name.test") == [HERE]


@pytest.mark.usefixtures("asked_once")
async def test_a_name_is_asked_for_once_by_all_who_wait(names: Resolver, name_server: NameServer):
    name_server.names["name.test"] = at(HERE, delay_seconds=0.1)

    found = await asyncio.gather(*(names.find_addresses("name.test") for _ in range(50)))

    assert found == [[HERE]] * 50
    assert name_server.asked["name.test"] == 1


async def test_who_gives_up_leaves_the_question_to_the_others(
    names: Resolver, name_server: NameServer
):
    name_server.names["name.test"] = at(HERE, delay_seconds=0.1)
    leaving, staying = (asyncio.create_task(names.find_addresses("name.test")) for _ in range(2))
    await until(lambda: asked(name_server, 1), "the question was asked")
    leaving.cancel()

    assert await staying == [HERE]


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [(0, MIN_FRESH_SECONDS), (30, 30), (86_400, MAX_FRESH_SECONDS)],
)
async def test_an_answer_is_used_for_as_long_as_it_may_live_within_bounds(
    names: Resolver, name_server: NameServer, clock: Clock, ttl: int, seconds: float
):
    name_server.names["name.test"] = at(HERE, ttl=ttl)
    await names.find_addresses("name.test")
    clock.now += seconds - 0.5
    fresh = names.fresh("name.test") is not None
    clock.now += 0.5

    assert fresh
    assert names.fresh("name.test") is None
    assert names.latest("name.test") == (HERE,)


async def test_an_answer_that_changes_is_told_when_the_one_before_is_old(
    names: Resolver, name_server: NameServer, clock: Clock
):
    name_server.names["name.test"] = at(HERE)
    first = await names.find_addresses("name.test")
    name_server.names["name.test"] = at("127.0.0.2")
    again = await names.find_addresses("name.test")
    clock.now += MIN_FRESH_SECONDS

    assert (first, again) == ([HERE], [HERE])
    assert await names.find_addresses("name.test") == ["127.0.0.2"]


async def test_of_thousands_of_addresses_a_few_count(names: Resolver, name_server: NameServer):
    many = [f"10.0.{n // 250}.{n % 250}" for n in range(3000)]
    name_server.names["name.test"] = at(*many)

    found = await names.find_addresses("name.test")

    assert len(found) == MAX_ADDRESSES
    assert set(found) <= set(many)


async def test_a_zone_has_few_questions_under_way_for_names_that_never_had_an_answer(
    names: Resolver, name_server: NameServer, be_patient: Callable[[], None]
):
    name_server.names |= {"*.test": silent, "known.zone.test": at(HERE), "other": at(HERE)}
    names.note("known.zone.test", Known(addresses=(HERE,)))
    tasks = [
        asyncio.create_task(failure(names, f"n{n}.zone.test")) for n in range(2 * MAX_OF_A_ZONE)
    ]
    await asyncio.sleep(0)
    under_way = len(names.questions)
    be_patient()

    assert under_way == MAX_OF_A_ZONE
    assert await names.find_addresses("known.zone.test") == [HERE]
    assert await names.find_addresses("other") == [HERE]
    said = [(await task).strerror for task in tasks]
    assert sum("too many names of zone.test" in text for text in said) == MAX_OF_A_ZONE


async def test_what_is_remembered_is_bounded(names: Resolver):
    for number in range(MAKE_KNOWN):
        names.note(f"n{number}.test", Known(addresses=(HERE,)))

    assert len(names.known) == MAX_KNOWN
    assert names.latest(f"n{MAKE_KNOWN - 1}.test") == (HERE,)


async def test_nothing_is_kept_of_questions_that_are_over(names: Resolver, name_server: NameServer):
    name_server.names["*.test"] = at(HERE)
    for number in range(RENEWED_AFTER + 10):
        await names.find_addresses(f"n{number}.test")

    assert (names.questions, names.of_zone) == ({}, {})
    assert len(names.clients) == 2
    names.retire()
    assert await names.find_addresses("last.test") == [HERE]


async def test_to_close_takes_no_time_while_questions_are_under_way(
    names: Resolver, name_server: NameServer
):
    name_server.names["*.test"] = silent
    waiting = [asyncio.create_task(failure(names, f"n{n}.zone{n}.test")) for n in range(10)]
    await until(lambda: asked(name_server, 10), "all were asked for")

    await names.close()

    assert all(one.is_silence for one in await asyncio.gather(*waiting))


@pytest.mark.parametrize(
    "server", ["ns.example.com", "1.2.3", "10.0.0.2:0", "10.0.0.2:66000", "[::1"]
)
def test_a_name_server_has_to_be_an_address(server: str):
    with pytest.raises(InvalidSettings, match="TOCSIN_NAME_SERVERS"):
        Resolver([server], clock=monotonic)


@pytest.mark.parametrize("server", ["10.0.0.2", "10.0.0.2:5353", "2001:db8::2", "[2001:db8::2]:53"])
def test_name_servers_are_given_with_or_without_a_port(server: str):
    assert Resolver([server], clock=monotonic).servers == (server,)


def test_a_connection_to_a_name_is_opened_by_the_address_that_the_resolver_tells():
    """Such as one to Postgres; the loop's own threads are not asked."""

    async def connect() -> tuple[bytes, int]:
        async with NameServer().listening() as name_server:
            name_server.names["db.test"] = at("127.0.0.2", HERE)
            loop = asyncio.get_running_loop()
            assert isinstance(loop, Loop)
            loop.names.servers = (name_server.address,)
            server = await asyncio.start_server(greet, HERE, 0)
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("db.test", port)
            said = await reader.read()
            writer.close()
            server.close()
            await loop.names.close()
            return said, name_server.asked["db.test"]

    with asyncio.Runner(loop_factory=partial(Loop, Resolver(clock=monotonic))) as runner:
        assert runner.run(connect()) == (b"hello", 1)


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    writer.close()


def test_a_server_that_answers_for_one_family_only_is_enough():
    async def look_up() -> list[str]:
        async with NameServer().listening() as name_server:
            name_server.names["name.test"] = lambda question: (
                Answer(addresses=(HERE,)) if question.type == A else None
            )
            names = Resolver([name_server.address], clock=monotonic)
            try:
                return await names.find_addresses("name.test")
            finally:
                await names.close()

    assert asyncio.run(look_up()) == [HERE]
