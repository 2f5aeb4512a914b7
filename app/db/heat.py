"""Jobs by what they have of a schedule in common, for the picture of the coming week."""

from datetime import datetime

from msgspec import Struct

from app.core.schedule.heat import Crowd
from app.db.database import Runner
from app.db.schedules import schedule

SAMPLED = 15_000
"""Jobs that are looked at; of more a part is drawn, block by block."""
MAX_CROWDS = 3000
HASHED = 8
"""Jobs of a cron with an `H` of which each is counted by its own times."""


class Crowds(Struct, frozen=True, kw_only=True):
    """The jobs that run before an instant, by schedule."""

    crowds: list[Crowd]
    is_sample: bool
    """Whether a part of the jobs stands for all."""


async def list_crowds(db: Runner, *, now: datetime, until: datetime) -> Crowds:
    """Gather the jobs that are planned to run before `until`, those with many jobs first."""
    [size] = await db.fetch("heat.size")
    share = min(SAMPLED / max(size["jobs"], 1), 1.0)
    rows = await db.fetch(
        "heat.crowds",
        percent=share * 100,
        now=now,
        until=until,
        hashed=HASHED,
        most=MAX_CROWDS,
    )
    crowds = [
        Crowd(
            schedule=schedule(row),
            at=row["at"],
            anchor=row["anchor"],
            next_run=row["next_run"],
            jobs=row["jobs"] / share,
            ids=row["ids"] or (),
            names=row["names"],
        )
        for row in rows
    ]
    return Crowds(crowds=crowds, is_sample=share < 1)
