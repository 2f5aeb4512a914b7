"""The connections of an instance beside its session: pools by what they are for.

No purpose waits for another's connections: a settlement that takes long for a user's trigger keeps
neither a lease from being extended nor a job from being claimed. A pool connects when it is needed.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct

from app.db import Database
from app.db.database import COMMAND_TIMEOUT_SECONDS
from app.db.isolating import AT_ONCE
from app.db.listener import OF_LOOKS
from app.scheduler import hard_settlements, leases, suspects

PATIENCE_SECONDS = 3.0
"""How long a settlement or an extension waits for its answer at first; both are tried again."""
PLAN_SECONDS = 0.15
"""How long the plans of some jobs, or the verdicts on some targets, may take to be written."""


SETTINGS = {
    "isolate": OF_LOOKS,
    # To leave out some of many jobs Postgres makes a hash table of an array that it knows.
    "plan": {"plan_cache_mode": "force_custom_plan"},
}
"""Settings of the sessions of some purposes."""


class Pools(Struct, frozen=True, kw_only=True):
    """The pools of one instance, with the most connections of each."""

    work: Database
    """Six, for what no due job waits for."""
    settle: Database
    """Two."""
    settle_quick: Database
    """Four, as the next two for settlements of which those of many failed."""
    settle_patient: Database
    extend: Database
    """Two."""
    extend_quick: Database
    """Three, as the next one for leases that could not be extended with others."""
    extend_patient: Database
    claim_quick: Database
    """Three, as the next one for claims at which looks failed."""
    claim_patient: Database
    plan: Database
    """Six, for the plans and verdicts of new jobs and of older ones."""


@asynccontextmanager
async def open_pools(url: str, *, instance: str) -> AsyncIterator[Pools]:
    """Open all pools, of which none connects yet; close them at the end."""
    async with AsyncExitStack() as stack:

        async def pool(purpose: str, most: int, seconds: float | None = None) -> Database:
            return await stack.enter_async_context(
                Database.connect(
                    url,
                    application_name=f"tocsin {purpose} {instance}",
                    max_connections=most,
                    patience_seconds=PATIENCE_SECONDS
                    if seconds is None
                    else COMMAND_TIMEOUT_SECONDS,
                    settings=SETTINGS.get(purpose),
                    limit_seconds=seconds,
                )
            )

        yield Pools(
            work=await pool("work", 6),
            settle=await pool("settle", 2),
            settle_quick=await pool(
                "settle apart", hard_settlements.AT_ONCE, hard_settlements.QUICK_SECONDS
            ),
            settle_patient=await pool(
                "settle apart", hard_settlements.PATIENT_AT_ONCE, hard_settlements.PATIENT_SECONDS
            ),
            extend=await pool("extend", 2),
            extend_quick=await pool("extend apart", AT_ONCE, leases.QUICK_SECONDS),
            extend_patient=await pool("extend apart", 1, leases.PATIENT_SECONDS),
            claim_quick=await pool("isolate", AT_ONCE, suspects.QUICK_SECONDS),
            claim_patient=await pool("isolate", 1, suspects.LONGEST_SECONDS),
            plan=await pool("plan", 2 * AT_ONCE, PLAN_SECONDS),
        )
