"""Prepares stored targets to be carried out (`Targets`), or checks whether that can be done."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Self
from uuid import UUID

from msgspec.structs import replace

from app.core.jobs.exact_json import DECODER
from app.core.runs.outcome import Report
from app.core.secrets.masking import Unshown, pieces, redact
from app.core.secrets.places import Spot, spots_in
from app.core.secrets.references import (
    BEGINNING,
    MAX_STORED_REFERENCES,
    FilledTooLong,
    names_in,
    with_values,
)
from app.db.database import Runner
from app.db.secrets import StoredSecret
from app.errors import FieldError, InvalidInput
from app.targets.base import Target
from app.targets.executors import Executors
from app.targets.net.tls import Unread, by_kept_verdicts
from app.targets.registry import decode_target, target_type
from app.targets.tls_target import brings_certificates
from app.targets.turns import LARGE, Turns
from app.templates.fields import brings_templates
from app.timers import Monotonic
from app.vault.keys import PREFIX, Decrypted, SecretKeys, decrypt_spots, decrypt_target
from app.vault.named import NamedSecrets, SecretUnusable, places_of
from app.vault.prepare import check_number, check_target

DECRYPTED_IN_A_TURN = 100
"""The most secrets of a target that are decrypted in one turn: each takes 20 µs or more, and
a target that was written in SQL may have 2,000."""

Redact = Callable[[Collection[str], str], Awaitable[str]]
"""Returns a text with `***` for each secret, see `Turns.redact`."""


class ReadyTarget(Unshown, frozen=True, kw_only=True):
    """A target with all its secrets in clear."""

    target: Target
    named: frozenset[str] = frozenset()
    """The values of its named secrets, and their pieces, which are redacted from reports."""
    stored: Mapping[str, StoredSecret | None] = {}
    """Its named secrets, each by its name as it was stored."""

    async def redact(self, report: Report, redact: Redact) -> Report:
        """Return the report without what the target may have repeated of the named secrets."""
        if not self.named:
            return report
        return replace(
            report,
            response=report.response and await redact(self.named, report.response),
            error=report.error and await redact(self.named, report.error),
        )


class Targets:
    """Prepares stored targets to be carried out."""

    def __init__(
        self,
        db: Runner,
        keys: SecretKeys,
        *,
        thread: ThreadPoolExecutor,
        turns: Turns,
        clock: Monotonic,
    ) -> None:
        self.keys = keys
        self.turns = turns
        self.thread = thread
        """The thread that reads certificates, each of which takes milliseconds the first time."""
        self.named = NamedSecrets(db, keys, clock)

    @classmethod
    def beside(
        cls, db: Runner, keys: SecretKeys, executors: Executors, *, clock: Monotonic
    ) -> Self:
        """Prepare targets for the executors of a process, with the thread and turns of these."""
        return cls(db, keys, thread=executors.thread, turns=executors.turns, clock=clock)

    def __repr__(self) -> str:
        return f"<Targets: {self.keys}, {self.named}>"

    def ready_at_once(self, kind: str, stored: str) -> ReadyTarget | None:
        """Do what `ready` does, but without a coroutine.

        Return None for a target that is large, has secrets or certificates, or is invalid.
        """
        if len(stored) >= LARGE or not is_in_clear(stored) or brings_certificates(stored):
            return None
        with suppress(InvalidInput):  # `ready` says so
            return ReadyTarget(target=decode_target(kind, stored.encode()))
        return None

    async def make_ready(self, job_id: UUID, kind: str, stored: str) -> ReadyTarget:
        """Decrypt the JSON of a job's target, fill in named secrets, and check the target.

        Raises:
            InvalidInput: naming every field that is wrong.
            SecretUnusable: a secret does not exist, may not be sent there, makes the target too
                long, or does not open: no key of this process decrypts it, or it was encrypted for
                another job.
            DatabaseUnavailable: the secrets could not be read.
        """
        is_large = len(stored) >= LARGE
        if is_large:
            await self.turns.take(len(stored))
        if is_in_clear(stored):
            target = await self.decode(kind, stored.encode())
            return ReadyTarget(target=target.packed() if is_large else target)
        type_ = target_type(kind)
        written = read(kind, stored)
        clear, unopened = await self.decrypt(job_id, type_, written)
        if unopened:  # no fault of the job: another instance may have the key
            raise SecretUnusable(f"{unopened[0].field}: {unopened[0].message}")
        check_number(spots_in(type_, clear), most=MAX_STORED_REFERENCES)
        names = names_in(type_, clear)
        if not names:
            target = await self.decode(kind, clear)
            return ReadyTarget(target=target.packed() if is_large else target)
        values = await self.named.read_values(names)
        if is_large:
            await self.turns.take(len(stored))  # many may have waited for the same answer
            values = await self.named.read_values(names)  # that turn may have come seconds later
        as_stored = self.named.stored(names)  # while the target is decoded they are read anew
        try:
            in_clear = with_values(type_, clear, values)
        except FilledTooLong as error:
            raise SecretUnusable(f"the target cannot be filled in: {error}") from None
        self.named.check_places(names, places_of(kind, in_clear))
        try:
            target = await self.decode(kind, in_clear)
        except InvalidInput as refusal:
            raise InvalidInput(
                *(
                    replace(one, message=redact(values.values(), one.message))
                    for one in refusal.errors
                )
            ) from None
        named = frozenset().union(*map(pieces, values.values())) - {""}
        return ReadyTarget(
            target=target.packed() if is_large else target,
            named=named,
            stored=as_stored,
        )

    async def is_current(self, ready: ReadyTarget) -> bool:
        """Return whether no named secret of a target was changed since that was made ready.

        Raises:
            DatabaseUnavailable: the secrets could not be read.
        """
        await self.named.refresh(ready.stored)
        return self.named.stored(ready.stored) == ready.stored

    async def decrypt(
        self, job_id: UUID, type_: type[Target], written: dict[str, Any]
    ) -> Decrypted:
        """Decrypt the secrets of a target, each `DECRYPTED_IN_A_TURN` of them in a turn."""
        spots = [one for one in spots_in(type_, written) if has_token(one)]
        clear, unopened = written, list[FieldError]()
        for first in range(0, len(spots), DECRYPTED_IN_A_TURN):
            if first:
                await self.turns.take(LARGE)
            some = spots[first : first + DECRYPTED_IN_A_TURN]
            clear, of_some = decrypt_spots(clear, some, self.keys, job_id=job_id)
            unopened += of_some
        return clear, unopened

    async def decode(self, kind: str, target: bytes | dict[str, Any]) -> Target:
        """Decode and check a target, in a thread if its certificates have to be read.

        The verdict on certificates is kept, so that the next time they need not be read.

        Raises:
            InvalidInput: naming every field that is wrong.
        """
        try:
            return by_kept_verdicts(decode_target, kind, target)
        except Unread:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.thread, decode_target, kind, target)


def check_stored(job_id: UUID, kind: str, stored: str, keys: SecretKeys) -> None:
    """Check the JSON of a job's target before its execution; secrets may be set until then.

    It may refer to secrets as often as a target that is carried out. A target with a secret that
    none of `keys` decrypts is not checked.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    if is_in_clear(stored) and not brings_templates(stored):
        decode_target(kind, stored.encode())
        return
    clear, unopened = decrypt_target(target_type(kind), read(kind, stored), keys, job_id=job_id)
    if not unopened:  # else no fault of the job: another instance may have the key
        check_target(kind, clear, most=MAX_STORED_REFERENCES)


def is_in_clear(stored: str) -> bool:
    """Return whether nothing in the JSON of a target is encrypted, nor names a secret."""
    return PREFIX not in stored and BEGINNING not in stored


def has_token(spot: Spot) -> bool:
    """Return whether the value of a spot may be encrypted, whole or in part."""
    return isinstance(spot.value, str) and PREFIX in spot.value


def read(kind: str, stored: str) -> dict[str, Any]:
    """Read the JSON of a target.

    Raises:
        InvalidInput: the JSON has a number, or lists in lists, that Python cannot hold.
    """
    try:
        target: dict[str, Any] = DECODER.decode(stored)
    except (ValueError, RecursionError):
        decode_target(kind, stored.encode())  # says so
        raise
    return target
