"""What `tocsin doctor` would warn of, as far as the role of the API may see it."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from msgspec import convert

from app.api.problems import unavailable
from app.core.health import (
    LATE_SECONDS,
    Finding,
    Vitals,
    findings,
    kinds_finding,
    others_finding,
    upkeep_finding,
)
from app.core.instance_health import HeldLeases, instance_findings
from app.core.session_health import OtherSession, session_findings
from app.db import kinds, resting
from app.db.database import Database
from app.errors import AppError, DatabaseUnavailable, RightMissing

Look = Callable[[Database], Awaitable[Sequence[Finding]]]


async def examine_vitals(db: Database, retention_days: int) -> Sequence[Finding]:
    [row] = await db.fetch(
        "doctor.vitals", retention_days=retention_days, late_seconds=LATE_SECONDS
    )
    return [*findings(convert(row, Vitals), host_now=datetime.now(UTC))]


async def examine_sessions(db: Database) -> Sequence[Finding]:
    sessions = [OtherSession(**row) for row in await db.fetch("doctor.sessions")]
    return [*session_findings(sessions)]


async def examine_instances(db: Database) -> Sequence[Finding]:
    gone = [HeldLeases(**row) for row in await db.fetch("doctor.gone")]
    return [*instance_findings(await resting.list_resting(db), gone)]


async def examine_upkeep(db: Database) -> Sequence[Finding]:
    return [upkeep_finding([row["trouble"] for row in await db.fetch("doctor.upkeep")])]


async def examine_others(db: Database) -> Sequence[Finding]:
    return [others_finding([row["name"] for row in await db.fetch("doctor.others")])]


async def examine_kinds(db: Database) -> Sequence[Finding]:
    return [kinds_finding(await kinds.list_unsupported(db))]


LOOKS: Sequence[Look] = (
    examine_sessions,
    examine_instances,
    examine_upkeep,
    examine_others,
    examine_kinds,
)


async def read_warnings(db: Database, *, retention_days: int) -> list[Finding]:
    """List what needs a remedy, the grave first.

    A part that cannot be looked at keeps no other one back.
    """

    async def examine_all(db: Database) -> Sequence[Finding]:
        return await examine_vitals(db, retention_days)

    found: list[Finding] = []
    for look in (examine_all, *LOOKS):
        try:
            found += await look(db)
        except RightMissing as error:
            found.append(
                Finding(
                    subject="rights",
                    found=f"not all can be looked at here: {error}",
                    remedy="Grant what docs/security.md has under Roles, or ask tocsin doctor.",
                    grave=False,
                )
            )
        except AppError as error:
            told = unavailable(error) if isinstance(error, DatabaseUnavailable) else str(error)
            found.append(
                Finding(
                    subject="looking",
                    found=f"not all could be looked at: {told}",
                    remedy="Ask tocsin doctor.",
                    grave=False,
                )
            )
    needed = dict.fromkeys(one for one in found if one.remedy)  # what hinders all is told once
    return sorted(needed, key=lambda one: not one.grave)
