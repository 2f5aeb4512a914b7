"""Sets in Postgres, and what belongs to them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import asdict

from app.core.jobs.exact_json import DECODER
from app.core.sets.plan import Key, Member, MemberKind
from app.db.database import Database, Page, Row, Runner
from app.errors import SetNotFound
from app.wire.sets import SetMember, SetMembers, SetState

JSON = msgspec.json.Encoder()


async def lock(db: Runner) -> None:
    """Wait until no other application is under way, and keep others waiting until the end."""
    await db.fetch("sets.lock")


async def list_members(db: Runner, set_name: str, wanted: Sequence[Key]) -> list[Member]:
    """List what belongs to a set, and those of `wanted` that belong to others."""
    kinds, names = [kind for kind, _ in wanted], [name for _, name in wanted]
    rows = await db.fetch("sets.members", set_name=set_name, kinds=kinds, names=names)
    return [member(row) for row in rows]


async def list_owners(db: Runner, job_ids: Sequence[UUID]) -> Mapping[UUID, Member]:
    """Return the members that jobs are, by the ids of the jobs."""
    rows = await db.fetch("sets.owners", job_ids=job_ids)
    return {row["job_id"]: member(row) for row in rows}


async def find_set_of(db: Runner, job_id: UUID) -> str | None:
    """Return the set whose files have a job; None for none."""
    [row] = await db.fetch("sets.of_job", job_id=job_id)
    return str(row["set_name"]) if row["set_name"] is not None else None


def member(row: Row) -> Member:
    """Read a member out of a row."""
    columns = dict(row)
    applied = DECODER.decode(columns.pop("applied"))
    return Member(**columns | {"kind": MemberKind(columns["kind"])}, applied=applied)


async def list_existing(db: Runner, wanted: Sequence[Key]) -> frozenset[Key]:
    """Return which of these calendars, channels and jobs there are."""
    rows = await db.fetch(
        "sets.existing",
        **{
            f"{kind}s": [name for one, name in wanted if one is kind and "\0" not in name]
            for kind in (MemberKind.CALENDAR, MemberKind.CHANNEL, MemberKind.JOB)
        },
    )
    return frozenset((MemberKind(row["kind"]), row["name"]) for row in rows)


async def put(db: Runner, name: str) -> None:
    """Note that a set is applied now, by whom."""
    await db.fetch("sets.put", name=name)


async def put_members(db: Runner, set_name: str, written: Sequence[dict[str, Any]]) -> None:
    """Note what belongs to a set; what belonged to another does no longer."""
    members = JSON.encode(written).decode()
    await db.fetch("sets.put_members", set_name=set_name, members=members)


async def leave(db: Runner, left: Sequence[Key], *, job_ids: Sequence[UUID] = ()) -> None:
    """Note that these belong to no set."""
    kinds, names = [kind for kind, _ in left], [name for _, name in left]
    await db.fetch("sets.leave", kinds=kinds, names=names, job_ids=job_ids)


async def mark_removed(db: Runner, removed: Sequence[Key]) -> None:
    """Note that the set does not have these any more."""
    kinds, names = [kind for kind, _ in removed], [name for _, name in removed]
    await db.fetch("sets.mark_removed", kinds=kinds, names=names)


async def list_page(db: Database, after: str | None, limit: int) -> Page[SetState]:
    """List sets by name, from the first name after `after`."""
    found = await db.fetch_page("sets.page", after=after, limit=limit)
    return Page(items=[SetState(**row) for row in found.rows], more=found.more)


async def find(db: Runner, name: str) -> SetMembers:
    """Find a set, with all that belongs to it.

    Raises:
        SetNotFound: there is none of that name.
    """
    if "\0" not in name:
        for row in await db.fetch("sets.find", name=name):
            rows = await db.fetch("sets.members_of", name=name)
            found = [SetMember(**{**one, "kind": MemberKind(one["kind"])}) for one in rows]
            return SetMembers(**asdict(SetState(**row)), members=found)
    raise SetNotFound(no_set(name))


async def delete(db: Runner, name: str) -> None:
    """Forget a set; what belonged to it stays, and belongs to nobody.

    Raises:
        SetNotFound: there is none of that name.
    """
    if "\0" in name or not await db.fetch("sets.delete", name=name):
        raise SetNotFound(no_set(name))


def no_set(name: str) -> str:
    return f"no set has the name {name!r}"
