"""Why jobs have not run: what `tocsin.explain` answers."""

from datetime import datetime

import msgspec

from app.core.jobs.job import JobState
from app.db.database import Runner
from app.db.jobs import addressed, not_found
from app.wire.explanations import Explanation, Facts, Reason

FACTS = msgspec.json.Decoder(Facts)


async def explain(db: Runner, reference: str, *, at: datetime | None = None) -> Explanation:
    """Explain how a job stands, or what became of the run that was due at an instant.

    Raises:
        JobNotFound: no job has the id or name.
    """
    rows = await db.fetch("jobs.explain", **addressed(reference), at=at)
    if not rows:
        raise not_found(reference)
    reasons = [
        Reason(
            reason=row["reason"],
            detail=row["detail"],
            since=row["since"],
            until=row["until"],
            facts=FACTS.decode(row["facts"]),
        )
        for row in rows
    ]
    return Explanation(
        state=JobState(rows[0]["state"]),
        summary=reasons[0].detail,
        next_run=rows[0]["next_run"],
        reasons=reasons,
    )
