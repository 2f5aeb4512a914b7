"""Makes targets ready to be carried out, and checks those that are to be stored."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from app.core.jobs.exact_json import DECODER
from app.core.runs.outcome import Report
from app.core.secrets.masking import Unshown, pieces, redact
from app.core.secrets.references import BEGINNING, names_in, with_values
from app.db.database import Runner
from app.errors import InvalidInput
from app.targets.base import Target
from app.targets.net.tls import MAX_CHECKED
from app.targets.registry import decode_target, target_type
from app.targets.tls_target import brings_certificates
from app.vault.named import NamedSecrets, SecretUnusable, places_of
from app.vault.prepare import check_target
from app.vault.sealing import decrypt_target
from app.vault.secret_keys import PREFIX, SecretKeys


class ReadyTarget(Unshown, frozen=True, kw_only=True):
    """A target with all its secrets in clear."""

    target: Target
    named: frozenset[str] = frozenset()
    """The named secrets in it and their parts, which may stand where its type expects none."""

    def redacted(self, report: Report) -> Report:
        """The report without what the target may have repeated of the named secrets."""
        if not self.named:
            return report
        return replace(
            report,
            response=report.response and redact(self.named, report.response),
            error=report.error and redact(self.named, report.error),
        )


class Targets:
    """Makes stored targets ready."""

    def __init__(self, db: Runner, keys: SecretKeys, *, thread: ThreadPoolExecutor) -> None:
        self.keys = keys
        self.thread = thread
        """Reads certificates, which takes milliseconds each when it is for the first time."""
        self.known: dict[bytes, None] = {}
        """Digests of targets whose certificates were read; the one used last is last."""
        self.named = NamedSecrets(db, keys)

    async def ready(self, job_id: UUID, kind: str, stored: str) -> ReadyTarget:
        """Decrypt what is encrypted in the JSON of a job's target, fill in named secrets, check it.

        Raises:
            InvalidInput: naming every field that is wrong.
            SecretUnusable: naming a secret that does not exist, may not be sent there, or does not
                open: no key of this process decrypts it, or it was encrypted for another job.
            DatabaseUnavailable: the secrets could not be read.
        """
        if is_in_clear(stored):
            return ReadyTarget(target=await self.decoded(kind, stored, stored.encode()))
        type_ = target_type(kind)
        clear, unopened = decrypt_target(type_, read(kind, stored), self.keys, job_id=job_id)
        if unopened:  # no fault of the job: another instance may have the key
            raise SecretUnusable(f"{unopened[0].field}: {unopened[0].message}")
        names = names_in(type_, clear)
        if not names:
            return ReadyTarget(target=await self.decoded(kind, stored, clear))
        values = await self.named.values(names)
        filled = with_values(type_, clear, values)
        self.named.check_places(names, places_of(kind, filled))
        try:
            target = await self.decoded(kind, stored, filled)
        except InvalidInput as refusal:
            raise InvalidInput(
                *(
                    replace(one, message=redact(values.values(), one.message))
                    for one in refusal.errors
                )
            ) from None
        named = frozenset().union(*map(pieces, values.values())) - {""}
        return ReadyTarget(target=target, named=named)

    async def decoded(self, kind: str, stored: str, target: bytes | dict[str, Any]) -> Target:
        """Decode and check a target; one that brings certificates beside the loop, the first time.

        Their verdict is kept, so that the next time they are not read at all.
        """
        if not brings_certificates(stored):
            return decode_target(kind, target)
        digest = blake2b(stored.encode()).digest()
        try:
            if digest in self.known:
                return decode_target(kind, target)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.thread, decode_target, kind, target)
        finally:  # also where it was refused: an execution must not wait for the thread again
            self.known.pop(digest, None)
            self.known[digest] = None
            while len(self.known) > MAX_CHECKED:
                del self.known[next(iter(self.known))]


def check_stored(job_id: UUID, kind: str, stored: str, keys: SecretKeys) -> None:
    """Check the JSON of a job's target before its execution; secrets may be set until then.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    if is_in_clear(stored):
        decode_target(kind, stored.encode())
        return
    clear, unopened = decrypt_target(target_type(kind), read(kind, stored), keys, job_id=job_id)
    if not unopened:  # else no fault of the job: another instance may have the key
        check_target(kind, clear)


def is_in_clear(stored: str) -> bool:
    """Return whether nothing in the JSON of a target is encrypted, nor names a secret."""
    return PREFIX not in stored and BEGINNING not in stored


def read(kind: str, stored: str) -> dict[str, Any]:
    """Read the JSON of a target.

    Raises:
        InvalidInput: Python cannot hold it.
    """
    try:
        target: dict[str, Any] = DECODER.decode(stored)
    except (ValueError, RecursionError):
        decode_target(kind, stored.encode())  # says so
        raise
    return target
