"""No trick of `ssrf_corpus.txt` makes a connection to a place that targets may not reach."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.core.net.egress import EVERY_PORT, Egress
from app.core.runs.outcome import Outcome
from app.errors import InvalidInput
from app.targets.amqp.executor import AmqpTarget
from app.targets.executors import Executors
from app.targets.registry import decode_target
from tests.support.attempts import attempt
from tests.support.canary import Canary, Names

CORPUS = [
    (verdict, json.loads(url))
    for verdict, _, url in (
        line.partition(" ")
        for line in Path(__file__).with_name("ssrf_corpus.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
]
BLOCKED = [url for verdict, url in CORPUS if verdict == "blocked"]
REFUSED = [url for verdict, url in CORPUS if verdict == "refused"]

NAMES = {
    "localhost": [["127.0.0.1", "::1"]],
    "localhost.localdomain": [["127.0.0.1"]],
    "ip6-localhost": [["::1"]],
    "127.0.0.1.nip.io": [["127.0.0.1"]],
    "metadata.google.internal": [["169.254.169.254"]],
    "public.test": [["1.1.1.1"]],
}
PLENTY_OF_TRICKS = 86


@pytest.fixture
async def executors() -> AsyncIterator[Executors]:
    async with Executors(lookup=Names(NAMES)) as executors:
        yield executors


def test_the_corpus_is_as_large_as_it_was() -> None:
    assert len(CORPUS) == len(set(CORPUS)) >= PLENTY_OF_TRICKS
    assert {verdict for verdict, _ in CORPUS} == {"blocked", "refused"}


@pytest.mark.parametrize("url", BLOCKED)
async def test_a_target_near_us_is_blocked(url: str, executors: Executors, canary: Canary):
    target = decode_target("http", {"url": url.replace("PORT", str(canary.port))})

    report = await executors.execute("http", target, attempt())

    assert (report.outcome, report.reason) == (Outcome.FAILED, "blocked")
    assert not report.retryable
    assert "TOCSIN_" in (report.error or "")
    assert canary.hits == 0


@pytest.mark.parametrize("url", REFUSED)
def test_a_target_with_two_readings_is_refused(url: str):
    with pytest.raises(InvalidInput) as refusal:
        decode_target("http", {"url": url.replace("PORT", "8080")})

    assert [error.field for error in refusal.value.errors] == ["target.url"]


@pytest.mark.parametrize("url", [url for url in BLOCKED if "%25" not in url])
async def test_a_broker_near_us_is_blocked(url: str, executors: Executors, canary: Canary):
    address = urlsplit(url.replace("PORT", str(canary.port)))
    target = decode_target("amqp", {"url": f"amqp://{address.netloc}/", "routing_key": "q"})

    report = await executors.execute("amqp", target, attempt())

    assert (report.outcome, report.reason) == (Outcome.FAILED, "blocked")
    assert not report.retryable
    assert canary.hits == 0


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0",
        "127.0.0.1.",
        "0x7f000001",
        "[::1%25lo]",
    ],
)
async def test_a_broker_whose_address_is_written_oddly_is_not_reached(
    host: str, executors: Executors, canary: Canary
):
    """Most of these are refused when a job is written; the guard does not rely on that."""
    target = AmqpTarget(url=f"amqp://{host}:{canary.port}/", routing_key="q")

    report = await executors.execute("amqp", target, attempt())

    assert report.outcome is Outcome.FAILED
    assert report.reason in {"blocked", "dns"}
    assert canary.hits == 0


async def test_without_the_guard_many_of_them_reach_the_canary(canary: Canary):
    """What shows that the canary sings."""
    lax = Egress(allow_private=True, ports=EVERY_PORT)
    urls = [url.replace("PORT", str(canary.port)) for url in BLOCKED if "PORT" in url]
    async with Executors(egress=lax, lookup=Names(NAMES)) as executors:
        reports = [
            await executors.execute("http", decode_target("http", {"url": url}), attempt(within=1))
            for url in urls
        ]

    reached = [url for url, report in zip(urls, reports, strict=True) if report.status_code == 200]
    assert len(reached) >= 10
    assert canary.hits >= len(reached)
