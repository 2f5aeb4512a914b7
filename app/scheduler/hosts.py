"""Sees to it that no host takes every slot, however many jobs for it are due and hang."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from time import monotonic

from yarl import URL

from app.targets.registry import addresses_of

SHARE = 9
"""The most slots that a host may have, in multiples of the free ones. One host alone gets 9/10 of
the slots, two get 9/19 each, and some are always left for a host that has none (the dynamic
thresholds of shared switch buffers, after Choudhury and Hahne)."""

STUCK_SECONDS = 0.25
"""A host at its share that has ended nothing for so long is not worth waiting for."""

MIN_PUT_OFF_SECONDS = 1.0
MAX_PUT_OFF_SECONDS = 30.0
PUT_OFFS_PER_SECOND = 100.0
"""What a stuck host's jobs may cost the database: with more of them they are put off longer."""


HOST = re.compile(r"[^/?#]*//(?:[^/?#]*@)?((?:\[[^\[\]/?#]*\])?[^\[\]/?#]*)(?![\[\]])")
"""Host and port are what its group finds (RFC 3986, appendix B)."""


MAX_NAMES = 4096


def hosts_of(kind: str, target: str) -> tuple[str, ...]:
    """Return `host:port` of each server that a stored target is for, the principal one first.

    The text is empty for a server that cannot be read; the tuple is, for a target that names none.
    """
    found = [HOST.match(address) for address in addresses_of(kind, target)]
    return tuple([one[1] if one else "" for one in found])


def names_of(hosts: Iterable[str]) -> tuple[str, ...]:
    """Return the names, or addresses, of these hosts, each once."""
    return tuple(dict.fromkeys(filter(None, map(name_of, hosts))))


@lru_cache(maxsize=MAX_NAMES)
def name_of(host: str) -> str:
    """The name without its port, as it is looked up; empty where it cannot be one."""
    with suppress(ValueError):
        return URL(f"//{host}").raw_host or ""
    return ""


class Hosts:
    """Counts, by host, what is executing, when something last ended, and what was put off since."""

    def __init__(self, *, share: int = SHARE, clock: Callable[[], float] = monotonic) -> None:
        self.share = share
        self.clock = clock
        self.executing: Counter[str] = Counter()
        self.moved_at: dict[str, float] = {}
        self.deferred: Counter[str] = Counter()

    def begin(self, host: str) -> None:
        """Count an execution; a host that had none is given time anew."""
        if not self.executing[host]:
            self.moved_at[host] = self.clock()
        self.executing[host] += 1

    def end(self, host: str) -> None:
        """Count one less; nothing is kept of a host that has none left."""
        self.executing[host] -= 1
        self.deferred.pop(host, None)
        if self.executing[host]:
            self.moved_at[host] = self.clock()
        else:
            del self.executing[host], self.moved_at[host]

    def is_full(self, host: str, *, free: int) -> bool:
        """Whether the host has its share of the slots, given how many are free."""
        return 0 < self.share * free <= self.executing[host]

    def is_stuck(self, host: str, *, free: int) -> bool:
        """Whether the host has its share and ends nothing, so that waiting for it is no use."""
        if not self.is_full(host, free=free):
            return False
        return self.clock() - self.moved_at[host] >= STUCK_SECONDS

    def defer_seconds(self, host: str, *, jitter: float) -> float:
        """Return when a job of a stuck host is worth claiming again; `jitter` in [0, 1)."""
        self.deferred[host] += 1
        return defer_seconds(self.deferred[host], jitter=jitter)


def defer_seconds(times: int, *, jitter: float) -> float:
    """Return for how many seconds to put off the `times`-th job in a row; `jitter` in [0, 1)."""
    seconds = times / PUT_OFFS_PER_SECOND
    seconds = min(max(seconds, MIN_PUT_OFF_SECONDS), MAX_PUT_OFF_SECONDS)
    return seconds * (0.5 + jitter)
