"""Tricks that need a name server or a receiver in league: rebinding, mixed answers, redirects."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from app.core.net.egress import Egress, Listed
from app.core.runs.outcome import Outcome, Report
from app.targets.executors import Executors
from app.targets.registry import decode_target
from tests.support.attempts import attempt
from tests.support.canary import Canary, Names
from tests.support.sink import Sink, hang_up, reply

OUTSIDE = Egress(allowed=Listed.of(["127.0.0.1"]))
"""The sink on 127.0.0.1 is the public Internet here; the rest of loopback is what it is."""
PUBLIC = "127.0.0.1"
NEAR = ["127.0.0.2", "127.0.0.3", "::1", "169.254.169.254", "10.0.0.1", "::ffff:127.0.0.2"]

Send = Callable[..., Awaitable[Report]]


@asynccontextmanager
async def sending(egress: Egress = OUTSIDE, **names: list[list[str]]) -> AsyncIterator[Send]:
    """An executor for which `evil="..."` is the name evil.test."""
    lookup = Names({f"{name}.test": answers for name, answers in names.items()})
    async with Executors(egress=egress, lookup=lookup) as executors:

        async def send(url: str, **target: object) -> Report:
            decoded = decode_target("http", {"url": url, **target})
            return await executors.execute("http", decoded, attempt())

        yield send


def assert_blocked(report: Report) -> None:
    assert (report.outcome, report.reason) == (Outcome.FAILED, "blocked")
    assert not report.retryable


async def test_a_name_that_changes_its_mind_between_attempts_is_judged_each_time(
    sink: Sink, canary: Canary
):
    sink.default = reply(200, headers={"Connection": "close"})
    async with sending(evil=[[PUBLIC], ["127.0.0.2"]]) as send:
        first = await send(f"http://evil.test:{sink.port}/")
        second = await send(f"http://evil.test:{canary.port}/")

    assert first.outcome is Outcome.SUCCEEDED
    assert_blocked(second)
    assert canary.hits == 0


async def test_a_name_that_changes_its_mind_within_an_attempt_is_asked_only_once(
    sink: Sink, canary: Canary
):
    """Between the check and the connection nobody asks again."""
    names = Names({"evil.test": [[PUBLIC], ["127.0.0.2"]]})
    async with Executors(egress=OUTSIDE, lookup=names) as executors:
        target = decode_target("http", {"url": f"http://evil.test:{sink.port}/"})
        report = await executors.execute("http", target, attempt())

    assert report.outcome is Outcome.SUCCEEDED
    assert names.asked == ["evil.test"]
    assert [request.connection for request in sink.requests] == [1]


async def test_a_name_that_flaps_gets_through_only_where_it_may(sink: Sink):
    """The sink listens on 127.0.0.2 as well, and would notice."""
    sink.default = hang_up
    answers = [[PUBLIC], ["127.0.0.2"], [PUBLIC], ["127.0.0.2", PUBLIC], [PUBLIC], ["127.0.0.2"]]
    async with sending(evil=answers.copy()) as send:
        reports = [await send(f"http://evil.test:{sink.port}/") for _ in answers]

    assert [report.reason for report in reports] == ["closed", "blocked"] * 3
    assert len(sink.wires) == 3


@pytest.mark.parametrize("near", NEAR)
@pytest.mark.parametrize("order", [1, -1], ids=["public-first", "public-last"])
async def test_one_forbidden_answer_among_allowed_ones_blocks_the_name(
    near: str,
    order: int,
    sink: Sink,
    canary: Canary,
):
    answers = [PUBLIC, near][::order]
    async with sending(evil=[answers]) as send:
        report = await send(f"http://evil.test:{canary.port}/")

    assert_blocked(report)
    assert f"evil.test is at {near}, which is" in (report.error or "")
    assert canary.hits == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/",
        "//127.0.0.2:{port}/",
        "http://[::1]:{port}/",
        "http://evil.test:{port}/",
        "http://169.254.169.254/latest/meta-data/",
    ],
)
async def test_a_redirect_to_a_place_near_us_is_blocked(
    status: int, location: str, sink: Sink, canary: Canary
):
    sink.on("/", reply(status, headers={"Location": location.format(port=canary.port)}))
    async with sending(evil=[["127.0.0.2"]]) as send:
        report = await send(sink.url(), follow_redirects=True)

    assert_blocked(report)
    assert canary.hits == 0


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.2:{port}/_x",
        "http://me:secret@127.0.0.2:{port}/",
        "http://127.2:{port}/",
        "http://127.0.0.2:{port}\\@evil.test/",
    ],
)
async def test_a_redirect_that_is_no_web_address_is_not_followed(
    location: str, sink: Sink, canary: Canary
):
    sink.on("/", reply(302, headers={"Location": location.format(port=canary.port)}))
    async with sending() as send:
        report = await send(sink.url(), follow_redirects=True)

    assert (report.outcome, report.reason) == (Outcome.FAILED, "redirect")
    assert not report.retryable
    assert canary.hits == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_unasked(status: int, sink: Sink, canary: Canary):
    sink.on("/", reply(status, headers={"Location": f"http://127.0.0.2:{canary.port}/"}))
    async with sending() as send:
        report = await send(sink.url())

    assert (report.outcome, report.reason) == (Outcome.FAILED, "redirect")
    assert canary.hits == 0


async def test_a_refresh_header_is_not_followed(sink: Sink, canary: Canary):
    sink.on("/", reply(200, headers={"Refresh": f"0; url=http://127.0.0.2:{canary.port}/"}))
    async with sending() as send:
        report = await send(sink.url(), follow_redirects=True)

    assert report.outcome is Outcome.SUCCEEDED
    assert canary.hits == 0


async def test_an_allowed_name_opens_nothing_for_the_redirects_behind_it(
    sink: Sink, canary: Canary
):
    egress = Egress(allowed=Listed.of(["intranet.test"]))
    sink.on("/literal", reply(302, headers={"Location": f"http://127.0.0.2:{canary.port}/"}))
    sink.on("/name", reply(302, headers={"Location": f"http://other.test:{canary.port}/"}))
    async with sending(egress, intranet=[[PUBLIC]], other=[["127.0.0.2"]]) as send:
        home = f"http://intranet.test:{sink.port}"
        allowed = await send(f"{home}/")
        literal = await send(f"{home}/literal", follow_redirects=True)
        name = await send(f"{home}/name", follow_redirects=True)
        itself = await send(sink.url())

    assert allowed.outcome is Outcome.SUCCEEDED
    for report in (literal, name, itself):
        assert_blocked(report)
    assert canary.hits == 0


async def test_a_denied_name_is_not_even_looked_up(sink: Sink):
    names = Names({"leak.rival.test": [[PUBLIC]]})
    egress = Egress(allowed=OUTSIDE.allowed, denied=Listed.of(["*.rival.test"]))
    async with Executors(egress=egress, lookup=names) as executors:
        target = decode_target("http", {"url": f"http://leak.rival.test:{sink.port}/"})
        report = await executors.execute("http", target, attempt())

    assert_blocked(report)
    assert "TOCSIN_DENIED_TARGETS" in (report.error or "")
    assert names.asked == []


async def test_a_broker_that_changes_its_mind_is_blocked(canary: Canary):
    names = Names({"evil.test": [["127.0.0.2"]]})
    async with Executors(egress=OUTSIDE, lookup=names) as executors:
        url = f"amqp://evil.test:{canary.port}/"
        target = decode_target("amqp", {"url": url, "routing_key": "q"})
        report = await executors.execute("amqp", target, attempt())

    assert_blocked(report)
    assert canary.hits == 0
