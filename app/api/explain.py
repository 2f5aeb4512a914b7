"""Why a job has not run, or when it will."""

from datetime import datetime
from typing import Annotated

from litestar import get
from litestar.params import QueryParameter

from app.api.parameters import Db, Reference
from app.core.access.api_key import Scope
from app.db import explanations
from app.wire.explanations import Explanation
from app.wire.filters import sound


@get(
    "/{job:str}/explain",
    operation_id="explainJob",
    summary="Explain why a job has not run, or when it will",
    opt={"scope": Scope.READ, "problems": (404, 422)},
)
async def explain_job(
    db: Db,
    job: Reference,
    at: Annotated[
        datetime | None,
        QueryParameter(
            description="What became of the run that was due then; none: how it stands."
        ),
    ] = None,
) -> Explanation:
    """In words and as fields; the first reason is what holds the job now.

    `tocsin.explain('nightly-report')` answers the same in SQL. New reasons may be added.
    """
    return await explanations.explain(db, job, at=sound(at, "at"))
