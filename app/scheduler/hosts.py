"""Sees to it that no host takes every slot, however many jobs for it are due and hang."""

import re
from collections import Counter
from time import monotonic

import msgspec
from msgspec import Struct

SHARE = 9
"""A host may execute up to so many times what is free: one host gets nine tenths of the slots, two
get nine nineteenths each, and something is always left for a host that has none (the dynamic
thresholds of shared switch buffers, after Choudhury and Hahne)."""

STUCK_SECONDS = 0.25
"""A host at its share that has ended nothing for so long is not worth waiting for."""

SHORTEST_PUT_OFF_SECONDS = 1.0
LONGEST_PUT_OFF_SECONDS = 30.0
PUT_OFFS_PER_SECOND = 100.0
"""What a stuck host's jobs may cost the database: with more of them they are put off longer."""


HOST = re.compile(r"[^/?#]*//(?:[^/?#]*@)?((?:\[[^\[\]/?#]*\])?[^\[\]/?#]*)(?![\[\]])")
"""Host and port are what its group finds (RFC 3986, appendix B)."""


class Addressed(Struct):
    """As much of a target as says where it is."""

    url: str = ""


ADDRESSED = msgspec.json.Decoder(Addressed)


def host_of(target: str) -> str:
    """Name the host and port that a target, as stored, is for; empty where none can be told."""
    try:
        found = HOST.match(ADDRESSED.decode(target).url)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return ""
    return found[1] if found else ""


class Hosts:
    """Counts, by host, what is executing, when something last ended, and what was put off since."""

    def __init__(self) -> None:
        self.executing: Counter[str] = Counter()
        self.moved_at: dict[str, float] = {}
        self.put_off: Counter[str] = Counter()

    def begin(self, host: str) -> None:
        """Count an execution; a host that had none is given time anew."""
        if not self.executing[host]:
            self.moved_at[host] = monotonic()
        self.executing[host] += 1

    def end(self, host: str) -> None:
        """Count one less; nothing is kept of a host that has none left."""
        self.executing[host] -= 1
        self.put_off.pop(host, None)
        if self.executing[host]:
            self.moved_at[host] = monotonic()
        else:
            del self.executing[host], self.moved_at[host]

    def is_full(self, host: str, *, free: int) -> bool:
        """Whether the host has its share of the slots, given how many are free."""
        return 0 < SHARE * free <= self.executing[host]

    def is_stuck(self, host: str, *, free: int) -> bool:
        """Whether the host has its share and ends nothing, so that waiting for it is no use."""
        if not self.is_full(host, free=free):
            return False
        return monotonic() - self.moved_at[host] >= STUCK_SECONDS

    def put_off_seconds(self, host: str, *, jitter: float) -> float:
        """Return when a job of a stuck host is worth claiming again; `jitter` in [0, 1)."""
        self.put_off[host] += 1
        seconds = self.put_off[host] / PUT_OFFS_PER_SECOND
        seconds = min(max(seconds, SHORTEST_PUT_OFF_SECONDS), LONGEST_PUT_OFF_SECONDS)
        return seconds * (0.5 + jitter)
