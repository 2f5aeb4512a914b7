"""Sessions of browsers: how they begin, and who is signed in."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from app.core.access.api_key import Scope
from app.core.secrets.masking import SECRET, Masked
from app.wire.keys import AllowedHosts, DefaultEnd, MaxJobs, MinInterval

MAX_KEY_LENGTH = 200
"""The most characters of a key; Tocsin's keys have 84."""


class SignIn(Masked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to sign in with."""

    key: Annotated[str, Meta(max_length=MAX_KEY_LENGTH, description="An API key."), SECRET]


class SessionLimits(Struct, frozen=True, kw_only=True):
    """The limits to which the jobs keep that the caller writes."""

    max_jobs: MaxJobs | None = None
    min_interval_seconds: MinInterval | None = None
    allowed_hosts: AllowedHosts | None = None
    default_ends_in_seconds: DefaultEnd | None = None


class SessionState(Struct, frozen=True, kw_only=True):
    """The caller that is signed in."""

    actor: Annotated[str, Meta(description="As the audit log names it.")]
    scopes: Annotated[list[Scope], Meta(description="What may be done.")]
    expires_at: Annotated[
        datetime | None, Meta(description="Null: no session, but a key, or no need of one.")
    ]
    limits: Annotated[SessionLimits | None, Meta(description="Of the API key, if it has any.")] = (
        None
    )
