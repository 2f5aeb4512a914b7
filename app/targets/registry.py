"""The kinds of jobs, and the executor of each.

A new kind needs a `Target`, an `Executor`, and an entry in `BUILT_IN`, or in another package an
entry point of `GROUP`. Validation, masking, the kinds that instances claim and the API's schema are
derived from them.
"""

import re
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import msgspec
from msgspec.structs import replace

from app.core.facts import Ignored
from app.core.field_errors import MAX_ERRORS, Location, type_errors
from app.core.jobs.exact_json import DECODER, number
from app.core.secrets.masking import redact, secrets_in
from app.core.secrets.places import Path, secret_fields
from app.errors import FieldError, InvalidInput
from app.targets.amqp.executor import AmqpExecutor
from app.targets.auth import AUTH_TYPES
from app.targets.base import Executor, Target, Where
from app.targets.check.executor import CheckExecutor
from app.targets.http.executor import HttpExecutor
from app.targets.smtp.executor import SmtpExecutor

__all__ = [
    "EXECUTORS",
    "IGNORED",
    "KINDS",
    "SHOWN",
    "addresses_for",
    "addresses_of",
    "decode_target",
    "kind_error",
    "target_type",
    "unknown_kind",
]

MAX_NAMED = 10
"""The most headers that one error names."""
MAX_REDACTED = 10_000
"""The most errors times secrets looked for in them: each pair takes a microsecond or more."""
GROUP = "tocsin.executors"
"""The entry points by which other packages bring kinds: `pigeon = "pigeons.tocsin:Pigeon"`."""

