"""Named secrets in Postgres, and targets to be encrypted anew; all secrets here are encrypted."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from app.core.secrets.masking import Masked, Secret
from app.db.database import Database, Page, Row, Runner
from app.errors import SecretNotFound
from app.wire.secrets import NamedSecret

JSON = msgspec.json.Encoder()


class StoredTarget(Masked, frozen=True, kw_only=True):
    """The target of a job, as JSON text with encrypted secrets."""

    id: UUID
    kind: str
    target: Secret
    edited_at: datetime


class ReferringJob(Masked, frozen=True, kw_only=True):
    """The target of a job, as JSON text, and the job's name or id."""

    called: str
    kind: str
    target: Secret


class RewrittenTarget(Struct, frozen=True, kw_only=True):
    """A target with new ciphertexts, written only if the job's `edited_at` is unchanged."""

    id: UUID
    edited_at: datetime
    target: dict[str, Any]


class StoredSecret(Masked, frozen=True, kw_only=True):
    """A named secret: its ciphertext, and the hosts that it is bound to."""

    token: Secret
    hosts: list[str]


async def put(
    db: Runner, name: str, token: str, *, hosts: Sequence[str] | None
) -> tuple[NamedSecret, bool]:
    """Set a secret's value, and its hosts unless None; return also whether the secret is new."""
    [row] = await db.fetch("secrets.put", name=name, value=token, hosts=hosts)
    columns = dict(row)
    is_new = columns.pop("is_new")
    return NamedSecret(**columns), is_new


async def list_page(db: Database, after: str | None, limit: int) -> Page[NamedSecret]:
    """List secrets in the order of their names, from the first name after `after`."""
    found = await db.fetch_page("secrets.page", after=after, limit=limit)
    return Page(items=[NamedSecret(**row) for row in found.rows], more=found.more)


async def delete(db: Runner, name: str) -> None:
    """Delete a secret.

    Raises:
        SecretNotFound: no secret has the name.
    """
    if not await db.fetch("secrets.delete", name=name):
        message = f"no secret is called {name!r}"
        raise SecretNotFound(message)


async def read_values(db: Runner, names: Collection[str] | None = None) -> dict[str, StoredSecret]:
    """Return the secrets of these names, or all if None; a name without a secret is left out."""
    if names is None:
        rows = await db.fetch("secrets.all_values")
    else:
        rows = await db.fetch("secrets.values", names=list(names))
    return stored_by_name(rows)


def stored_by_name(rows: Sequence[Row]) -> dict[str, StoredSecret]:
    return {row["name"]: StoredSecret(token=row["value"], hosts=row["hosts"]) for row in rows}


async def read_newest(db: Runner, *, limit: int) -> dict[str, StoredSecret]:
    """Return the newest secrets, keyed by name."""
    return stored_by_name(await db.fetch("secrets.newest", limit=limit))


async def list_key_ids(db: Runner) -> list[str]:
    """List the ids of the keys that named secrets were encrypted with.

    Tokens of development versions, which name no key, yield an empty id.
    """
    return [row["key_id"] for row in await db.fetch("secrets.key_ids")]


async def read_newest_targets(db: Runner, *, limit: int) -> list[StoredTarget]:
    """Read the targets of the newest jobs."""
    return [StoredTarget(**row) for row in await db.fetch("secrets.newest_targets", limit=limit)]


async def list_newest_referring(db: Runner, *, among: int, limit: int) -> list[ReferringJob]:
    """Read up to `limit` jobs, among the newest `among`, that may refer to a named secret."""
    rows = await db.fetch("secrets.newest_referring", among=among, limit=limit)
    return [ReferringJob(**row) for row in rows]


async def replace_value(db: Runner, name: str, *, old: str, new: str) -> bool:
    """Replace the ciphertext `old` of a secret; return False if the secret does not have that."""
    return bool(await db.fetch("secrets.replace_value", name=name, old=old, new=new))


async def read_targets(db: Runner, *, after: UUID | None, limit: int) -> list[StoredTarget]:
    """Read targets in the order of their jobs' ids, from the first id after `after`."""
    rows = await db.fetch("secrets.targets", after=after, limit=limit)
    return [StoredTarget(**row) for row in rows]


async def read_targets_of(db: Runner, ids: Sequence[UUID]) -> list[StoredTarget]:
    """Read the targets of these jobs; a deleted job is left out."""
    return [StoredTarget(**row) for row in await db.fetch("secrets.targets_of", ids=ids)]


async def rewrite_targets(db: Runner, rewritten: Sequence[RewrittenTarget]) -> set[UUID]:
    """Write targets, but of no job that was edited since or is locked; return the jobs' ids."""
    rows = await db.fetch("secrets.rewrite_targets", jobs=JSON.encode(rewritten).decode())
    return {row["id"] for row in rows}
