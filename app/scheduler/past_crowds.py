"""Claims the due jobs that stand behind a crowd: many due jobs for one host.

Looks take due jobs in the order of their instants, whatever hosts they are for, and few of them at
once if their targets are large. While most of what an instance has to start is for the same few
hosts, or has large targets, and is late, jobs for other hosts are searched for
among the latest that are due, and claimed beside the looks.
"""

import asyncio
from collections import Counter

from app.core.facts import Faulted
from app.db import isolating
from app.db.isolating import reason
from app.scheduler.suspects import Suspects
from app.targets.turns import LARGE

SEARCHED = 5000
"""How many due jobs, the latest first, are searched for others: some 15 ms of Postgres's time."""
OTHERS = 50
"""The most due claims for other hosts that wait here, after those of a search have been added."""
LATE_SECONDS = 0.2
"""How late a claim has to start, or to be claimed, until jobs for other hosts are searched for."""
CROWD = 0.1
"""The part of all due claims that a host has to have to be a crowd: ten may be crowds at once."""
OF_LARGE = ""
"""Stands for the host of large targets, and of those without a host."""
BESIDE_LARGE = 0.25
"""How many claims a host has to have for each large target besides, to be a crowd: few large ones
are held at once, so the claims that a search brought for another host are soon a tenth of all."""
LEAST = 8
"""The fewest claims that a host has to have to be a crowd."""
MIN_SECONDS, MAX_SECONDS = 0.1, 0.5
"""The shortest and the longest pause between two searches: each that finds nothing doubles it."""


class PastCrowds:
    """Searches for due jobs of other hosts, and claims them, while there is a crowd."""

    def __init__(self, suspects: Suspects) -> None:
        self.suspects = suspects
        self.dispatcher = suspects.dispatcher
        self.pause = MIN_SECONDS

    def __repr__(self) -> str:
        return f"<PastCrowds: every {self.pause:.1f} s, beside {sorted(self.crowds()[0])}>"

    async def keep_claiming(self) -> None:
        """Search after a look that left due jobs behind, until cancelled.

        Searches go on while `LEAST` claims wait here, or looks leave due jobs behind again: of
        large targets a look brings so few that none has to wait for a slot. An error is told, and
        the search is made again.
        """
        backlogged = self.dispatcher.backlogged
        while True:
            await backlogged.wait()
            while backlogged.is_set() or self.dispatcher.waiting >= LEAST:
                backlogged.clear()
                try:
                    found_none = await self.claim_others() == 0
                except Exception as error:  # noqa: BLE001 - no search is to end the instance
                    self.suspects.observers.tell(Faulted(where="crowds", error=reason(error)))
                    found_none = True
                self.pause = min(2 * self.pause, MAX_SECONDS) if found_none else MIN_SECONDS
                await asyncio.sleep(self.pause)

    async def claim_others(self) -> int | None:
        """Claim due jobs for hosts that are no crowd; return how many, None without a search."""
        crowds, room = self.crowds()
        if not crowds or room <= 0 or self.dispatcher.closed:
            return None
        found = await isolating.list_due_of_others(
            self.suspects.isolation.db,
            crowds=crowds,
            window=SEARCHED,
            limit=room,
            kinds=self.suspects.kinds,
            until=self.dispatcher.clock.now(),
            aside=self.suspects.isolation.aside(),
        )
        if not found:
            return 0
        tried = await self.suspects.claim(self.suspects.quick, found)
        await self.suspects.set_aside(tried)
        return len(tried.claimed)

    def crowds(self) -> tuple[set[str], int]:
        """Return the hosts that are crowds, and how many jobs for others there is room to claim.

        None is a crowd while no due claim is late by more than `LATE_SECONDS`. Large targets, for
        whatever hosts, count as those of one host, `OF_LARGE`: searches find no large targets.
        """
        hosts, waiting = Counter[str](), Counter[str]()
        late = False
        for held in self.dispatcher:
            due_at = held.claim.next_run.timestamp()
            seconds = -self.dispatcher.clock.seconds_until(due_at)
            if seconds >= 0:
                host = held.host if len(held.claim.target) < LARGE else OF_LARGE
                hosts[host] += 1
                waiting[host] += not held.started
                if held.started:  # late if the look that brought it was
                    seconds = held.claim.claimed_at.timestamp() - due_at
                late = late or seconds > LATE_SECONDS
        least = max(LEAST, CROWD * hosts.total(), BESIDE_LARGE * hosts[OF_LARGE])
        crowds = {host for host, many in hosts.items() if many >= least} if late else set()
        return crowds, OTHERS - sum(many for host, many in waiting.items() if host not in crowds)
