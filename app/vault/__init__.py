"""Secrets at rest: encrypted where they are stored, in clear where a target is carried out.

`prepare` makes what a client wrote ready to be stored, `Targets` what is stored ready to be carried
out. `SecretKeys` are the operator's keys, `NamedSecrets` what `${secret:NAME}` in a target means.
"""

from app.vault.keys import (
    SecretKeys,
    decrypt_target,
    encrypt_target,
    of_job,
    of_secret,
    reencrypt_target,
)
from app.vault.named import NamedSecrets, SecretUnusable
from app.vault.prepare import (
    Prepared,
    Referring,
    check_bindings,
    check_target,
    find_unset,
    prepare,
)
from app.vault.ready import ReadyTarget, Targets, check_stored
from app.vault.rotate import check_keys

__all__ = [
    "NamedSecrets",
    "Prepared",
    "ReadyTarget",
    "Referring",
    "SecretKeys",
    "SecretUnusable",
    "Targets",
    "check_bindings",
    "check_keys",
    "check_stored",
    "check_target",
    "decrypt_target",
    "encrypt_target",
    "find_unset",
    "of_job",
    "of_secret",
    "prepare",
    "reencrypt_target",
]
