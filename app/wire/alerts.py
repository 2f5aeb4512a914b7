"""Alert rules, channels and alerts, as they are written and answered."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct, field

from app.core.alerts.messages import Preset
from app.core.alerts.rules import Event
from app.core.jobs.job import ONE_YEAR
from app.core.jobs.names import MAX_NAME_LENGTH, Tag
from app.errors import FieldError
from app.wire.pages import Page

MAX_CHANNELS = 20
MAX_AFTER = 1000
TIMED = frozenset({Event.LATE, Event.NOT_SUCCEEDED})
"""The events of rules that have `seconds`."""
ChannelName = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH)]


class RuleDocument(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is told, of which jobs, and by which channels."""

    events: Annotated[
        list[Event],
        Meta(
            min_length=1,
            max_length=20,
            description="recovered is told of what was told before; alone, of failures.",
        ),
    ]
    job: (
        Annotated[str, Meta(min_length=1, description="The id or the name of a job: only of that.")]
        | None
    ) = None
    tag: Annotated[Tag, Meta(description="Only of jobs that have it.")] | None = None
    after: Annotated[int, Meta(ge=1, le=MAX_AFTER, description="How many in a row.")] = 1
    seconds: (
        Annotated[
            float,
            Meta(
                ge=1,
                le=ONE_YEAR,
                description="How late, or how long without a success: of these two events.",
            ),
        ]
        | None
    ) = None
    reasons: (
        Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=100)]],
            Meta(
                min_length=1,
                max_length=20,
                description="Of missed runs, such as misfire and overlap; null: all but paused "
                "and skipped.",
            ),
        ]
        | None
    ) = None
    channels: Annotated[
        list[ChannelName], Meta(max_length=MAX_CHANNELS, description="None: it is on record only.")
    ] = field(default_factory=list)

    def errors(self) -> Iterator[FieldError]:
        """Check what the types cannot say."""
        if self.job is not None and self.tag is not None:
            yield FieldError(field="tag", message="is given beside job: leave one of them out")
        timed = sorted({*self.events} & TIMED)
        if timed and self.seconds is None:
            yield FieldError(field="seconds", message=f"is missing: {timed[0]} needs it")
        elif self.seconds is not None and not timed:
            message = f"is of {' and '.join(sorted(TIMED))} alone: leave it out"
            yield FieldError(field="seconds", message=message)
        if Event.NOT_SUCCEEDED in self.events and self.job is None and self.tag is None:
            message = "has not_succeeded, which is about a job or a tag: name one"
            yield FieldError(field="events", message=message)
        if self.tag is not None and "," in self.tag:
            yield FieldError(field="tag", message="has a comma, which no tag has: remove it")


class AlertRule(Struct, frozen=True, kw_only=True):
    """An alert rule as stored."""

    name: str
    events: list[str]
    job: Annotated[str | None, Meta(description="The job's name, or its id if it has none.")]
    tag: str | None
    after: int
    seconds: float | None
    reasons: list[str] | None
    channels: list[str]
    told_jobs: Annotated[
        int, Meta(description="For how many jobs it has told of something that is not over.")
    ]
    created_at: datetime
    updated_at: datetime


class AlertRulePage(Page[AlertRule], frozen=True, kw_only=True):
    """Alert rules, by name."""


class ChannelDocument(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where alerts go to, and in what form."""

    preset: Preset = Preset.WEBHOOK
    target: Annotated[
        dict[str, Any],
        Meta(
            description="That of an http job, without a body. Secrets by name: ${secret:NAME}.",
            examples=[{"url": "https://hooks.slack.com/services/${secret:slack}"}],
        ),
    ]


class Channel(Struct, frozen=True, kw_only=True):
    """A channel as stored; a secret that was written in SQL reads `***`."""

    name: str
    preset: str
    target: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class ChannelPage(Page[Channel], frozen=True, kw_only=True):
    """Channels, by name."""


class Delivery(StrEnum):
    """How the delivery of an alert stands."""

    NONE = "none"
    """It is on record only."""
    WAITING = "waiting"
    """It has yet to be sent, perhaps with others."""
    SENT = "sent"
    """The job that delivers it has yet to succeed."""
    DELIVERED = "delivered"
    FAILED = "failed"


class ToldAlert(Struct, frozen=True, kw_only=True):
    """What was told of one job by one channel, and whether it arrived."""

    id: UUID
    at: datetime
    rule: Annotated[str | None, Meta(description="Null: a test of the channel.")]
    event: str
    job_id: UUID | None
    job: Annotated[str | None, Meta(description="As the job was called then.")]
    many: Annotated[int | None, Meta(description="How many in a row.")]
    since: Annotated[datetime | None, Meta(description="The end of the first of these.")]
    execution_id: Annotated[int | None, Meta(description="The latest of these.")]
    why: str | None
    channel: str | None
    delivery: Delivery
    delivery_id: Annotated[
        UUID | None, Meta(description="The job that delivers it; several may share one.")
    ]
    delivered_at: datetime | None
    failed_at: datetime | None
    error: Annotated[str | None, Meta(description="Why it was not delivered.")]


class AlertPage(Page[ToldAlert], frozen=True, kw_only=True):
    """Alerts, newest first."""
