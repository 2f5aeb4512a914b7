"""API keys as they are asked for and answered."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from app.core.access.api_key import Scope
from app.core.access.key_limits import MAX_JOBS, SHORTEST_END_SECONDS, KeyLimits
from app.core.jobs.job import HUNDRED_YEARS, seconds
from app.core.jobs.names import MAX_NAME_LENGTH
from app.core.net.egress import MAX_HOST_LENGTH
from app.core.schedule.schedule import MAX_SECONDS, MIN_SECONDS
from app.core.secrets.bindings import MAX_HOSTS
from app.wire.pages import Page

MaxJobs = Annotated[
    int, Meta(ge=1, le=MAX_JOBS, description="How many of the jobs that exist it may have made.")
]
MinInterval = Annotated[
    float, seconds(MIN_SECONDS, MAX_SECONDS, "The shortest from run to run of what it schedules.")
]
AllowedHosts = Annotated[
    list[Annotated[str, Meta(max_length=MAX_HOST_LENGTH + len("https://[]:65535"))]],
    Meta(
        min_length=1,
        max_length=MAX_HOSTS,
        description="Where its jobs may send to: api.example.com, *.example.com, an address, or "
        "an origin such as https://api.example.com:8443.",
        examples=[["api.example.com", "*.internal.example.com"]],
    ),
]
DefaultEnd = Annotated[
    float,
    seconds(SHORTEST_END_SECONDS, HUNDRED_YEARS, "When its recurring jobs without ends_at end."),
]


class ApiKey(Struct, frozen=True, kw_only=True):
    """An API key as clients see it: without the secret part."""

    id: UUID
    name: str
    prefix: Annotated[str, Meta(description="The part of the key that may be shown.")]
    scopes: Annotated[list[Scope], Meta(description="Each includes those before it.")]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: Annotated[datetime | None, Meta(description="To the minute.")]
    revoked_at: datetime | None
    max_jobs: MaxJobs | None = None
    min_interval_seconds: MinInterval | None = None
    allowed_hosts: AllowedHosts | None = None
    default_ends_in_seconds: DefaultEnd | None = None


class KeyRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=MAX_NAME_LENGTH,
            description="Whose it is. Unique among those in force.",
            extra_json_schema={"pattern": r"^[^/\x00-\x1f\x7f-\x9f]+$"},
            examples=["deployment"],
        ),
    ]
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=len(Scope))]
    expires_in_seconds: (
        Annotated[float, Meta(gt=0, le=HUNDRED_YEARS, description="Seconds from now.")] | None
    ) = None
    max_jobs: MaxJobs | None = None
    min_interval_seconds: MinInterval | None = None
    allowed_hosts: AllowedHosts | None = None
    default_ends_in_seconds: DefaultEnd | None = None


class NewKey(ApiKey, frozen=True, kw_only=True):
    """A new key with its secret part, which is shown only here."""

    key: Annotated[str, Meta(description="Send it as Authorization: Bearer. Not shown again.")]


class KeyPage(Page[ApiKey], frozen=True, kw_only=True):
    """Keys, newest first."""


def limits_of(key: ApiKey | KeyRequest) -> KeyLimits:
    """Return the limits that a key has, or is to have."""
    hosts = key.allowed_hosts
    return KeyLimits(
        max_jobs=key.max_jobs,
        min_interval_seconds=key.min_interval_seconds,
        allowed_hosts=None if hosts is None else tuple(hosts),
        default_ends_in_seconds=key.default_ends_in_seconds,
    )
