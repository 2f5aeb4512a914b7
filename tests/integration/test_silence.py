"""A notification during a look leads to another look: the look is frozen at the crucial moment."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from app.core.facts import Settled
from app.db import claims
from app.db.claims import Look
from app.db.database import Runner
from tests.support.builders import insert_job
from tests.support.instances import StartInstance
from tests.support.sink import Sink

HEARD_SECONDS = 0.3
"""As long as a notification may take on its way."""


async def test_a_job_committed_while_a_look_is_under_way_is_not_slept_over(
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look = claims.look
    armed = False

    async def interrupted(
        session: Runner,
        *,
        kinds: Sequence[str],
        **rest: Any,  # noqa: ANN401
    ) -> Look:
        nonlocal armed
        found = await look(session, kinds=kinds, **rest)
        # After the snapshot, before the loop goes on; not in a look that leaves something out, as
        # the next one would follow soon.
        if armed and rest["since"] is None:
            armed = False
            await insert_job(connection, target={"url": sink.url("/during")})
            await asyncio.sleep(HEARD_SECONDS)
        return found

    monkeypatch.setattr(claims, "look", interrupted)
    async with instance(longest_sleep_seconds=30) as (one, facts):
        armed = True
        one.wakeup.wake()
        await facts.seen(Settled, within=3.0)

    assert [request.path for request in sink.requests] == ["/during"]
