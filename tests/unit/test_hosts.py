"""Which host a target is for, and how much of an instance one host may have."""

import pytest

from app.scheduler.hosts import (
    MAX_PUT_OFF_SECONDS,
    STUCK_SECONDS,
    Hosts,
    hosts_of,
    name_of,
    names_of,
)
from tests.support.ticks import Ticks


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ('{"url": "http://example.com/a?b=c"}', "example.com"),
        ('{"method": "GET", "url": "https://user:pass@example.com:8443/"}', "example.com:8443"),
        ('{"url": "amqp://[::1]:5672/vhost"}', "[::1]:5672"),
        ('{"url": "no address"}', ""),
        ('{"url": 7}', ""),
        ('{"url": "http://[::1"}', ""),
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


def granted(names: list[str], *, slots: int) -> dict[str, int]:
    """Let the hosts take slots by turns until none may have another."""
    shares, free = Hosts(), slots
    taken = dict.fromkeys(names, 0)
    open_to = [name for name in names if free and not shares.is_full(name, free=free)]
    while open_to:
        name = min(open_to, key=lambda one: taken[one])
        shares.begin(name)
        taken[name] += 1
        free -= 1
        open_to = [name for name in names if free and not shares.is_full(name, free=free)]
    return taken


@pytest.mark.parametrize(
    ("names", "slots", "shares"),
    [
        (["a"], 100, [90]),
        (["a", "b"], 100, [48, 47]),
        (["a", "b", "c"], 100, [33, 32, 32]),
        (["a"], 5, [5]),
        (["a"], 1, [1]),
    ],
)
def test_greedy_hosts_leave_room(names: list[str], slots: int, shares: list[int]) -> None:
    assert sorted(granted(names, slots=slots).values(), reverse=True) == shares


def test_a_full_host_is_stuck_only_while_it_ends_nothing() -> None:
    ticks = Ticks()
    shares = Hosts(clock=ticks)
    for _ in range(90):
        shares.begin("a")
    at_first = shares.is_stuck("a", free=10)
    ticks.now += STUCK_SECONDS
    later = shares.is_stuck("a", free=10)
    shares.end("a")
    shares.begin("a")

    assert (at_first, later, shares.is_stuck("a", free=10)) == (False, True, False)
    assert not shares.is_stuck("b", free=10)


def test_the_more_is_put_off_the_longer_until_something_ends() -> None:
    shares = Hosts()
    shares.begin("a")
    waits = [shares.defer_seconds("a", jitter=0.5) for _ in range(5000)]
    shares.end("a")
    shares.begin("a")

    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (1.0, MAX_PUT_OFF_SECONDS)
    assert shares.defer_seconds("a", jitter=0.5) == 1.0


def test_nothing_is_kept_of_a_host_that_has_nothing_to_execute() -> None:
    shares = Hosts()
    shares.begin("a")
    shares.defer_seconds("a", jitter=0.0)
    shares.end("a")

    assert (shares.executing, shares.moved_at, shares.deferred) == ({}, {}, {})
