"""What the process that renders templates is sent, and what it answers."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct
from msgspec import field as of_struct

from app.core.secrets.masking import Unshown

MAX_OUTPUT = 256 * 1024
"""The most characters that the templates of one target may become together."""

Cause = Literal["mistake", "failed", "cpu", "memory", "output", "ended"]
"""Why templates were not rendered. `mistake`: no run could render them. `failed`: an error at this
run. `cpu`, `memory`, `output`: a limit. `ended`: the process that rendered them ended."""


class RunFacts(Struct, frozen=True, kw_only=True):
    """The variable `run`."""

    scheduled_for: datetime
    previous: datetime | None = None
    next: datetime | None = None
    key: str
    trigger: str | None = None


class JobFacts(Struct, frozen=True, kw_only=True):
    """The variable `job`."""

    id: UUID
    name: str | None
    tags: list[str]
    metadata: dict[str, Any]
    last_outcome: str | None
    last_finished_at: datetime | None
    consecutive_failures: int
    runs: int


class Variables(Unshown, frozen=True, kw_only=True):
    """All that templates can refer to."""

    run: RunFacts
    attempt: int
    job: JobFacts


class Text(Unshown, frozen=True, kw_only=True):
    """One template."""

    field: str
    """The path of the text in the target, as errors name the field."""
    top: str
    """The field of the target that the text stands in, which decides on escaping."""
    source: str


class Request(Unshown, frozen=True, kw_only=True):
    """The templates of one target, to be rendered together."""

    id: int
    cpu_seconds: float
    texts: list[Text]
    variables: Variables


class Answer(Unshown, frozen=True, kw_only=True):
    """The rendered texts, in the order of the request, or why there are none."""

    id: int
    texts: list[str] = of_struct(default_factory=list)
    cause: Cause | None = None
    where: str = "target"
    """The field of the template that is at fault."""
    message: str = ""
