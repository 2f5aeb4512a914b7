"""Checks the targets that people wrote in SQL long before their run, which would find out late."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

from app.core.facts import Planned
from app.db import targets
from app.db.claims import Unworkable
from app.db.isolating import run_by_halves
from app.db.targets import Unchecked, Verdict
from app.errors import InvalidInput
from app.scheduler.isolation import Isolation, unworkable
from app.telemetry.faults import faulted
from app.vault import SecretKeys, check_stored

REST_SECONDS = 0.05
"""The pause before each step, so that many targets at once leave Postgres to others."""
MAX_PROBLEM_LENGTH = 10_000
"""The most characters that a `plan_error` may have."""
AGAIN_SECONDS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""How long after a notification, and after a step that found targets, to look for more.

A writer that saw those unchecked, or that notified in the same second, notifies nobody, and may
COMMIT later.
"""


async def keep_checking(
    isolation: Isolation,
    keys: SecretKeys,
    kinds: Sequence[str],
    written: asyncio.Event,
    *,
    longest_sleep_seconds: float,
) -> None:
    """Check targets whenever some were written, until cancelled; errors are told.

    A notification that is lost costs at most `longest_sleep_seconds`, as with looks.
    """
    again: Iterator[float] = iter(())
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(next(again, longest_sleep_seconds)):
                await written.wait()
                again = iter(AGAIN_SECONDS)
        await asyncio.sleep(REST_SECONDS * random.uniform(0.5, 2.0))  # noqa: S311 - spread
        written.clear()
        try:
            if await check_targets(isolation, keys, kinds):
                again = iter(AGAIN_SECONDS)
        except Exception as error:  # noqa: BLE001 - jobs run without this, and find out themselves
            isolation.observers.tell(faulted("targets", error))


async def check_targets(isolation: Isolation, keys: SecretKeys, kinds: Sequence[str]) -> int:
    """Check up to 200 targets; return how many verdicts were written.

    Any number of instances may do so at once: they reach the same verdicts, and an edit since wins.
    """
    found = await targets.list_unchecked(isolation.db, kinds=kinds, aside=isolation.aside())
    if not found:
        return 0
    verdicts = await asyncio.to_thread(lambda: [judged(one, keys) for one in found])
    unwritable: list[Unworkable] = []

    def refused(verdict: Verdict, error: Exception) -> None:
        unwritable.append(unworkable(verdict.job_id, error, what="checked"))

    written = sum(
        await run_by_halves(
            partial(targets.write_verdicts, isolation.db), verdicts, refused=refused
        )
    )
    await isolation.put_aside(unwritable)
    invalid = sum(one.problem is not None for one in verdicts)
    if invalid:
        isolation.observers.tell(Planned(jobs=written, refused=invalid))
    return written


def judged(one: Unchecked, keys: SecretKeys) -> Verdict:
    """Return the verdict on one target; errors that are not its own are left to its execution."""
    problem = None
    try:
        check_stored(one.job_id, one.kind, one.target, keys)
    except InvalidInput as error:
        problem = str(error)[:MAX_PROBLEM_LENGTH]
    except Exception:  # noqa: BLE001, S110 - a bug; its execution will tell
        pass
    return Verdict(job_id=one.job_id, edited_at=one.edited_at, problem=problem)
