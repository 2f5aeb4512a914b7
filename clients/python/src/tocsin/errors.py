"""What goes wrong, as exceptions: refusals of the API by what to do about them, and no answer."""

from collections.abc import Mapping
from typing import ClassVar

import msgspec
from msgspec import Struct

PROBLEM_TYPE = "urn:tocsin:problem:"
MAX_RETRY_AFTER = 86_400.0


class TocsinError(Exception):
    """Base of all errors of the client."""


class Unreachable(TocsinError):
    """No answer came: the request may have been carried out, or not."""


class NotConnected(Unreachable):
    """No connection was made: the request was not carried out."""


class UnexpectedAnswer(TocsinError):
    """Something else than Tocsin's API answered, such as a proxy."""


class FieldError(Struct, frozen=True, kw_only=True):
    """An error in one field of a request, with what to write instead."""

    field: str
    """The path of the field: `cron`, `target.url`, `[3].name`; `$` is the whole."""
    message: str


class Problem(Struct, frozen=True, kw_only=True):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[FieldError, ...] = ()


class Refused(TocsinError):
    """The API refuses a request; nothing was changed."""

    statuses: ClassVar[frozenset[int]] = frozenset()
    """The statuses that mean this."""

    def __init__(
        self, problem: Problem, *, retry_after: float | None = None, request_id: str | None = None
    ) -> None:
        said = [problem.detail]
        said += [
            line
            for one in problem.errors
            if (line := f"{one.field}: {one.message}") not in problem.detail
        ]
        super().__init__("\n".join(said))
        self.problem = problem
        self.retry_after = retry_after
        """Seconds after which the API wants to be asked again; None: it does not say."""
        self.request_id = request_id
        """The id under which the log of the API has the request."""

    @property
    def status(self) -> int:
        """The status of HTTP."""
        return self.problem.status

    @property
    def kind(self) -> str:
        """What went wrong, in a word such as `job-not-found`."""
        return self.problem.type.removeprefix(PROBLEM_TYPE)

    @property
    def errors(self) -> tuple[FieldError, ...]:
        """The fields that have to change, each with a remedy."""
        return self.problem.errors


class Invalid(Refused):
    """The request breaks a rule: `errors` names each field and its remedy."""

    statuses = frozenset({400, 405, 406, 413, 415, 422})


class Denied(Refused):
    """The API key is missing or not accepted, or lacks a scope."""

    statuses = frozenset({401, 403})


class NotFound(Refused):
    """There is nothing of this id or name."""

    statuses = frozenset({404})


class Conflict(Refused):
    """What is there does not allow this: a name is taken, a job is paused, a set has changed."""

    statuses = frozenset({409})


class Edited(Conflict):
    """Somebody edited the job since it was read: get it again, and make the edit on that."""

    statuses = frozenset({412})


class RateLimited(Refused):
    """Too many requests came; `retry_after` says when to go on."""

    statuses = frozenset({429})


class Unavailable(Refused):
    """The API cannot do it now, as a rule because its database is away. It may have been done."""

    statuses = frozenset({502, 503, 504})


class Failed(Refused):
    """The API has a bug, of which its log says more. The request may have been carried out."""

    statuses = frozenset({500})


KINDS: tuple[type[Refused], ...] = (
    Invalid,
    Denied,
    NotFound,
    Conflict,
    Edited,
    RateLimited,
    Unavailable,
    Failed,
)
"""What an answer is, by its status."""


def refusal(status: int, headers: Mapping[str, str], body: bytes, *, url: str) -> TocsinError:
    """Return the error that an answer stands for."""
    kind = next((one for one in KINDS if status in one.statuses), None)
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = f"{url} answers {status}, but not as the API of Tocsin does"
        if kind not in (Unavailable, RateLimited):
            return UnexpectedAnswer(message)
        problem = Problem(type="about:blank", title="", status=status, detail=message)
    return (kind or Refused)(
        problem,
        retry_after=seconds_in(headers.get("retry-after")),
        request_id=headers.get("x-request-id"),
    )


def seconds_in(retry_after: str | None) -> float | None:
    """Read a `Retry-After` in seconds; dates, which the API does not send, are passed over."""
    if retry_after is None or not (retry_after.isascii() and retry_after.isdigit()):
        return None
    return min(float(retry_after[:6]), MAX_RETRY_AFTER)
