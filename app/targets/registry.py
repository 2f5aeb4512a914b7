"""The kinds of jobs, and the executor of each.

A new kind is a file with a `Target` and an `Executor`; validation, masking, what an instance claims
and the API's schema follow.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from difflib import get_close_matches
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from app.core.field_errors import field_errors
from app.core.jobs.exact_json import DECODER, number
from app.core.net.egress import PUBLIC_ONLY, Egress
from app.core.runs.outcome import Report
from app.core.secrets.masking import redact, secrets_in
from app.errors import FieldError, InvalidInput
from app.targets.amqp.executor import AmqpExecutor
from app.targets.auth import AUTH_TYPES
from app.targets.base import Context, Executor, Options, Target
from app.targets.http.executor import HttpExecutor
from app.targets.net.guard import Guard, Lookup
from app.targets.net.names import Names
from app.targets.net.resolver import Resolver

__all__ = ["KINDS", "Executors", "decode_target", "nobodys_kind", "target_type"]

EXECUTORS: dict[str, type[Executor[Any]]] = {
    executor.kind: executor for executor in (AmqpExecutor, HttpExecutor)
}

DECODERS = {
    executor.target_type: msgspec.json.Decoder(executor.target_type, float_hook=number)
    for executor in EXECUTORS.values()
}

PREPARE_SECONDS = 0.25
"""The longest that an attempt is prepared."""

KINDS = tuple(sorted(EXECUTORS))
"""Every kind that can be carried out here."""


def target_type(kind: str) -> type[Target]:
    """The Struct of the kind's targets.

    Raises:
        InvalidInput: there is no such kind.
    """
    if kind not in EXECUTORS:
        message = f"{kind!r} is not known: {nearest_kind(kind)}"
        raise InvalidInput(FieldError(field="kind", message=message))
    return EXECUTORS[kind].target_type


def nearest_kind(kind: str) -> str:
    """Say what may be meant by a kind that is not known."""
    near = get_close_matches(kind.strip().lower(), KINDS, n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}write one of {', '.join(KINDS)}"


def nobodys_kind(kind: str) -> str:
    """Word the `plan_error` of a job that no instance can run."""
    remedy = (
        "start one" if kind in KINDS else f"{nearest_kind(kind)}, or start an instance that does"
    )
    return f"kind: no instance runs {kind!r}: {remedy}"


def decode_target(kind: str, target: bytes | dict[str, Any]) -> Target:
    """Make a target of JSON as stored, or of what was decoded from it, and check all of it.

    Raises:
        InvalidInput: naming every field that is wrong, as `target.url`, and the remedy.
    """
    type_ = target_type(kind)
    try:
        return checked(type_, target)
    except InvalidInput as refusal:
        raise InvalidInput(*without_secrets(refusal, type_, target)) from None


def checked(type_: type[Target], target: bytes | dict[str, Any]) -> Target:
    try:
        if isinstance(target, bytes):
            decoded = DECODERS[type_].decode(target)
        else:
            decoded = msgspec.convert(target, type_)
    except msgspec.ValidationError as error:
        choices = {"auth.type": tuple(AUTH_TYPES)}
        errors = field_errors(error, prefix="target", choices=choices)
        raise InvalidInput(*(with_header(one, target) for one in errors)) from None
    except (ValueError, RecursionError) as error:
        message = f"must be JSON that can be read: {error}"
        raise InvalidInput(FieldError(field="target", message=message)) from None
    if problems := list(decoded.errors()):
        raise InvalidInput(
            *(FieldError(field=f"target.{p.field}", message=p.message) for p in problems)
        )
    return decoded


def with_header(error: FieldError, target: bytes | dict[str, Any]) -> FieldError:
    """Name the header whose value is no text, which msgspec leaves out."""
    readable = DECODER.decode(target) if isinstance(target, bytes) else target
    headers = readable.get("headers") if isinstance(readable, dict) else None
    if error.field != "target.headers" or not isinstance(headers, dict):
        return error
    wrong = [name for name, value in headers.items() if not isinstance(value, str)]
    return replace(error, message=f"{error.message}: {wrong[0][:100]}") if wrong else error


def without_secrets(
    refusal: InvalidInput, type_: type[Target], target: bytes | dict[str, Any]
) -> list[FieldError]:
    """The errors without any secret that they may quote."""
    with suppress(ValueError, RecursionError):
        readable = msgspec.json.decode(target) if isinstance(target, bytes) else target
        secrets = secrets_in(type_, readable) if isinstance(readable, dict) else ()
        return [replace(one, message=redact(secrets, one.message)) for one in refusal.errors]
    return list(refusal.errors)


class Executors:
    """The executors of one process, open inside its context.

    All are opened at once: what the first job of a kind had to wait for would make it late.
    """

    def __init__(
        self,
        *,
        egress: Egress = PUBLIC_ONLY,
        resolver: Resolver | None = None,
        lookup: Lookup | None = None,
        connections_per_host: int = 0,
    ) -> None:
        self.resolver = resolver or Resolver()
        self.options = Options(
            connections_per_host=connections_per_host,
            guard=Guard(egress, lookup=lookup or self.resolver.lookup),
        )
        self.names = Names(self.options.guard, self.resolver)
        self.opened: dict[str, Executor[Any]] = {}

    async def __aenter__(self) -> Self:
        for kind, executor in EXECUTORS.items():
            self.opened[kind] = executor(self.options)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self.opened:
            _, executor = self.opened.popitem()
            await executor.close()
        self.options.contexts.close()
        await self.resolver.close()

    @property
    def thread(self) -> ThreadPoolExecutor:
        """What reads certificates beside the event loop."""
        return self.options.contexts.thread

    async def prepare(self, kind: str, target: Target, context: Context) -> None:
        """Prepare an attempt that comes in a moment."""
        async with asyncio.timeout(PREPARE_SECONDS):
            await self.opened[kind].prepare(target, context)

    async def load(self, target: Target) -> None:
        """Have the certificates of a target at hand for the attempt that comes next."""
        for tls in target.certificates():
            await self.options.contexts.context(tls, patient=True)

    async def execute(self, kind: str, target: Target, context: Context) -> Report:
        """Carry out one attempt; `target` is what `decode_target` made for this kind."""
        return await self.opened[kind].execute(target, context)
