"""The connections of an instance beside its session: pools by what they are for.

No purpose waits for another's connections: a settlement that takes long for a user's trigger keeps
neither a lease from being extended nor a job from being claimed. A pool connects when it is needed.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
from msgspec import Struct

from app.db import Database
from app.db.connections import POOLS
from app.db.database import COMMAND_TIMEOUT_SECONDS
from app.db.listener import OF_LOOKS, HearingConnection
from app.scheduler import apart_settler, leases, raised_looks, suspects

PATIENCE_SECONDS = 3.0
"""How long a settlement or an extension waits for its answer at first; both are tried again."""
PLAN_SECONDS = 0.15
"""How long the plans of some jobs, or the verdicts on some targets, may take to be written."""

PURPOSES = {
    "work": ("work", None),
    "settle": ("settle", None),
    "settle_quick": ("settle apart", apart_settler.QUICK_SECONDS),
    "settle_patient": ("settle apart", apart_settler.PATIENT_SECONDS),
    "extend": ("extend", None),
    "extend_quick": ("extend apart", leases.QUICK_SECONDS),
    "extend_patient": ("extend apart", leases.PATIENT_SECONDS),
    "claim_quick": ("isolate", suspects.QUICK_SECONDS),
    "claim_patient": ("isolate", suspects.MAX_SECONDS),
    "claim_raised": ("look beside", raised_looks.BESIDE_SECONDS),
    "plan": ("plan", PLAN_SECONDS),
    "bulk": ("bulk", None),
}
"""By pool, what `pg_stat_activity` calls the purpose of its sessions, and how many seconds a
statement may take (None: any time). The sizes are in `app.db.connections`."""
SETTINGS = {
    "isolate": OF_LOOKS,
    "look beside": OF_LOOKS,
    # To leave out some of many jobs Postgres makes a hash table of an array that it knows.
    "plan": {"plan_cache_mode": "force_custom_plan"},
}
"""Settings of the sessions of some purposes."""

CLASSES = {"look beside": HearingConnection}
"""The connections of a purpose that are of a class of their own."""


class Pools(Struct, frozen=True, kw_only=True):
    """The pools of one instance."""

    work: Database
    """The pool for work that no due job waits for."""
    settle: Database
    settle_quick: Database
    """The pool for settlements after a batch failed, with little time for each statement."""
    settle_patient: Database
    """The pool for settlements that were too slow in `settle_quick`, one by one."""
    extend: Database
    extend_quick: Database
    """The pool for extensions after one for all leases failed, with little time for each."""
    extend_patient: Database
    """The pool for extensions that were too slow in `extend_quick`, one by one."""
    claim_quick: Database
    """The pool for claims after a look failed, with little time for each statement."""
    claim_patient: Database
    """The pool for claims that were too slow in `claim_quick`, one by one."""
    claim_raised: Database
    """The pool for looks beside those of the session, with little time for each."""
    plan: Database
    """The pool for plans and verdicts."""
    bulk: Database
    """The pool for bulk actions, which sets limits for each transaction."""


@asynccontextmanager
async def open_pools(url: str, *, instance: str) -> AsyncIterator[Pools]:
    """Open all pools, of which none connects yet; close them at the end."""
    async with AsyncExitStack() as stack:
        pools = {}
        for name, (purpose, seconds) in PURPOSES.items():
            pool = Database.connect(
                url,
                application_name=f"tocsin {purpose} {instance}",
                max_connections=POOLS[name],
                patience_seconds=PATIENCE_SECONDS if seconds is None else COMMAND_TIMEOUT_SECONDS,
                settings=SETTINGS.get(purpose),
                limit_seconds=seconds,
                connection_class=CLASSES.get(purpose, asyncpg.Connection),
            )
            pools[name] = await stack.enter_async_context(pool)
        yield Pools(**pools)
