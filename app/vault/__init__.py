"""Secrets at rest: encrypted where they are stored, in clear where a target is carried out."""

from app.vault.named import NamedSecrets, SecretUnusable
from app.vault.sealing import opened, resealed, sealed
from app.vault.secret_keys import SecretKeys
from app.vault.targets import ReadyTarget, Targets, check_target

__all__ = [
    "NamedSecrets",
    "ReadyTarget",
    "SecretKeys",
    "SecretUnusable",
    "Targets",
    "check_target",
    "opened",
    "resealed",
    "sealed",
]
