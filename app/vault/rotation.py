"""Encrypts everything at rest with the first key, be it in clear or encrypted with another."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from app.core.jobs.exact_json import DECODER
from app.db import secrets
from app.db.database import Runner
from app.db.secrets import RewrittenTarget, StoredTarget
from app.errors import InvalidInput, SecretKeysMissing
from app.targets.registry import target_type
from app.vault.sealing import reencrypt_target, reencrypt_value
from app.vault.secret_keys import NO_KEYS, NotDecrypted, SecretKeys, of_secret

BATCH = 500
TRIES = 10
PAUSE_SECONDS = 0.2
"""Between tries at rows that others had locked, or edited."""


class Rotated(Struct, kw_only=True):
    """What a rotation did, and could not do."""

    targets: int = 0
    secrets: int = 0
    undecrypted: int = 0
    """Targets and secrets that do not open: no key decrypts them, or they are from elsewhere."""
    unread: int = 0
    """Targets of kinds that are not known here, or that cannot be read."""
    busy: int = 0
    """Targets that somebody's transaction has locked for seconds."""


async def rotate(db: Runner, keys: SecretKeys, *, unbound: bool = False) -> Rotated:
    """Go over all jobs and named secrets; safe to run at any time, and again.

    `unbound` binds tokens of development versions to the place where they are now. Such a token may
    have been pasted there by anybody, so nothing is bound without this flag.

    Raises:
        SecretKeysMissing: there is no key.
    """
    if not keys:
        raise SecretKeysMissing(NO_KEYS)
    rotated = Rotated()
    await rotate_secrets(db, keys, rotated, unbound=unbound)
    last: UUID | None = None
    while page := await secrets.read_targets(db, after=last, limit=BATCH):
        last = page[-1].id
        await rotate_targets(db, keys, page, rotated, unbound=unbound)
    return rotated


async def rotate_secrets(db: Runner, keys: SecretKeys, rotated: Rotated, *, unbound: bool) -> None:
    for name, secret in (await secrets.read_values(db)).items():
        token = secret.token
        try:
            new = reencrypt_value(token, keys, of_secret(name), unbound=unbound)
        except NotDecrypted:
            rotated.undecrypted += 1
        else:
            if new != token:
                rotated.secrets += await secrets.replace_value(db, name, old=token, new=new)


async def rotate_targets(
    db: Runner,
    keys: SecretKeys,
    page: Sequence[StoredTarget],
    rotated: Rotated,
    *,
    unbound: bool,
) -> None:
    """Rewrite one page; what was edited or locked meanwhile is read and tried again."""
    for again in range(TRIES):
        # Failures are counted at the first try only.
        wanted = [
            one
            for stored in page
            if (one := rewritten(stored, keys, rotated, again=again, unbound=unbound))
        ]
        if not wanted:
            return
        written = await secrets.rewrite_targets(db, wanted)
        rotated.targets += len(written)
        left = [one.id for one in wanted if one.id not in written]
        if not left:
            return
        await asyncio.sleep(PAUSE_SECONDS)
        page = await secrets.read_targets_of(db, left)
    rotated.busy += len(page)


def rewritten(
    stored: StoredTarget, keys: SecretKeys, rotated: Rotated, *, again: int, unbound: bool
) -> RewrittenTarget | None:
    """Encrypt the secrets of one target with the first key; None: there is nothing to write."""
    try:
        target = DECODER.decode(stored.target)
        type_ = target_type(stored.kind)
        new, unopened = reencrypt_target(type_, target, keys, job_id=stored.id, unbound=unbound)
    except (InvalidInput, ValueError, RecursionError):
        rotated.unread += not again
        return None
    rotated.undecrypted += bool(unopened) and not again
    if new == target:
        return None
    return RewrittenTarget(id=stored.id, edited_at=stored.edited_at, target=new)
