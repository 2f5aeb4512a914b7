"""Parameters that several handlers have, and dependencies that the application provides."""

from typing import Annotated

from litestar.di import NamedDependency
from litestar.params import HeaderParameter, PathParameter, QueryParameter

from app.core.runs.outcome import Outcome
from app.db import Database
from app.db.clock import PolledClock
from app.vault import SecretKeys

Db = NamedDependency[Database]
Clock = NamedDependency[PolledClock]
Keys = NamedDependency[SecretKeys]

Reference = Annotated[str, PathParameter(description="The id or the name of a job.")]
IfMatch = Annotated[
    str | None,
    HeaderParameter(name="If-Match", description="Only if the job still has this ETag; else 412."),
]
Limit = Annotated[int, QueryParameter(ge=1, le=200, description="Items of a page, at most.")]
Cursor = Annotated[
    str | None, QueryParameter(description="next_cursor of the page before; the filters again.")
]
OUTCOMES_DESCRIPTION = f"Any of {', '.join(Outcome)}: repeated, or separated by commas."
