"""Alert rules, channels and alerts, as they are written and answered."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct, field

from app.core.alerts.presets import Preset
from app.core.alerts.rules import Event
from app.core.jobs.job import ONE_YEAR
from app.core.jobs.names import MAX_NAME_LENGTH, Tag
from app.errors import FieldError
from app.wire.pages import Page

MAX_CHANNELS = 20
MAX_AFTER = 1000
MAX_FACTOR = 1000
MAX_MORE_THAN = 100_000
TIMED = frozenset({Event.LATE, Event.NOT_SUCCEEDED})
"""The events of rules that need `seconds`."""
MAY_BE_TIMED = TIMED | {Event.SLOW, Event.BACKLOG, Event.NO_INSTANCE}
"""The events of rules that may have `seconds`."""
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
                description="How late, how long without a success, longer than what a run is slow, "
                "and for how long jobs are due, of backlog and no_instance.",
            ),
        ]
        | None
    ) = None
    factor: (
        Annotated[
            float,
            Meta(
                ge=1,
                le=MAX_FACTOR,
                description="Of slow: how many times as long as the median of the job's last runs.",
            ),
        ]
        | None
    ) = None
    more_than: (
        Annotated[
            int,
            Meta(ge=0, le=MAX_MORE_THAN, description="Of backlog: how many are due, not started."),
        ]
        | None
    ) = None
    remind_seconds: (
        Annotated[
            float,
            Meta(
                ge=60,
                le=ONE_YEAR,
                description="How long after it was told what is not over is told again.",
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
                description="Of missed runs, such as misfire and overlap; null: all but paused, "
                "skipped, calendar and maintenance.",
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
        events = {*self.events}
        timed = sorted(events & TIMED)
        if timed and self.seconds is None:
            yield FieldError(field="seconds", message=f"is missing: {timed[0]} needs it")
        elif self.seconds is not None and not events & MAY_BE_TIMED:
            message = f"is of {', '.join(sorted(MAY_BE_TIMED))} alone: leave it out"
            yield FieldError(field="seconds", message=message)
        for event, name, value in (
            (Event.SLOW, "factor", self.factor),
            (Event.BACKLOG, "more_than", self.more_than),
        ):
            if event in events and value is None and self.seconds is None:
                message = f"is missing: {event} needs this, or seconds"
                yield FieldError(field=name, message=message)
            elif event not in events and value is not None:
                yield FieldError(field=name, message=f"is of {event} alone: leave it out")
        if Event.NO_INSTANCE in events and (self.job is not None or self.tag is not None):
            message = "has no_instance, which is about all jobs: name no job and no tag"
            yield FieldError(field="events", message=message)
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
    factor: float | None
    more_than: int | None
    remind_seconds: float | None
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
            description="That of an http job, of an amqp or smtp one where the preset says so, "
            "without a body. Secrets by name: ${secret:NAME}.",
            examples=[{"url": "https://hooks.slack.com/services/${secret:slack}"}],
        ),
    ]
    fallback: (
        Annotated[
            ChannelName, Meta(description="The channel that is told what this cannot deliver.")
        ]
        | None
    ) = None


class Channel(Struct, frozen=True, kw_only=True):
    """A channel as stored; a secret that was written in SQL reads `***`."""

    name: str
    preset: str
    target: dict[str, Any]
    fallback: str | None
    failed: Annotated[int, Meta(description="How many alerts of a week it did not deliver.")]
    last_failed_at: datetime | None
    last_error: Annotated[str | None, Meta(description="Why it did not deliver the latest.")]
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
    of_event: Annotated[str | None, Meta(description="What is over, of recovered; else the event.")]
    is_reminder: bool
    job_id: Annotated[UUID | None, Meta(description="Null: it is about no single job.")]
    job: Annotated[str | None, Meta(description="As the job was called then.")]
    many: Annotated[int | None, Meta(description="How many in a row.")]
    since: Annotated[datetime | None, Meta(description="The end of the first of these.")]
    execution_id: Annotated[int | None, Meta(description="The latest of these.")]
    why: str | None
    channel: str | None
    instead_of: Annotated[
        UUID | None, Meta(description="The alert that another channel could not deliver.")
    ]
    delivery: Delivery
    delivery_id: Annotated[
        UUID | None, Meta(description="The job that delivers it; several may share one.")
    ]
    delivered_at: datetime | None
    failed_at: datetime | None
    error: Annotated[str | None, Meta(description="Why it was not delivered.")]


class AlertPage(Page[ToldAlert], frozen=True, kw_only=True):
    """Alerts, newest first."""
