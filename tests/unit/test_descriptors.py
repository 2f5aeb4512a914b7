"""File descriptors are bounded, and the want of one costs no attempt."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import pytest

from app.api.shortage import SPELL_SECONDS, AcceptShortage
from app.core.facts import DescriptorsExhausted, Fact
from app.core.runs.outcome import Outcome
from app.core.runs.transition import released
from app.descriptors import OutOfDescriptors, find_shortage, is_shortage, limit
from app.scheduler.internal_errors import PASSED_SECONDS, TOLD_SECONDS, Shortage
from app.targets.executors import Executors
from app.targets.net.resolver import NameFailed, Resolver
from app.targets.registry import decode_target
from app.telemetry import Observers
from tests.support.attempts import NEARBY, attempt
from tests.support.claims import some_claim
from tests.support.nameserver import NameServer, at
from tests.support.sink import Sink, reply
from tests.support.ticks import Ticks

ROOT = Path(__file__).parents[2]
LIMITS = """
import resource
from app.descriptors import limit, raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512))
raise_limit()
print(limit())
"""


@pytest.fixture
def exhausted() -> Iterator[None]:
    """This process may open no more files than it has open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    first_free = os.open(os.devnull, os.O_RDONLY)
    os.close(first_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", LIMITS], capture_output=True, cwd=ROOT, check=True, timeout=30
    )

    assert done.stdout.strip() == b"512"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_shortage_is_told_from_other_errors(number: int) -> None:
    behind = RuntimeError()
    behind.__cause__ = OSError(number, "x")

    assert is_shortage(OSError(number, "x"))
    assert is_shortage(behind)
    assert not is_shortage(OSError(errno.ECONNREFUSED, "x"))
    assert not is_shortage(None)


@pytest.mark.usefixtures("exhausted")
def test_a_shortage_is_found_by_trying() -> None:
    assert is_shortage(find_shortage())


def test_without_a_shortage_none_is_found() -> None:
    assert find_shortage() is None


@pytest.mark.parametrize("kind", ["http", "amqp"])
async def test_a_connection_that_no_descriptor_is_left_for_is_no_attempt(
    kind: str, sink: Sink, request: pytest.FixtureRequest
) -> None:
    more = {"routing_key": "q"} if kind == "amqp" else {}
    target = decode_target(kind, {"url": f"{kind}://127.0.0.1:{sink.port}/", **more})
    async with Executors(egress=NEARBY) as executors:
        request.getfixturevalue("exhausted")
        with pytest.raises(OutOfDescriptors):
            await executors.execute(kind, target, attempt())

    assert not sink.requests


async def test_a_redirect_that_no_descriptor_is_left_for_is_an_attempt(
    sink: Sink, request: pytest.FixtureRequest
) -> None:
    """The first receiver may have acted."""
    sink.on("/", reply(302, headers={"Location": f"http://127.0.0.2:{sink.port}/"}))
    target = decode_target("http", {"url": sink.url("/"), "follow_redirects": True})
    async with Executors(egress=NEARBY) as executors:
        await executors.prepare("http", target, attempt())
        request.getfixturevalue("exhausted")
        report = await executors.execute("http", target, attempt())

    assert (report.outcome, report.reason) == (Outcome.FAILED, "connect")


async def test_a_name_that_no_descriptor_is_left_for_is_no_failure_of_the_name(
    name_server: NameServer, request: pytest.FixtureRequest
) -> None:
    name_server.names["name.test"] = at("127.0.0.1")
    resolver = Resolver([name_server.address], clock=monotonic)
    request.getfixturevalue("exhausted")

    with pytest.raises(NameFailed) as caught:
        await resolver.find_addresses("name.test")

    assert is_shortage(caught.value)
    await resolver.close()


async def test_what_is_kept_leaves_most_descriptors_to_others(sink: Sink) -> None:
    async with Executors(egress=NEARBY) as executors:
        client = executors.opened["http"].client
        room = client.room_to_keep
        client.room_to_keep = 1
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.1"):
            target = decode_target("http", {"url": f"http://{host}:{sink.port}/"})
            report = await executors.execute("http", target, attempt())
            assert report.outcome is Outcome.SUCCEEDED

    assert room == limit() // 4
    assert [request.connection for request in sink.requests] == [1, 2, 2, 3]


def test_executions_are_put_off_longer_the_more_there_are_and_it_is_told_now_and_then() -> None:
    facts: list[Fact] = []
    ticks = Ticks()
    shortage = Shortage(Observers(facts.append), clock=ticks)
    claim = some_claim()
    now = datetime.now(UTC)

    waits = []
    for _ in range(300):
        settlement = shortage.defer(claim, now=now, jitter=0.5)
        assert settlement.next_run is not None
        assert settlement.attempt == released(claim).attempt
        waits.append((settlement.next_run - now).total_seconds())
    ticks.now += TOLD_SECONDS + PASSED_SECONDS
    shortage.defer(claim, now=now, jitter=0.5)

    assert (waits[0], waits[-1]) == (1.0, 3.0)
    assert shortage.times == 1
    assert facts == [DescriptorsExhausted(limit=limit())] * 2


def test_the_api_tells_each_spell_without_descriptors_once(
    request: pytest.FixtureRequest,
) -> None:
    facts: list[Fact] = []
    ticks = Ticks()
    shortage = AcceptShortage(Observers(facts.append), clock=ticks)
    shortage.look()
    assert facts == []
    request.getfixturevalue("exhausted")

    for _ in range(100):
        shortage.look()
        ticks.now += SPELL_SECONDS / 2
    assert len(facts) == 1
    ticks.now += SPELL_SECONDS
    shortage.look()

    assert facts == [DescriptorsExhausted(limit=limit())] * 2
