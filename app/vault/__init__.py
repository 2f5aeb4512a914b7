"""Secrets at rest: encrypted where they are stored, in clear where a target is carried out."""

from app.vault.bindings import Referring, check_bindings, find_unset, referring
from app.vault.key_check import check_keys
from app.vault.named import NamedSecrets, SecretUnusable
from app.vault.sealing import decrypt_target, encrypt_target, reencrypt_target
from app.vault.secret_keys import SecretKeys, of_job, of_secret
from app.vault.targets import ReadyTarget, Targets, check_stored, check_target

__all__ = [
    "NamedSecrets",
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
    "reencrypt_target",
    "referring",
]