BUILT_IN: tuple[type[Executor[Any]], ...] = (
    *(AmqpExecutor, CheckExecutor, HttpExecutor, SmtpExecutor),
)
KIND = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""The names of kinds that the database accepts."""


def all_executors(
    found: Iterable[EntryPoint],
) -> tuple[dict[str, type[Executor[Any]]], tuple[Ignored, ...]]:
    """Return our executors and those of entry points by kind, and the entry points left out.

    A package that is broken costs its own kind and nothing else.
    """
    executors = {executor.kind: executor for executor in BUILT_IN}
    ignored = []
    for one in found:
        try:
            executor = one.load()
            check_executor(executor, kind=one.name, others=executors)
        except Exception as error:  # noqa: BLE001 - whatever an import runs
            of = f" of {one.dist.name} {one.dist.version}" if one.dist else ""
            because = f"{type(error).__name__}: {error}"
            ignored.append(Ignored(setting=f"executor {one.name}{of}", because=because))
        else:
            executors[one.name] = executor
    return executors, tuple(ignored)


def check_executor(executor: Any, *, kind: str, others: Container[str]) -> None:  # noqa: ANN401
    """Make sure that the object of an entry point is an executor, of a kind that has none yet.

    Raises:
        AttributeError, TypeError: the object is no executor, or its targets cannot be read from
            JSON.
        ValueError: its `shown` names a field that may hold a secret, its kind is no valid name or
            not `kind`, or the kind has an executor already.
    """
    if not issubclass(executor.target_type, Target):
        raise TypeError("its target_type is no subclass of app.targets.base.Target")
    if not issubclass(executor.where_type, Where):
        raise TypeError("its where_type is no subclass of app.targets.base.Where")
    decoder_of(executor.target_type)
    msgspec.json.Decoder(executor.where_type)
    secret = secret_fields(executor.target_type)
    for field, shown in executor.shown.items():
        if field in secret and (shown.whole or shown.values):
            raise ValueError(f"it shows {field!r}, which may hold a secret: leave it out")
    if executor.kind != kind or not KIND.fullmatch(kind):
        raise ValueError(
            f"its kind is {executor.kind!r}: give both one name, of a to z, 0 to 9 and _"
        )
    if kind in others:
        raise ValueError("another executor has this kind")


def decoder_of(type_: type[Target]) -> msgspec.json.Decoder[Target]:
    return msgspec.json.Decoder(type_, float_hook=number)


EXECUTORS, IGNORED = all_executors(entry_points(group=GROUP))
"""The executor of each kind that can be carried out here, and the entry points left out."""

DECODERS = {
    executor.target_type: decoder_of(executor.target_type) for executor in EXECUTORS.values()
}

WHERE = {kind: msgspec.json.Decoder(executor.where_type) for kind, executor in EXECUTORS.items()}

SHOWN = {kind: executor.shown for kind, executor in EXECUTORS.items()}
"""The parts of targets that the audit log keeps, by kind and field."""

KINDS = tuple(sorted(EXECUTORS))
"""Every kind that can be carried out here."""


def target_type(kind: str) -> type[Target]:
    """Return the Struct of a kind's targets.

    Raises:
        InvalidInput: there is no such kind.
    """
    if kind not in EXECUTORS:
        raise InvalidInput(kind_error(kind))
    return EXECUTORS[kind].target_type


def addresses_of(kind: str, target: str | dict[str, Any]) -> tuple[str, ...]:
    """Return the URLs of the servers that a target of this kind goes to, the principal one first.

    `target`: as stored, or decoded. A target that cannot be read yields an empty URL.
    """
    try:
        return tuple(map(str, where_of(kind, target).addresses()))
    except Exception:  # noqa: BLE001 - whatever the kind's own code raises concerns this job alone
        return ("",)


def addresses_for(kind: str, target: dict[str, Any], secret: Path) -> tuple[tuple[str, ...], ...]:
    """Return the URLs of the servers that a secret of a target is meant for, by use.

    See `Where.addresses_for`. A target that cannot be read yields an empty URL.
    """
    try:
        uses = where_of(kind, target).addresses_for(secret)
        return tuple(tuple(map(str, urls)) for urls in uses)
    except Exception:  # noqa: BLE001 - whatever the kind's own code raises concerns this job alone
        return (("",),)


def where_of(kind: str, target: str | dict[str, Any]) -> Where:
    """Read where a target goes, as stored, or decoded.

    Raises:
        Exception: it cannot be read.
    """
    if isinstance(target, str):
        return WHERE[kind].decode(target)
    return msgspec.convert(target, EXECUTORS[kind].where_type)


def kind_error(kind: str, among: Sequence[str] = KINDS) -> FieldError:
    """Word the error about a kind that is none `among` those that may be written."""
    return FieldError(field="kind", message=f"{kind!r} is not known: {nearest_kind(kind, among)}")


def nearest_kind(kind: str, among: Sequence[str] = KINDS) -> str:
    """Suggest the kind that may be meant by an unknown one."""
    near = get_close_matches(kind.strip().lower(), among, n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}write one of {', '.join(among)}"


def unknown_kind(kind: str) -> str:
    """Word the `plan_error` of a job that no instance can run."""
    remedy = (
        "start one" if kind in KINDS else f"{nearest_kind(kind)}, or start an instance that does"
    )
    return f"kind: no instance runs {kind!r}: {remedy}"


def decode_target(kind: str, target: bytes | dict[str, Any]) -> Target:
    """Make a target of JSON as stored, or of what was decoded from it, and check all of it.

    Raises:
        InvalidInput: with the fields that are wrong, such as `target.url`, and the remedies; rules
            beyond the types of fields are looked at once all types are right.
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
        location = Location(top="target", choices={"auth.type": tuple(AUTH_TYPES)})
        readable = DECODER.decode(target) if isinstance(target, bytes) else target
        text = target if isinstance(target, bytes) else msgspec.json.encode(target)
        errors = type_errors(error, type_, text, location)
        raise InvalidInput(*(with_header(one, readable) for one in errors)) from None
    except (ValueError, RecursionError) as error:
        message = f"must be JSON that can be read: {error}"
        raise InvalidInput(FieldError(field="target", message=message)) from None
    if problems := list(decoded.errors()):
        raise InvalidInput(
            *(FieldError(field=f"target.{p.field}", message=p.message) for p in problems)
        )
    return decoded


def with_header(error: FieldError, target: Any) -> FieldError:  # noqa: ANN401
    """Name the headers whose value is no text, which msgspec leaves out."""
    headers = target.get("headers") if isinstance(target, dict) else None
    if error.field != "target.headers" or not isinstance(headers, dict):
        return error
    wrong = [name[:100] for name, value in headers.items() if not isinstance(value, str)]
    if not wrong:
        return error
    more = f" and {len(wrong) - MAX_NAMED} more" if len(wrong) > MAX_NAMED else ""
    return replace(error, message=f"{error.message}: {', '.join(wrong[:MAX_NAMED])}{more}")


def without_secrets(
    refusal: InvalidInput, type_: type[Target], target: bytes | dict[str, Any]
) -> list[FieldError]:
    """Return the errors of a refusal, redacted: they may quote secrets.

    The first `MAX_ERRORS`, of a target with very many secrets fewer: see `MAX_REDACTED`.
    """
    errors = refusal.errors[:MAX_ERRORS]
    with suppress(ValueError, RecursionError):
        readable = msgspec.json.decode(target) if isinstance(target, bytes) else target
        secrets = secrets_in(type_, readable) if isinstance(readable, dict) else ()
        errors = errors[: max(MAX_REDACTED // max(len(secrets), 1), 1)]
        return [replace(one, message=redact(secrets, one.message)) for one in errors]
    return list(errors)
