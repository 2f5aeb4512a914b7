"""Checks targets written in SQL ahead of their runs, so that a person learns of errors early."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from uuid import UUID

from app.db import Database, targets
from app.db.targets import Unchecked, Verdict
from app.db.waiting import Position, last_position
from app.errors import InvalidInput
from app.scheduler.backlog import Backlog, Step, Work
from app.scheduler.isolation import Isolation
from app.vault import SecretKeys, check_stored

REST_SECONDS = 0.05
"""The pause before each step, so that many targets at once leave Postgres to others."""
MAX_PROBLEM_LENGTH = 10_000
"""The most characters that a `plan_error` may have."""
MAX_SECONDS = 300.0
"""The longest wait for a notification. A transaction that stayed open for longer than all of
`AGAIN_SECONDS` sends none, if another one had notified when it wrote."""
AGAIN_SECONDS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""How long after a notification, and after a step that found targets, to look for more.

A writer that saw unchecked targets of others, or that notified in the same second, sends no
notification, and may COMMIT later.
"""


async def keep_checking(
    isolation: Isolation,
    keys: SecretKeys,
    kinds: Sequence[str],
    written: asyncio.Event,
    *,
    db: Database,
) -> None:
    """Check targets whenever some were written, until cancelled; errors are told.

    A target of which no notification came waits for `MAX_SECONDS` at most.
    """
    checking = Checking(isolation, db, keys, kinds)
    backlog = Backlog(checking, worked_off=written.set)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(backlog.keep_working(), name="check targets")
        again: Iterator[float] = iter(())
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(next(again, MAX_SECONDS)):
                    await written.wait()
                    written.clear()
                    again = iter(AGAIN_SECONDS)
            backlog.told.set()
            await asyncio.sleep(REST_SECONDS)


class Checking(Work):
    """Reads targets that have yet to be checked, and writes the verdicts.

    Any number of instances may check at once: all reach the same verdicts, and an edit since wins.
    """

    where = "targets"
    what = "checked"
    quiet = True

    def __init__(
        self, isolation: Isolation, db: Database, keys: SecretKeys, kinds: Sequence[str]
    ) -> None:
        super().__init__(isolation, db)
        self.keys = keys
        self.kinds = kinds

    async def take(self, *, after: Position | None, aside: Sequence[UUID]) -> Step:
        """Check up to 200 targets behind a position, after a pause."""
        await asyncio.sleep(REST_SECONDS * random.uniform(0.5, 2.0))  # noqa: S311 - spread
        began = self.isolation.clock()
        found = await targets.list_unchecked(self.db, kinds=self.kinds, after=after, aside=aside)
        return await self.check(found, began=began)

    async def take_lately(self, *, newer: str | None, aside: Sequence[UUID]) -> Step:
        """Check up to five targets that were written since a `read_horizon`."""
        began = self.isolation.clock()
        ids = await targets.list_unchecked_lately(
            self.db, kinds=self.kinds, newer=newer, aside=aside
        )
        if not ids:
            return Step()
        found = await targets.list_unchecked(self.db, kinds=self.kinds, aside=(), only=ids)
        return await self.check(found, began=began)

    async def check(self, found: Sequence[Unchecked], *, began: float) -> Step:
        """Check targets, and write the verdicts."""
        if not found:
            return Step()
        verdicts = await asyncio.to_thread(lambda: [judged(one, self.keys) for one in found])
        return await self.write(
            verdicts, targets.write_verdicts, began=began, last=last_position(found)
        )


def judged(one: Unchecked, keys: SecretKeys) -> Verdict:
    """Return the verdict on one target; errors that are not its own are left to its execution."""
    plan_error = None
    try:
        check_stored(one.job_id, one.kind, one.target, keys)
    except InvalidInput as error:
        plan_error = str(error)[:MAX_PROBLEM_LENGTH]
    except Exception:  # noqa: BLE001, S110 - a bug; its execution will tell
        pass
    return Verdict(job_id=one.job_id, edited_at=one.edited_at, plan_error=plan_error)
