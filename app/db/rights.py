"""The rights in Postgres that Tocsin's role lacks for what Tocsin does."""

from enum import StrEnum

from msgspec import Struct

from app.db.database import Runner
from app.errors import RightMissing


class Purpose(StrEnum):
    """What a right is needed for."""

    INSTANCE = "instance"
    """Rights to look, claim and settle: without one of them an instance cannot run."""
    UPKEEP = "upkeep"
    """Rights for upkeep, flows, calendars, pauses, checks: without one such work is left undone."""
    API = "api"
    """Rights to read and write jobs, keys and secrets."""
    SIGHT = "sight"
    """Rights to see the sessions of other roles."""


class Lacking(Struct, frozen=True, kw_only=True):
    """A right that a role does not have, such as `UPDATE on tocsin.jobs`."""

    role: str
    purpose: Purpose
    right: str


async def list_lacking(db: Runner) -> list[Lacking]:
    """List the rights that Tocsin's role does not have."""
    return [
        Lacking(role=row["role"], purpose=Purpose(row["purpose"]), right=row["lacking"])
        for row in await db.fetch("rights.lacking")
    ]


def named(rights: list[Lacking], purpose: Purpose) -> str:
    """Name the missing rights that one purpose needs; empty if none is missing."""
    return ", ".join(one.right for one in rights if one.purpose is purpose)


async def check(db: Runner) -> str:
    """Make sure that an instance can run; return what `UPKEEP` lacks, as a sentence.

    Raises:
        RightMissing: the role lacks a right of `Purpose.INSTANCE`.
    """
    found = await list_lacking(db)
    if needed := named(found, Purpose.INSTANCE):
        message = (
            f"the role {found[0].role} lacks {needed}: let the owner of the tables grant that, "
            'as under "Roles" in docs/security.md'
        )
        raise RightMissing(message)
    wanted = named(found, Purpose.UPKEEP)
    return f"the role {found[0].role} lacks {wanted}" if wanted else ""
