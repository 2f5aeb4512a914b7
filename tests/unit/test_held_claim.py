"""Which hosts the target of a claim is for, and when its execution is cut off."""

import asyncio

import pytest

from app.core.runs.outcome import Outcome, Report
from app.deadline import Deadline
from app.scheduler.endings import Ending
from app.scheduler.held_claim import OVERTIME_SECONDS, HeldClaim
from app.targets.hosts import hosts_of, name_of, names_of
from tests.support.claims import some_claim


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ('{"url": "http://example.com/a?b=c"}', "example.com"),
        ('{"method": "GET", "url": "https://user:pass@example.com:8443/"}', "example.com:8443"),
        ('{"url": "amqp://[::1]:5672/vhost"}', "[::1]:5672"),
        ('{"url": "no address"}', ""),
        ('{"url": 7}', ""),
        ('{"url": "http://[::1"}', ""),
        (f'{{"url": "http://{"a." * 125}example.com/"}}', "a." * 125 + "example.com"),
        (f'{{"url": "http://{"a" * 250_000}/"}}', ""),
        ("[]", ""),
        ("{}", ""),
    ],
)
def test_the_host_of_a_target(target: str, host: str) -> None:
    for kind in ("http", "amqp"):
        assert "".join(hosts_of(kind, target)) == host


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Example.com:8443", "example.com"),
        ("[::1]:5672", "::1"),
        ("192.0.2.1:9", "192.0.2.1"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("a:99999", ""),
        ("", ""),
    ],
)
def test_the_name_of_a_host_is_the_one_that_is_looked_up(host: str, name: str) -> None:
    assert name_of(host) == name


@pytest.mark.parametrize(
    ("auth", "names"),
    [
        (
            '{"type": "oauth2", "token_url": "https://id.example/token"}',
            ("a.example", "id.example"),
        ),
        ('{"type": "oauth2", "token_url": "https://a.example/token"}', ("a.example",)),
        ('{"token_url": 7}', ("a.example",)),
        ('["token_url"]', ("a.example",)),
    ],
)
def test_an_execution_connects_to_its_host_and_to_the_one_of_its_tokens(
    auth: str, names: tuple[str, ...]
) -> None:
    hosts = hosts_of("http", f'{{"url": "http://a.example/", "auth": {auth}}}')

    assert names_of(hosts) == names


async def cut_at(held: HeldClaim, *, now: float) -> Ending | None:
    """Begin an execution at 0, and return why it was cut off by `now`; None if it was not."""
    with Deadline(asyncio.get_running_loop()) as deadline:
        held.begin(deadline, now=0.0)
        held.cut_overtime(now)
        is_cut = deadline.at is not None
        deadline.move(None)
    return held.ending if is_cut else None


async def test_an_execution_is_cut_off_once_its_executor_has_not_kept_the_timeout() -> None:
    claim = some_claim(timeout_seconds=30.0)
    overtime_ends = 30.0 + OVERTIME_SECONDS

    kept = await cut_at(HeldClaim(claim, lease_ends=1e9), now=overtime_ends - 0.01)
    exceeded = await cut_at(HeldClaim(claim, lease_ends=1e9), now=overtime_ends)

    assert (kept, exceeded) == (None, Ending.TIMEOUT)


async def test_a_lease_that_ends_before_the_timeout_is_what_cuts_an_execution_off() -> None:
    claim = some_claim(timeout_seconds=30.0)

    assert await cut_at(HeldClaim(claim, lease_ends=20.0), now=0.0) is Ending.LEASE


async def test_once_its_target_has_answered_only_the_end_of_its_lease_cuts_an_execution_off() -> (
    None
):
    held = HeldClaim(some_claim(timeout_seconds=30.0), lease_ends=40.0)

    with Deadline(asyncio.get_running_loop()) as deadline:
        held.begin(deadline, now=0.0)
        held.note_answer(Report(outcome=Outcome.SUCCEEDED))
        held.cut_overtime(1e6)
        at = deadline.at
        deadline.move(None)

    assert (held.ending, at) == (Ending.LEASE, held.cut_at)


def test_a_held_claim_tells_a_debugger_what_it_is() -> None:
    held = HeldClaim(some_claim(target='{"url": "http://a.example/"}'), lease_ends=60.0)

    assert "execution 70 for 'a.example', due 12:00:00.000000, waiting" in repr(held)
