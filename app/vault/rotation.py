"""Encrypts everything at rest with the first key, be it in clear or encrypted with another."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import msgspec
from msgspec import Struct

from app.db import secrets
from app.db.database import Runner
from app.db.secrets import RewrittenTarget, StoredTarget
from app.errors import InvalidInput, SecretKeysMissing
from app.executors import target_type
from app.vault.sealing import resealed
from app.vault.secret_keys import NO_KEYS, SecretKeys, Unopened

BATCH = 500
TRIES = 10
PAUSE_SECONDS = 0.2
"""Between tries at rows that others had locked, or edited."""


class Rotated(Struct, kw_only=True):
    """What a rotation did, and could not do."""

    targets: int = 0
    secrets: int = 0
    undecrypted: int = 0
    """Targets and secrets that no key decrypts."""
    unread: int = 0
    """Targets of kinds that are not known here, or that cannot be read."""
    busy: int = 0
    """Targets that somebody's transaction has locked for seconds."""


async def rotate(db: Runner, keys: SecretKeys) -> Rotated:
    """Go over all jobs and named secrets; safe to run at any time, and again.

    Raises:
        SecretKeysMissing: there is no key.
    """
    if not keys:
        raise SecretKeysMissing(NO_KEYS)
    rotated = Rotated()
    await rotate_secrets(db, keys, rotated)
    last: UUID | None = None
    while page := await secrets.targets(db, after=last, limit=BATCH):
        last = page[-1].id
        await rotate_targets(db, keys, page, rotated)
    return rotated


async def rotate_secrets(db: Runner, keys: SecretKeys, rotated: Rotated) -> None:
    for name, secret in (await secrets.values(db)).items():
        token = secret.token
        if keys.is_current(token):
            continue
        try:
            new = keys.seal(keys.open(token))
        except Unopened:
            rotated.undecrypted += 1
        else:
            rotated.secrets += await secrets.replace_value(db, name, old=token, new=new)


async def rotate_targets(
    db: Runner, keys: SecretKeys, page: Sequence[StoredTarget], rotated: Rotated
) -> None:
    """Rewrite one page; what was edited or locked meanwhile is read and tried again."""
    for again in range(TRIES):
        # What could not be done is counted when it is first seen.
        wanted = [one for stored in page if (one := rewritten(stored, keys, rotated, again=again))]
        if not wanted:
            return
        written = await secrets.rewrite_targets(db, wanted)
        rotated.targets += len(written)
        left = [one.id for one in wanted if one.id not in written]
        if not left:
            return
        await asyncio.sleep(PAUSE_SECONDS)
        page = await secrets.targets_of(db, left)
    rotated.busy += len(page)


def rewritten(
    stored: StoredTarget, keys: SecretKeys, rotated: Rotated, *, again: int
) -> RewrittenTarget | None:
    """Encrypt the secrets of one target with the first key; None: there is nothing to write."""
    try:
        target = msgspec.json.decode(stored.target)
        new, unopened = resealed(target_type(stored.kind), target, keys)
    except (InvalidInput, ValueError, RecursionError):
        rotated.unread += not again
        return None
    rotated.undecrypted += bool(unopened) and not again
    if new == target:
        return None
    return RewrittenTarget(id=stored.id, updated_at=stored.updated_at, target=new)
