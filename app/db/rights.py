"""What the role that we log in as may not do, of what we do."""

from enum import StrEnum

from msgspec import Struct

from app.db.database import Runner
from app.errors import RightMissing


class Purpose(StrEnum):
    """What a right is needed for."""

    INSTANCE = "instance"
    """To look, claim and settle: without one of these an instance does nothing."""
    UPKEEP = "upkeep"
    """To make partitions and delete what is old: without one of these that stays undone."""
    API = "api"
    SIGHT = "sight"
    """To see the sessions of other roles."""


class Lacking(Struct, frozen=True, kw_only=True):
    """A right that a role does not have, such as `UPDATE on tocsin.jobs`."""

    role: str
    purpose: Purpose
    right: str


async def lacking(db: Runner) -> list[Lacking]:
    """List the rights that our role does not have."""
    return [
        Lacking(role=row["role"], purpose=Purpose(row["purpose"]), right=row["lacking"])
        for row in await db.fetch("rights.lacking")
    ]


def named(rights: list[Lacking], purpose: Purpose) -> str:
    """Name those that one purpose needs; empty: it has them all."""
    return ", ".join(one.right for one in rights if one.purpose is purpose)


async def check(db: Runner) -> str:
    """Make sure that an instance can work; return what its upkeep will not be able to do.

    Raises:
        RightMissing: naming those that it cannot do without.
    """
    found = await lacking(db)
    if needed := named(found, Purpose.INSTANCE):
        message = (
            f"the role {found[0].role} lacks {needed}: let the owner of the tables grant that, "
            'as under "Roles" in docs/security.md'
        )
        raise RightMissing(message)
    wanted = named(found, Purpose.UPKEEP)
    return f"the role {found[0].role} lacks {wanted}" if wanted else ""
