"""Which host a target is for, and how much of an instance one host may have."""

import pytest

from app.scheduler import hosts
from app.scheduler.hosts import LONGEST_PUT_OFF_SECONDS, STUCK_SECONDS, Hosts, host_of


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
    assert host_of(target) == host


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


def test_a_full_host_is_stuck_only_while_it_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(hosts, "monotonic", lambda: now[0])
    shares = Hosts()
    for _ in range(90):
        shares.begin("a")
    at_first = shares.is_stuck("a", free=10)
    now[0] = STUCK_SECONDS
    later = shares.is_stuck("a", free=10)
    shares.end("a")
    shares.begin("a")

    assert (at_first, later, shares.is_stuck("a", free=10)) == (False, True, False)
    assert not shares.is_stuck("b", free=10)


def test_the_more_is_put_off_the_longer_until_something_ends() -> None:
    shares = Hosts()
    shares.begin("a")
    waits = [shares.put_off_seconds("a", jitter=0.5) for _ in range(5000)]
    shares.end("a")
    shares.begin("a")

    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (1.0, LONGEST_PUT_OFF_SECONDS)
    assert shares.put_off_seconds("a", jitter=0.5) == 1.0


def test_nothing_is_kept_of_a_host_that_has_nothing_to_execute() -> None:
    shares = Hosts()
    shares.begin("a")
    shares.put_off_seconds("a", jitter=0.0)
    shares.end("a")

    assert (shares.executing, shares.moved_at, shares.put_off) == ({}, {}, {})
