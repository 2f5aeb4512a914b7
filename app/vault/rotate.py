"""Encrypts everything at rest with the first key, and tells whether the keys fit what is there."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import msgspec
from msgspec import Struct

from app.core.jobs.exact_json import DECODER
from app.core.secrets.references import names_in
from app.db import secrets
from app.db.database import Runner
from app.db.secrets import RewrittenTarget, StoredTarget
from app.errors import AppError, InvalidInput, SecretKeysMissing
from app.targets.registry import target_type
from app.vault.keys import (
    NO_KEYS,
    PREFIX,
    NotDecrypted,
    SecretKeys,
    decrypt_target,
    of_secret,
    reencrypt_target,
    reencrypt_value,
)

BATCH = 500
"""How many jobs are read and rewritten at a time."""
TRIES = 10
"""How often a row is tried that others lock or edit."""
PAUSE_SECONDS = 0.2
"""The pause between two tries."""
MAX_CHECKED_ROWS = 100
"""How many of the newest secrets, and of the newest jobs, a check of the keys looks at."""
MAX_SEARCHED_JOBS = 2000
"""How many of the newest jobs are searched for references to named secrets."""


class Rotated(Struct, kw_only=True):
    """Counts of a rotation: what was encrypted anew, and what could not be."""

    targets: int = 0
    """Targets that were written with new tokens."""
    secrets: int = 0
    """Named secrets that were written with a new token."""
    undecrypted: int = 0
    """Targets and secrets with a token that no key decrypts, or that was pasted from elsewhere."""
    unread: int = 0
    """Targets of kinds that are not known here, or that cannot be read."""
    busy: int = 0
    """Targets that other transactions kept locked, or edited, through all `TRIES`."""


async def rotate(db: Runner, keys: SecretKeys, *, unbound: bool = False) -> Rotated:
    """Encrypt all secrets of jobs and all named secrets with the first key; safe at any time.

    `unbound` binds tokens of development versions to the place where they are now. Any client may
    have pasted such a token there, so nothing is bound without this flag.

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
    """Encrypt all named secrets with the first key; count in `rotated`."""
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
    """Encrypt the secrets of a page of targets with the first key; count in `rotated`.

    Targets that were edited or locked meanwhile are read again and tried again.
    """
    for again in range(TRIES):
        # Failures are counted at the first try only.
        wanted = [
            one
            for stored in page
            if (one := rewrite(stored, keys, rotated, again=again, unbound=unbound))
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


def rewrite(
    stored: StoredTarget, keys: SecretKeys, rotated: Rotated, *, again: int, unbound: bool
) -> RewrittenTarget | None:
    """Return a target encrypted with the first key; None if there is nothing to write.

    At the first try (`again` is 0), what cannot be read or decrypted is counted in `rotated`.
    """
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


class WrongSecretKeys(AppError):
    """The keys decrypt no named secret; the message says what to do."""


class KeyCheck(Struct, frozen=True, kw_only=True):
    """How many of the newest secrets were looked at, and how many no key decrypts."""

    looked_at: int
    unopened: int


async def check_named_secrets(db: Runner, keys: SecretKeys) -> KeyCheck:
    """Count the newest named secrets, and those that no key decrypts."""
    found = await secrets.read_newest(db, limit=MAX_CHECKED_ROWS)
    unopened = sum(not decrypts(keys, name, secret.token) for name, secret in found.items())
    return KeyCheck(looked_at=len(found), unopened=unopened)


async def check_targets(db: Runner, keys: SecretKeys) -> KeyCheck:
    """Count the newest targets with something encrypted, and those that no key decrypts."""
    found = [
        one
        for one in await secrets.read_newest_targets(db, limit=MAX_CHECKED_ROWS)
        if PREFIX in one.target
    ]
    unopened = 0
    for one in found:
        try:
            target = msgspec.json.decode(one.target)
            _, left = decrypt_target(target_type(one.kind), target, keys, job_id=one.id)
        except (InvalidInput, ValueError, RecursionError):
            continue  # other errors of a target are told elsewhere
        unopened += bool(left)
    return KeyCheck(looked_at=len(found), unopened=unopened)


async def find_unset_secrets(db: Runner) -> list[tuple[str, str]]:
    """Find newer jobs that refer to a secret which is not set: (name of the secret, job)."""
    found: list[tuple[str, str]] = []
    for one in await secrets.list_newest_referring(
        db, among=MAX_SEARCHED_JOBS, limit=MAX_CHECKED_ROWS
    ):
        try:
            names = names_in(target_type(one.kind), msgspec.json.decode(one.target))
        except (InvalidInput, ValueError, RecursionError):
            continue  # other errors of a target are told elsewhere
        found += ((name, one.called) for name in sorted(names))
    known = await secrets.read_values(db, {name for name, _ in found}) if found else {}
    return [(name, called) for name, called in found if name not in known]


async def check_keys(db: Runner, keys: SecretKeys) -> None:
    """Refuse keys that encrypted none of the named secrets, as those of another installation.

    Neither targets nor values that no key can have made count here: a row inserted in SQL can hold
    any text. Nor does a secret that was copied in SQL, which opens nowhere.

    Raises:
        WrongSecretKeys: saying what to do.
    """
    used = await secrets.list_key_ids(db)
    if used and not any(map(keys.has, used)):
        message = (
            f"TOCSIN_SECRET_KEYS {'opens none' if keys else 'is not set, and opens none'} of the "
            "named secrets in this database: give every process the same keys; if they are lost, "
            "delete the secrets that `tocsin secrets list` names (`tocsin secrets delete NAME`) or "
            "set them anew (`tocsin secrets set NAME`)"
        )
        raise WrongSecretKeys(message)


def decrypts(keys: SecretKeys, name: str, token: str) -> bool:
    try:
        keys.decrypt(token, of_secret(name))
    except NotDecrypted:
        return False
    return True
