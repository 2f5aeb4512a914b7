"""Claims the due jobs that stand behind a crowd: many due jobs for one host.

Looks take due jobs in the order of their instants, whatever hosts they are for, and few of them at
once if their targets are large. While most of what an instance has to start is for the same few
hosts, or has large targets, and is late, jobs for other hosts are searched for
among the latest that are due, and claimed beside the looks.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from copy import copy
from datetime import datetime, timedelta
from uuid import UUID

from app.core.facts import Faulted
from app.db import isolating
from app.db.isolating import Due, reason
from app.scheduler.suspects import Suspects
from app.targets.turns import LARGE

SEARCHED = 5000
"""How many due jobs, the latest first, are searched for others: some 15 ms of Postgres's time."""
OTHERS = 50
"""The most jobs that are claimed at once for other hosts."""
LATE_SECONDS = 0.1
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
MIN_SECONDS, MAX_SECONDS = 0.05, 0.25
"""The pauses between two searches; those that find nothing become rarer."""
WHOLE_SECONDS = 0.5
"""For so long after a search of all that is due only what came due since so long before it is
searched: a few rows. What was committed longer after its instant is found by the next of all."""
READY_SECONDS = 240.0
"""For how long connections are as `make_ready` left them: a pool closes those unused for 300 s."""


class PastCrowds:
    """Searches for due jobs of other hosts, and claims them, while there is a crowd."""

    def __init__(self, suspects: Suspects) -> None:
        self.suspects = suspects
        self.dispatcher = suspects.dispatcher
        self.pause = MIN_SECONDS
        self.whole_at = float("-inf")
        """When (monotonic seconds) all that is due was last searched, with room for all found."""
        self.whole_until: datetime | None = None
        """The instant up to which that was."""
        self.claiming: asyncio.Task[bool] | None = None
        """Claims what the last search found, while the next one is made."""
        self.ready_until = float("-inf")
        """Until when (monotonic seconds) the connections need not be made ready."""

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
            await self.make_ready()
            while backlogged.is_set() or self.dispatcher.waiting >= LEAST:
                backlogged.clear()
                try:
                    found_none = await self.claim_others() == 0
                except Exception as error:  # noqa: BLE001 - no search is to end the instance
                    self.suspects.observers.tell(Faulted(where="crowds", error=reason(error)))
                    found_none = True
                self.pause = min(2 * self.pause, MAX_SECONDS) if found_none else MIN_SECONDS
                await asyncio.sleep(self.pause)

    async def make_ready(self) -> None:
        """Have the connections and statements of a search and a claim ready before one is needed.

        To connect takes many round trips, and among hundreds of jobs that start or end each is some
        50 ms long. An error is told; the search meets it as well.
        """
        at = self.suspects.monotonic()
        if at < self.ready_until or self.dispatcher.closed:
            return
        try:
            now = self.dispatcher.clock.now()
            await self.search(set(), limit=0, since=now, until=now)
            if not self.dispatcher.closed:
                await self.suspects.look(self.suspects.quick, [], since=None, ahead_seconds=0.0)
            self.ready_until = at + READY_SECONDS
        except Exception as error:  # noqa: BLE001 - as above
            self.suspects.observers.tell(Faulted(where="crowds", error=reason(error)))

    async def claim_others(self) -> int | None:
        """Have due jobs claimed for hosts that are no crowd; return how many were found.

        None: nothing was searched for.
        """
        crowds, room = self.crowds()
        if not crowds or room <= 0:
            return None
        at, until, since = self.suspects.monotonic(), self.dispatcher.clock.now(), None
        if self.whole_until is not None and at < self.whole_at + WHOLE_SECONDS:
            since = self.whole_until - timedelta(seconds=WHOLE_SECONDS)
        found, deferring = await self.search(crowds, limit=room, since=since, until=until)
        claiming, self.claiming = self.claiming, None
        # This search left out what the claim under way was for.
        claimed_all = claiming is None or await claiming
        if len(found) == room or not claimed_all:
            self.whole_until = None
        elif since is None:
            self.whole_at, self.whole_until = at, until
        room = max(self.crowds()[1], 0) if found else 0  # what was claimed meanwhile takes some
        if len(found) > room:
            self.whole_until, found = None, found[:room]
        if found:
            self.suspects.isolation.suspect(one.job_id for one in found)
            task = self.claim(found, deferring=deferring)
            self.claiming = self.suspects.tasks.create_task(task, name="claim others")
        return len(found)

    async def claim(self, found: Sequence[Due], *, deferring: bool) -> bool:
        """Claim jobs that were found, and put those aside that cannot be claimed.

        Return whether all were claimed; if not, looks and searches are to find the others again.
        Never raises: an error is told.
        """
        quick = copy(self.suspects.quick)
        quick.defers = deferring  # if not, one round trip instead of four
        ids = {one.job_id for one in found}
        claimed: set[UUID] = set()
        try:
            tried = await self.suspects.claim(quick, found)
            claimed = tried.claimed
            await self.suspects.set_aside(tried)
        except Exception as error:  # noqa: BLE001 - see above
            self.suspects.observers.tell(Faulted(where="crowds", error=reason(error)))
        finally:
            self.suspects.isolation.acquit(ids)
            if not ids <= claimed:
                self.whole_until = None
                self.suspects.look_again()  # looks meanwhile left them out
        return ids <= claimed

    async def search(
        self, crowds: Collection[str], *, limit: int, since: datetime | None, until: datetime
    ) -> tuple[list[Due], bool]:
        """List due jobs for other hosts than these, see `list_due_of_others`."""
        return await isolating.list_due_of_others(
            self.suspects.isolation.db,
            crowds=crowds,
            window=SEARCHED,
            limit=limit,
            kinds=self.suspects.kinds,
            since=since,
            until=until,
            aside=self.suspects.isolation.aside(),
        )

    def crowds(self) -> tuple[set[str], int]:
        """Return the hosts that are crowds, and how many jobs for others there is room to claim.

        None is a crowd while no due claim is late by more than `LATE_SECONDS`. Large targets, for
        whatever hosts, count as those of one host, `OF_LARGE`: searches find no large targets.
        Once the dispatcher is closed, there is no room.
        """
        if self.dispatcher.closed:
            return set(), 0
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
