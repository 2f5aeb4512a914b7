"""Clients that send half a request, or take no answer, lock nobody out."""

import asyncio
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import httpx
import pytest

from app.api import connections
from app.api.connections import BoundedHttp, Connections
from app.asgi import create_app
from app.cli.listening import Server, make_server
from app.config import Settings
from app.core.net.proxies import Proxies
from tests.support.api import LATER
from tests.support.cluster import ROOT, Process
from tests.support.rabbit import free_ports
from tests.support.waiting import until

HALF_A_HEAD = b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
HALF_A_BODY = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\n\r\n{"
)


class Half:
    """A connection on which a request is begun."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def begun(cls, port: int, sent: bytes) -> "Half":
        half = cls(*await asyncio.open_connection("127.0.0.1", port))
        half.writer.write(sent)
        return half

    async def answer(self) -> bytes:
        """What comes until the other side closes."""
        async with asyncio.timeout(20):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def served(database_url: str, **settings: object) -> AsyncIterator[tuple[Server, int]]:
    """Serve the API in this process; give the server and its port."""
    [port] = free_ports(1)
    chosen = Settings(database_url=database_url, port=port, **settings)  # type: ignore[arg-type] # of any type
    server = make_server(create_app(chosen), chosen)
    server.config.port = port
    running = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    await until(started, "the server has started")
    try:
        yield server, port
    finally:
        server.stop()
        await running


@pytest.mark.parametrize("sent", [b"", HALF_A_HEAD, HALF_A_BODY], ids=["none", "head", "body"])
async def test_hundreds_of_half_sent_requests_lock_nobody_out(
    database_url: str, sent: bytes
) -> None:
    [port] = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f'ulimit -n 256; exec "{sys.executable}" -m app api --port {port}'),
        env={"TOCSIN_DATABASE_URL": database_url, "PATH": "/usr/bin:/bin"},
        cwd=ROOT,
        stderr=asyncio.subprocess.DEVNULL,
    )
    halves: list[Half] = []
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=5) as api:

            async def is_ready() -> bool:
                try:
                    return (await api.get("/health/ready")).status_code == 200
                except httpx.HTTPError:
                    return False

            await until(is_ready, "the API is ready", within=30)
            halves = [await Half.begun(port, sent) for _ in range(300)]
            async with httpx.AsyncClient(base_url=str(api.base_url), timeout=8) as another:
                answers = [await another.post("/v1/jobs", json=LATER) for _ in range(3)]

        assert [answer.status_code for answer in answers] == [201] * 3
        began = monotonic()
        process.terminate()
        await asyncio.wait_for(process.wait(), 20)
        assert monotonic() - began < 15
    finally:
        for half in halves:
            half.close()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_connections_that_no_descriptor_is_left_for_are_told_once_and_waited_out(
    database_url: str,
) -> None:
    [port] = free_ports(1)
    few = 80
    kept = "for _ in {1..40}; do exec {any}</dev/null; done"  # as if others had opened them
    process = Process(
        await asyncio.create_subprocess_exec(
            *("bash", "-c", f'ulimit -n {few}; {kept}; exec "{sys.executable}" -m app api'),
            env={
                "TOCSIN_DATABASE_URL": database_url,
                "TOCSIN_PORT": str(port),
                "TOCSIN_LOG_FORMAT": "json",
                "PATH": "/usr/bin:/bin",
            },
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
    )
    halves: list[Half] = []
    try:
        await process.says("serving", within=30)
        halves = [await Half.begun(port, HALF_A_HEAD) for _ in range(few)]
        await process.says("descriptors_exhausted", level="warning", limit=few)
        for half in halves:
            half.close()

        async def serves() -> bool:
            try:
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as api:
                    return (await api.post("/v1/jobs", json=LATER)).status_code == 201
            except httpx.HTTPError:
                return False

        await until(serves, "the API serves again", within=30)
        process.send(signal.SIGTERM)

        assert await process.ended(within=30) == 0
    finally:
        for half in halves:
            half.close()
        await process.kill()

    assert len(process.said("descriptors_exhausted")) == 1
    assert process.text == []


@pytest.mark.parametrize(
    ("sent", "name", "word"),
    [
        (b"", "HEAD_SECONDS", b""),
        (b"G", "HEAD_SECONDS", b"408"),
        (HALF_A_HEAD, "HEAD_SECONDS", b"408"),
        (HALF_A_BODY, "BODY_SECONDS", b"408"),
    ],
    ids=["nothing", "a letter", "half a head", "half a body"],
)
async def test_a_request_that_is_not_sent_in_time_is_ended(
    database_url: str, monkeypatch: pytest.MonkeyPatch, sent: bytes, name: str, word: bytes
) -> None:
    monkeypatch.setattr(connections, name, 0.3)
    async with served(database_url) as (_, port):
        half = await Half.begun(port, sent)
        said = await half.answer()
        half.close()

    assert said.startswith(b"HTTP/1.1 408 " if word else b"")
    assert bool(said) is bool(word)


async def test_a_letter_now_and_then_wins_no_time(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    async with served(database_url) as (_, port):
        half = await Half.begun(port, HALF_A_HEAD)
        said = asyncio.create_task(half.answer())
        while not said.done():
            half.writer.write(b"x")
            await asyncio.sleep(0.05)
        half.close()

    assert b" 408 " in await said


async def test_a_connection_that_had_its_answer_is_kept_and_then_may_not_dawdle_either(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    async with served(database_url) as (_, port):
        half = await Half.begun(port, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await half.reader.readuntil(b"\r\n\r\n")
        half.writer.write(HALF_A_HEAD)
        said = await half.answer()
        half.close()

    assert b" 200 " in head
    assert b" 408 " in said


async def test_a_body_that_comes_steadily_may_take_its_time(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BODY_SECONDS", 2.0)
    monkeypatch.setattr(connections, "SLOWEST_BYTES_A_SECOND", 100)

    async def steadily() -> AsyncIterator[bytes]:
        yield b'{"kind": "http", "target": {"url": "http://127.0.0.1:9/"},'
        for _ in range(8):
            await asyncio.sleep(0.5)
            yield b" " * 200
        yield b'"run_at": "2100-01-01T00:00:00Z"}'

    async with (
        served(database_url) as (_, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as api,
    ):
        answer = await api.post("/v1/jobs", content=steadily())

    assert answer.status_code == 201


@pytest.mark.parametrize("sent", [b"", HALF_A_HEAD, HALF_A_BODY], ids=["none", "head", "body"])
async def test_a_server_that_is_told_to_stop_waits_for_no_half_request(
    database_url: str, sent: bytes
) -> None:
    async with served(database_url) as (server, port):
        halves = [await Half.begun(port, sent) for _ in range(5)]

        async def arrived() -> bool:
            return len(server.server_state.connections) == 5

        await until(arrived, "all are connected")
        began = monotonic()
        server.stop()
        for half in halves:
            await half.answer()
            half.close()

    assert monotonic() - began < 15  # the grace of what is in hand is 30 s


async def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 1.0)
    async with served(database_url) as (server, port):
        half = await Half.begun(
            port, b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200
        )
        half.reader._transport.pause_reading()  # type: ignore[attr-defined] # what is read is kept

        async def cut_off() -> bool:
            return not server.server_state.connections

        await until(cut_off, "the connection is closed", within=30)
        half.close()


class Waiting(BoundedHttp):
    """A connection of whose state the test decides."""

    def __init__(self, since: float, *, waiting: bool = True) -> None:
        self.since = since
        self.waiting = waiting
        self.closed = False

    @property
    def is_waiting(self) -> bool:
        return self.waiting and not self.closed

    def give_up(self) -> None:
        self.closed = True


@pytest.fixture
def few() -> Connections:
    room = Connections(of_a_client=3, in_all=5, proxies=Proxies.of(["10.0.0.0/8"]))
    room.watch = lambda: None  # type: ignore[method-assign] # no loop runs here
    return room


def test_a_client_with_its_share_makes_room_itself_and_what_waited_longest_goes_first(
    few: Connections,
) -> None:
    mine = [Waiting(2), Waiting(1), Waiting(3), Waiting(4)]
    other = Waiting(0)

    assert few.admit(other, "192.0.2.9")
    assert all(few.admit(one, "192.0.2.7") for one in mine)
    assert [one.closed for one in mine] == [False, True, False, False]
    assert not other.closed


def test_what_carries_out_a_request_is_never_closed_for_another(few: Connections) -> None:
    busy = [Waiting(number, waiting=False) for number in range(3)]

    assert all(few.admit(one, "192.0.2.7") for one in busy)
    assert not few.admit(Waiting(9), "192.0.2.7")
    assert few.admit(Waiting(9), "192.0.2.8")
    few.forget(busy[0])
    assert few.admit(Waiting(9), "192.0.2.7")


def test_when_all_room_is_taken_the_client_with_the_most_makes_some(few: Connections) -> None:
    greedy = [Waiting(5), Waiting(6), Waiting(7)]
    modest = [Waiting(1), Waiting(2)]
    for one in greedy:
        few.admit(one, "192.0.2.7")
    for number, one in enumerate(modest):
        few.admit(one, f"192.0.2.{number}")

    assert few.admit(Waiting(8), "192.0.2.99")
    assert [one.closed for one in greedy] == [True, False, False]
    assert not any(one.closed for one in modest)


def test_a_trusted_proxy_has_as_many_as_there_are_for_all(few: Connections) -> None:
    assert all(few.admit(Waiting(number, waiting=False), "10.0.0.1") for number in range(5))
    assert not few.admit(Waiting(9), "10.0.0.1")


@pytest.mark.parametrize(
    "hosts", [["127.0.0.1", "127.9.9.9", "::1"], ["2001:db8::1", "2001:db8::2"]]
)
def test_addresses_that_one_client_has_count_as_one(few: Connections, hosts: list[str]) -> None:
    for host in (hosts * 3)[:3]:
        few.admit(Waiting(1, waiting=False), host)

    assert not few.admit(Waiting(9), hosts[-1])


def test_connections_never_need_more_than_half_of_the_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        assert connections.most_connections() == 128
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
