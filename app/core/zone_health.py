"""Judges the time zone rules in use: by this process, by the instances and by Postgres."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec import Struct

from app.core.health import Finding, finding
from app.core.schedule.zone_rules import Rules

NAMED = 3
"""How many of the zones that differ a finding names."""


class UsedRules(Struct, frozen=True, kw_only=True):
    """The time zone rules that one instance plans by."""

    name: str
    version: str
    source: str
    slots: int | None = None
    """How many executions the instance carries out at once; None: it does not say."""
    product: str | None = None
    """The version of Tocsin that it is."""


def rules_findings(
    mine: Rules,
    *,
    present: Mapping[str, str],
    instances: Sequence[UsedRules],
    differing: Collection[str],
) -> Iterator[Finding]:
    """Judge whether all processes have the same rules, and Postgres the same offsets.

    `mine` are the rules of this process, `present` the versions on this machine by source,
    `differing` the zones for which Postgres has other offsets.
    """
    here = ", ".join(f"{source} {version or 'unknown'}" for source, version in present.items())
    used = ", ".join(f"{one.name} {one.version or 'unknown'}" for one in instances)
    versions = {one.version for one in instances} | {mine.version}
    yield finding(
        "zone rules",
        f"here {mine} of {here}; instances: {used or 'none has said'}",
        "Give every process, the API too, the newest (tzdata of the system or of Python, "
        "TOCSIN_TZDATA): one with older rules plans by them, which the newest puts right hourly."
        if len(versions) > 1
        else "",
    )
    yield Finding(
        subject="zones of Postgres",
        found=f"differ from these for {some(differing)}"
        if differing
        else "agree with these for the coming two years",
        remedy="Jobs are not planned by them, but `at time zone` in your SQL goes by them: "
        "update Postgres or the tzdata of its system."
        if differing
        else "",
        grave=False,
    )


def some(zones: Collection[str]) -> str:
    """Name the first few zones, and how many more there are."""
    shown = sorted(zones)[:NAMED]
    more = len(zones) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
