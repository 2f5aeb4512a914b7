"""`tocsin doctor`: measures what an operator would look at, and prints what to do about it."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import click
from msgspec import convert

from app.config import Settings
from app.core.alert_health import FailingChannel, SilentRule, alert_findings
from app.core.calendar_health import (
    UnderWay,
    UsedCalendar,
    calendars_finding,
    maintenance_finding,
)
from app.core.flow_health import TroubledFlow, flows_finding
from app.core.health import (
    LATE_SECONDS,
    Finding,
    InvalidJob,
    UnsoundRuns,
    Vitals,
    findings,
    invalid_finding,
    key_finding,
    kinds_finding,
    others_finding,
    rights_finding,
    runs_finding,
    sequences_finding,
    transport_findings,
    unset_finding,
    upkeep_finding,
)
from app.core.instance_health import HeldLeases, instance_findings
from app.core.schedule.zone_rules import Rules, find_versions
from app.core.schedule.zones import offset_at, use_rules
from app.core.session_health import OtherSession, session_findings
from app.core.zone_health import rules_findings
from app.db import Database, kinds, migrate, resting, rights, zones
from app.db.pooler import refuse_shared_sessions
from app.dsn import parse
from app.errors import DatabaseRefused, DatabaseUnavailable, LockedByOthers, RightMissing
from app.vault import SecretKeys
from app.vault.rotate import check_named_secrets, check_targets, find_unset_secrets

MONTH = timedelta(days=30)
MAX_SEARCHED = 1000
"""How many of the newest jobs are searched for invalid ones, and how many for unsound runs."""
PROBED_MONTHS = 25
"""Offsets are compared once a month over two years, which finds every lasting difference."""


async def examine(settings: Settings) -> list[Finding]:
    """Return all findings.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
        SchemaOutdated: the schema is not the one this version needs.
        PoolerInTheWay: a pooler that shares sessions answers.
    """
    url = settings.required_database_url()
    await refuse_shared_sessions(url)
    async with Database.connect(url, application_name="tocsin doctor", max_connections=1) as db:
        found = [*await examine_sessions(db), *transport_findings(parse(url))]
        try:
            found.append(await examine_rights(db))
            with suppress(RightMissing):  # `examine_rights` has reported the missing rights
                await examine_tables(db, settings, found)
        except DatabaseRefused:
            raise
        except (LockedByOthers, DatabaseUnavailable) as error:  # earlier findings are still printed
            found.append(
                Finding(
                    subject="tables",
                    found=f"the rest could not be looked at: {error}",
                    remedy="End what is named under table locks, and run this again.",
                )
            )
    return found


def print_findings(found: Iterable[Finding]) -> None:
    """Print findings for people, each with its remedy below it."""
    for one in found:
        mark = "!!" if one.grave else "! "
        click.echo(f"{mark if one.remedy else 'ok'}  {one.subject:<18} {one.found}")
        if one.remedy:
            click.echo(f"    {'':<18} {one.remedy}")


async def examine_tables(db: Database, settings: Settings, found: list[Finding]) -> None:
    """Add the findings about Tocsin's tables to `found`, the vitals in front.

    Raises:
        LockedByOthers: another session has a table locked; earlier findings have been added.
        RightMissing: Tocsin's role may not read a table; earlier findings have been added.
    """
    await migrate.check(db)
    [vitals] = await db.fetch(
        "doctor.vitals", retention_days=settings.retention_days, late_seconds=LATE_SECONDS
    )
    found[:0] = findings(convert(vitals, Vitals), host_now=datetime.now(UTC))
    found += await examine_zones(db, use_rules(settings.tzdata), now=vitals["database_now"])
    keys = SecretKeys(settings.secret_keys)
    named, targets = await check_named_secrets(db, keys), await check_targets(db, keys)
    looked_at = named.looked_at + targets.looked_at
    found.append(key_finding(looked_at, named.unopened + targets.unopened))
    found.append(unset_finding(await find_unset_secrets(db)))
    gone = [HeldLeases(**row) for row in await db.fetch("doctor.gone")]
    found += instance_findings(await resting.list_resting(db), gone)
    rows = await db.fetch("doctor.upkeep")
    found.append(upkeep_finding([row["trouble"] for row in rows]))
    rows = await db.fetch("doctor.others")
    found.append(others_finding([row["name"] for row in rows]))
    found.append(kinds_finding(await kinds.list_unsupported(db)))
    rows = await db.fetch("doctor.invalid", most=MAX_SEARCHED)
    found.append(invalid_finding([InvalidJob(**row) for row in rows]))
    rows = await db.fetch("doctor.calendars")
    used = [UsedCalendar(**row) for row in rows]
    found.append(calendars_finding(used, now=vitals["database_now"]))
    rows = await db.fetch("doctor.maintenance")
    found.append(maintenance_finding([UnderWay(**row) for row in rows]))
    rows = await db.fetch("doctor.runs", most=MAX_SEARCHED)
    found.append(runs_finding([UnsoundRuns(**row) for row in rows]))
    rows = await db.fetch("doctor.flows", most=MAX_SEARCHED)
    found.append(flows_finding([TroubledFlow(**row) for row in rows]))
    silent = [SilentRule(**row) for row in await db.fetch("doctor.alert_rules") if row["problem"]]
    failing = [FailingChannel(**row) for row in await db.fetch("doctor.alert_channels")]
    found += alert_findings(silent, failing)
    rows = await db.fetch("doctor.sequences")
    found.append(sequences_finding([(row["name"], row["most"]) for row in rows]))


async def examine_sessions(db: Database) -> list[Finding]:
    """Judge the sessions that hold locks, before a statement of the doctor waits for a lock."""
    await db.fetch("doctor.hurry")
    sessions = [OtherSession(**row) for row in await db.fetch("doctor.sessions")]
    return list(session_findings(sessions))


async def examine_zones(db: Database, mine: Rules, *, now: datetime) -> list[Finding]:
    """Compare the time zone rules of this machine, of the instances, and of Postgres.

    Postgres does not tell the version of its rules, so its offsets are compared month by month.
    """
    instants = [now + MONTH * months for months in range(PROBED_MONTHS)]
    theirs = await zones.read_offsets(db, mine.names, instants)
    differing = {
        name
        for (name, at), seconds in theirs.items()
        if (zone := mine.zone(name)) and offset_at(zone, at).total_seconds() != seconds
    }
    found = rules_findings(
        mine, present=find_versions(), instances=await zones.list_used(db), differing=differing
    )
    return list(found)


async def examine_rights(db: Database) -> Finding:
    """Find the rights that Tocsin's role lacks."""
    lacking = await rights.list_lacking(db)
    return rights_finding(**{one: rights.named(lacking, one) for one in rights.Purpose})
