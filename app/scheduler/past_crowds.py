"""Claims the due jobs that stand behind a crowd: many due jobs for one host.

Looks take due jobs in the order of their instants, whatever hosts they are for. While most of what
an instance has to start is for the same few hosts, and late, jobs for other hosts are searched for
among the latest that are due, and claimed beside the looks.
"""

import asyncio
from collections import Counter

from app.core.facts import Faulted
from app.db import isolating
from app.db.isolating import reason
from app.scheduler.suspects import Suspects

SEARCHED = 5000
"""How many due jobs, the latest first, are searched for others: some 15 ms of Postgres's time."""
OTHERS = 50
"""The most jobs that are claimed at once for other hosts."""
LATE_SECONDS = 0.2
"""How late a claim has to be until jobs for other hosts are searched for."""
CROWD = 0.1
"""The part of all claims that a host has to have to count as a crowd: ten may be crowds at once."""
LEAST = 8
"""The fewest claims of which a host can be a crowd."""
MIN_SECONDS, MAX_SECONDS = 0.1, 0.5
"""The pauses between two searches; those that find nothing become rarer."""


class PastCrowds:
    """Searches for due jobs of other hosts, and claims them, while there is a crowd."""

    def __init__(self, suspects: Suspects) -> None:
        self.suspects = suspects
        self.dispatcher = suspects.dispatcher
        self.pause = MIN_SECONDS

    def __repr__(self) -> str:
        return f"<PastCrowds: every {self.pause:.1f} s, beside {sorted(self.crowds()[0])}>"

    async def keep_claiming(self) -> None:
        """Search from a look that had not room for all on, while claims wait, until cancelled.

        An error is told, and the search is made again.
        """
        while True:
            await self.dispatcher.backlogged.wait()
            self.dispatcher.backlogged.clear()
            while self.dispatcher.waiting >= LEAST:
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
        """Return the hosts that have much of what is started here, if late, and room for others."""
        hosts, waiting = Counter[str](), Counter[str]()
        late = False
        for held in self.dispatcher:
            seconds = -self.dispatcher.clock.seconds_until(held.claim.next_run.timestamp())
            if seconds >= 0:
                hosts[held.host] += 1
                waiting[held.host] += not held.started
                late = late or (seconds > LATE_SECONDS and not held.started)
        least = max(LEAST, CROWD * hosts.total())
        crowds = {host for host, many in hosts.items() if many >= least} if late else set()
        return crowds, OTHERS - sum(many for host, many in waiting.items() if host not in crowds)
