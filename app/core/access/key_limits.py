"""The limits of an API key: which jobs a program may write with it.

A limit judges what a write changes. What another client wrote already may break it: such a job can
be edited in its other fields.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from app.core.access.api_key import Scope
from app.core.jobs.exact_json import same
from app.core.jobs.job import HUNDRED_YEARS, SCHEDULE_FIELDS, JobDocument
from app.core.schedule.gaps import shortest_gap
from app.core.schedule.schedule import LATEST, MAX_SECONDS, MIN_SECONDS, Schedule, instant_error
from app.core.schedule.words import UNITS
from app.core.secrets.bindings import MAX_HOSTS, host_error, place_of, strangers
from app.errors import FieldError, InvalidInput, KeyLimitError

MAX_JOBS = 1_000_000
"""The largest `max_jobs`."""
SHORTEST_END_SECONDS = 1
"""The smallest `default_ends_in_seconds`; the largest is `HUNDRED_YEARS`."""
MANY_HOSTS = 5
"""How many allowed hosts a refusal names."""


class KeyLimits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The limits of one API key; None stands for no limit."""

    key_id: UUID | None = None
    """Whose limits they are."""
    max_jobs: int | None = None
    """How many of the jobs that exist the key may have made."""
    min_interval_seconds: float | None = None
    """The shortest time from one run of a job to its next."""
    allowed_hosts: tuple[str, ...] | None = None
    """Where its jobs may send to: hosts and origins, as those that a secret is bound to."""
    default_ends_in_seconds: float | None = None
    """When a recurring job ends that has no `ends_at`: so long after now, or after its start."""

    def errors(self) -> Iterator[FieldError]:
        """Check limits that are to be given to a key."""
        for name, least, most in (
            ("max_jobs", 1, MAX_JOBS),
            ("min_interval_seconds", MIN_SECONDS, MAX_SECONDS),
            ("default_ends_in_seconds", SHORTEST_END_SECONDS, HUNDRED_YEARS),
        ):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                message = f"{value} is out of range: write {least} to {most}, or null for no limit"
                yield FieldError(field=name, message=message)
        hosts = self.allowed_hosts
        if hosts is not None and not 1 <= len(hosts) <= MAX_HOSTS:
            message = f"must name 1 to {MAX_HOSTS} hosts: write them, or null for no limit"
            yield FieldError(field="allowed_hosts", message=message)
        for index, host in enumerate((hosts or ())[:MAX_HOSTS]):
            if error := host_error(host):
                yield FieldError(field=f"allowed_hosts[{index}]", message=error)

    def is_any(self) -> bool:
        """Return whether there is any limit."""
        return replace(self, key_id=None) != NO_LIMITS


NO_LIMITS = KeyLimits()


def check_limits(limits: KeyLimits, scopes: Iterable[Scope]) -> None:
    """Refuse limits that a key of these scopes cannot have.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    errors = [*limits.errors()]
    if limits.is_any() and Scope.ADMIN in scopes:
        message = "admin may make keys without limits: leave it out, or the limits"
        errors.append(FieldError(field="scopes", message=message))
    if errors:
        raise InvalidInput(*errors)


def ended(
    document: JobDocument, limits: KeyLimits, *, before: JobDocument | None = None, now: datetime
) -> JobDocument:
    """Return a job as it is to be written, with an end if it recurs, has none and gets one.

    A job that has an end ahead of its start keeps that end, so that to write the same again changes
    nothing. A job that another client left without an end is given none as long as its schedule
    stays as it is. No end is later than the last instant that a job can have.
    """
    seconds = limits.default_ends_in_seconds
    recurs = document.cron is not None or document.every_seconds is not None
    if seconds is None or not recurs or document.ends_at is not None:
        return document
    if instant_error(document.starts_at):  # which is refused
        return document
    begins = max(now, document.starts_at or now)
    if before is not None and before.ends_at is not None and before.ends_at > begins:
        return replace(document, ends_at=before.ends_at)
    if before is not None and all(
        same(getattr(document, name), getattr(before, name)) for name in SCHEDULE_FIELDS
    ):
        return document
    end = rounded_up(begins + timedelta(seconds=seconds), seconds)
    return replace(document, ends_at=min(end, LATEST))


def rounded_up(end: datetime, seconds: float) -> datetime:
    """Return an end rounded up to the next hour, minute or second that is small beside `seconds`.

    A plan of a set so has the same end as its application a moment later.
    """
    unit = next(unit for unit in (3600, 60, 1) if seconds >= 24 * unit or unit == 1)
    return end + timedelta(seconds=-end.timestamp() % unit)


def interval_errors(
    schedule: Schedule, limits: KeyLimits, *, job_id: UUID, now: datetime
) -> Iterator[KeyLimitError]:
    """Refuse a valid schedule that runs more often than a job of the key may."""
    least = limits.min_interval_seconds
    if least is None:
        return
    gap = shortest_gap(schedule, job_id=job_id, now=now)
    if gap is not None and gap < least:
        message = (
            f"has runs that are {in_time(gap)} apart, and the limit min_interval_seconds of the "
            f"API key is {in_time(least)}: let it run less often, or use a key that may do this"
        )
        field = "every_seconds" if schedule.cron is None else "cron"
        yield KeyLimitError(field=field, message=message)


def host_errors(
    target: dict[str, Any], addresses: Sequence[str], limits: KeyLimits
) -> Iterator[KeyLimitError]:
    """Refuse a valid target for each of its `addresses` that a job of the key may not send to."""
    allowed = limits.allowed_hosts
    if allowed is None:
        return
    for address in dict.fromkeys(addresses):
        if foreign := strangers(allowed, [place_of(address)]):
            where = str(foreign[0]) if foreign[0].host else "an address without a host"
            message = (
                f"leads to {where}, and the limit allowed_hosts of the API key has only "
                f"{listed(allowed)}: call one of these, or use a key that may do this"
            )
            field = "target.url" if address == target.get("url") else "target"
            yield KeyLimitError(field=field, message=message)


def listed(hosts: Sequence[str]) -> str:
    """Name the allowed hosts, or the first few of many."""
    more = f" and {len(hosts) - MANY_HOSTS} more" if len(hosts) > MANY_HOSTS else ""
    return f"{', '.join(hosts[:MANY_HOSTS])}{more}"


def in_words(limits: KeyLimits) -> list[str]:
    """Say what the limits are, each in a few words."""
    words = []
    if limits.max_jobs is not None:
        words.append(f"at most {limits.max_jobs} job{'' if limits.max_jobs == 1 else 's'}")
    if limits.min_interval_seconds is not None:
        words.append(f"runs at least {in_time(limits.min_interval_seconds)} apart")
    if limits.allowed_hosts is not None:
        words.append(f"only to {listed(limits.allowed_hosts)}")
    if limits.default_ends_in_seconds is not None:
        words.append(f"ends after {in_time(limits.default_ends_in_seconds)}")
    return words


def in_time(seconds: float) -> str:
    """Word a duration in the largest unit of which it is a multiple."""
    for size, unit in UNITS:
        if seconds >= size and seconds % size == 0:
            many = int(seconds // size)
            return f"{many} {unit}{'' if many == 1 else 's'}"
    return f"{seconds:g} seconds"
