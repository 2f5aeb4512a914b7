"""API keys in Postgres: a digest of each, never the key."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from msgspec import Struct

from app.core.access.api_key import IssuedKey, Scope, check_name
from app.core.access.key_limits import NO_LIMITS, KeyLimits, check_limits
from app.db.database import Database, Page, Row, Runner
from app.errors import KeyNotFound
from app.wire.keys import ApiKey


class ValidKey(Struct, frozen=True, kw_only=True):
    """An API key that is neither expired nor revoked."""

    id: UUID
    name: str
    prefix: str
    digest: bytes
    scopes: Sequence[Scope]
    limits: KeyLimits
    seconds_left: float | None
    """Seconds from the reading until the key expires; None for a key that does not expire."""


class ValidKeys(Struct, frozen=True, kw_only=True):
    """All API keys that are neither expired nor revoked."""

    any_key: bool
    """Whether any key was ever made: from then on the API serves no request without one."""
    by_prefix: Mapping[str, ValidKey]


async def read_valid(db: Runner) -> ValidKeys:
    """Read the keys that are neither expired nor revoked."""
    rows = await db.fetch("keys.valid")
    keys = [
        ValidKey(
            id=row["id"],
            name=row["name"],
            prefix=row["prefix"],
            digest=row["hash"],
            scopes=[Scope(scope) for scope in row["scopes"]],
            limits=limits_in(row),
            seconds_left=row["seconds_left"],
        )
        for row in rows
        if row["id"] is not None
    ]
    return ValidKeys(any_key=rows[0]["any_key"], by_prefix={key.prefix: key for key in keys})


async def create(  # noqa: PLR0913 - the columns
    db: Runner,
    key: IssuedKey,
    *,
    name: str,
    scopes: Sequence[Scope],
    expires_in_seconds: float | None,
    limits: KeyLimits = NO_LIMITS,
) -> ApiKey:
    """Store a new key by its digest.

    Raises:
        InvalidInput: the name is no valid name of a key, or a limit is none that a key can have.
        KeyNameTaken: the name belongs to another key that is not revoked.
    """
    check_name(name)
    check_limits(limits, scopes)
    [row] = await db.fetch(
        "keys.create",
        name=name,
        prefix=key.prefix,
        hash=key.digest,
        scopes=scopes,
        expires_in_seconds=expires_in_seconds,
        max_jobs=limits.max_jobs,
        min_interval_seconds=limits.min_interval_seconds,
        allowed_hosts=limits.allowed_hosts,
        default_ends_in_seconds=limits.default_ends_in_seconds,
    )
    return api_key(row)


async def list_page(db: Database, before: UUID | None, limit: int) -> Page[ApiKey]:
    """List keys, newest first, from the first one older than `before`."""
    found = await db.fetch_page("keys.page", before=before, limit=limit)
    return Page(items=[api_key(row) for row in found.rows], more=found.more)


async def find(db: Runner, reference: str) -> ApiKey:
    """Find a key by its prefix or, if it is not revoked, by its name.

    Raises:
        KeyNotFound: no key has the prefix or name.
    """
    if "\0" not in reference:
        for row in await db.fetch("keys.find", reference=reference):
            return api_key(row)
    message = f"no key has the prefix {reference!r}, nor is there one in force of that name"
    raise KeyNotFound(message)


async def revoke(db: Runner, key: ApiKey) -> None:
    """Revoke a key for good; idempotent."""
    await db.fetch("keys.revoke", key_id=key.id)


async def touch(db: Runner, key_id: UUID) -> None:
    """Record that the key was used now, unless that was recorded within the last minute."""
    await db.fetch("keys.touch", key_id=key_id)


async def queue(db: Runner, key_id: UUID) -> None:
    """Wait until all others that make jobs with a key of limited jobs have committed."""
    await db.fetch("keys.queue", key_id=key_id)


async def queue_now(db: Runner, key_id: UUID) -> bool:
    """As `queue`, if nobody has to be waited for; return whether that is so."""
    return bool(await db.fetch("keys.queue_now", key_id=key_id))


async def find_room(db: Runner, key_id: UUID) -> tuple[int, int] | None:
    """Return how many jobs a key may have made, and how many of its jobs there are.

    None for a key that may make any number, or that is gone.
    """
    for row in await db.fetch("keys.room", key_id=key_id):
        if row["max_jobs"] is not None:
            return row["max_jobs"], row["many"]
    return None


def limits_in(row: Row) -> KeyLimits:
    """Read the limits of a key out of a row."""
    hosts = row["allowed_hosts"]
    return KeyLimits(
        key_id=row["id"],
        max_jobs=row["max_jobs"],
        min_interval_seconds=row["min_interval_seconds"],
        allowed_hosts=None if hosts is None else tuple(hosts),
        default_ends_in_seconds=row["default_ends_in_seconds"],
    )


def api_key(row: Row) -> ApiKey:
    """Read a key out of a row."""
    return ApiKey(**{**row, "scopes": [Scope(scope) for scope in row["scopes"]]})
