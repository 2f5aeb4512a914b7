"""Tests of targets, as they are asked for and answered."""

from typing import Annotated, Any

from msgspec import Meta, Struct, field

from app.core.jobs.job import MAX_TAGS
from app.core.jobs.names import Name, Tag
from app.core.runs.outcome import Outcome
from app.core.secrets.masking import SECRET, Masked

MAX_SECONDS = 20.0
"""The longest that a test may take, in seconds: clients and proxies wait for 30 s, as a rule."""

Limit = Annotated[
    float, Meta(ge=0.1, le=MAX_SECONDS, description="How long it may take; a job's own, up to 20.")
]


class TargetTest(Masked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A target that is to be tried before any job has it."""

    kind: Annotated[str, Meta(description="Which executor carries it out.", examples=["http"])]
    target: Annotated[
        dict[str, Any],
        Meta(
            description="The kind's instructions, as a job has them.",
            examples=[{"url": "https://example.com/report"}],
        ),
        SECRET,
    ]
    timeout_seconds: Limit = MAX_SECONDS
    job: Annotated[
        str | None, Meta(description="The id or name of the job whose secrets *** stands for.")
    ] = None
    name: Annotated[Name | None, Meta(description="What templates know it by.")] = None
    tags: Annotated[tuple[Tag, ...], Meta(max_length=MAX_TAGS)] = ()
    metadata: dict[str, Any] = field(default_factory=dict)


class JobTest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a job is tested; all of it may be left out."""

    timeout_seconds: Limit | None = None


class TestedTarget(Struct, frozen=True, kw_only=True):
    """What came of a test; there is no record of it."""

    outcome: Annotated[Outcome | None, Meta(description="Null after a dry run, which sends none.")]
    reason: Annotated[str | None, Meta(description="A stable word, such as status or dns.")]
    error: str | None
    status_code: int | None
    duration_seconds: float | None
    response: Annotated[str | None, Meta(description="The first part of what was answered.")]
    idempotency_key: Annotated[str, Meta(description="That of the test, which no run has.")]
