"""Whether the keys of this process fit what is encrypted in the database."""

import msgspec
from msgspec import Struct

from app.core.secrets.references import names_in
from app.db import secrets
from app.db.database import Runner
from app.errors import AppError, InvalidInput
from app.targets.registry import target_type
from app.vault.sealing import decrypt_target
from app.vault.secret_keys import PREFIX, NotDecrypted, SecretKeys, of_secret

MOST = 100
"""Secrets and jobs, the newest, that are looked at."""


MOST_REFERRING = 2000
"""Jobs, the newest, among which those that refer to named secrets are looked for."""


class WrongSecretKeys(AppError):
    """The keys decrypt no named secret; the message says what to do."""


class KeyCheck(Struct, frozen=True, kw_only=True):
    """How many of the newest secrets were looked at, and how many no key decrypts."""

    looked_at: int
    unopened: int


async def check_named_secrets(db: Runner, keys: SecretKeys) -> KeyCheck:
    """Count the newest named secrets, and those that no key decrypts."""
    found = await secrets.read_newest(db, limit=MOST)
    unopened = sum(not decrypts(keys, name, secret.token) for name, secret in found.items())
    return KeyCheck(looked_at=len(found), unopened=unopened)


async def check_targets(db: Runner, keys: SecretKeys) -> KeyCheck:
    """Count the newest targets with something encrypted, and those that no key decrypts."""
    found = [
        one for one in await secrets.read_newest_targets(db, limit=MOST) if PREFIX in one.target
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


async def unset_secrets(db: Runner) -> list[tuple[str, str]]:
    """Find newer jobs that refer to a secret which is not set: (name of the secret, job)."""
    found: list[tuple[str, str]] = []
    for one in await secrets.list_newest_referring(db, among=MOST_REFERRING, limit=MOST):
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
