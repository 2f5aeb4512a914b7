"""Judges what instances leave alone and leave behind, and names a remedy for each trouble."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec import Struct

from app.core.health import Finding

MAX_NAMED = 5
"""How many instances a finding names."""


class RestingJobs(Struct, frozen=True, kw_only=True):
    """Jobs that an instance leaves alone, as they can neither be claimed nor get a `plan_error`."""

    instance: str
    jobs: int
    example: str
    """The name of one of the jobs, or else its id."""
    problem: str
    """Why that one is left alone."""


class HeldLeases(Struct, frozen=True, kw_only=True):
    """The leases in the name of an instance that is not connected."""

    instance: str
    jobs: int
    until: datetime
    """When the last of them ends."""


def instance_findings(
    resting: Sequence[RestingJobs], held: Sequence[HeldLeases]
) -> Iterator[Finding]:
    """Judge what instances that run leave alone, and what those that are gone still hold."""
    told = "; ".join(
        f"{one.instance} leaves {one.jobs} alone, such as {one.example} ({one.problem})"
        for one in resting[:MAX_NAMED]
    )
    yield Finding(
        subject="jobs left alone",
        found=told or "none",
        remedy="They do not run, and take no plan_error. Correct or pause them, or what refuses "
        "them: a trigger, rule or constraint of yours. They are tried again each minute."
        if told
        else "",
    )
    gone = "; ".join(
        f"instance {one.instance} is gone, {one.jobs} jobs wait for its lease until "
        f"{one.until:%Y-%m-%d %H:%M:%S} UTC"
        for one in held[:MAX_NAMED]
    )
    yield Finding(
        subject="instances gone",
        found=gone or "none has left leases behind",
        remedy="Others start these jobs then. Sooner, if its process has ended for certain: "
        "update tocsin.jobs set locked_until = null where locked_by = its name."
        if gone
        else "",
        grave=False,
    )
