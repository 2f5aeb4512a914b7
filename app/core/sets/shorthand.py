"""Jobs as files write them: with defaults, and with the kind as the name of the target."""

import json
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from msgspec.structs import replace

from app.core.field_errors import SIMILAR
from app.core.field_paths import joined
from app.core.jobs.job import DOCUMENT_FIELDS
from app.errors import WHOLE, FieldError, InvalidInput

LONG = ("kind", "target")
"""The fields of a job that say at length what `http:` says in short."""
NEVER = {
    "run_in_seconds": "means another instant each time: write run_at",
    "name": "is the key that the job has here: leave it out",
}
"""Fields of jobs that files cannot have, each with why."""


def completed(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job with what it lacks of the defaults; objects are completed in turn.

    What a default says of one kind (`http: …`) counts for the jobs that have this kind.
    """
    result = dict(given)
    for name, value in defaults.items():
        if name not in result:
            result[name] = value
        elif isinstance(value, Mapping) and isinstance(result[name], Mapping):
            result[name] = completed(value, result[name])
    return result


def defaults_for(
    defaults: Mapping[str, Any], given: Mapping[str, Any], kinds: Collection[str]
) -> dict[str, Any]:
    """Return those defaults that count for a job: of a kind only those of its own."""
    return {name: one for name, one in defaults.items() if name not in kinds or name in given}


def kind_in(given: Mapping[str, Any], kinds: Collection[str]) -> str | None:
    """Return the kind that a job is written in short for; None if it has `kind` and `target`.

    Raises:
        InvalidInput: there are two of them, or the kind is given at length beside it.
    """
    found = sorted(given.keys() & set(kinds))
    if not found:
        return None
    if len(found) > 1:
        message = f"is given beside {found[0]}: a job has one kind"
        raise InvalidInput(FieldError(field=joined("", found[1]), message=message))
    if both := [name for name in LONG if name in given]:
        message = f"is said by {found[0]} already: leave it out"
        raise InvalidInput(*(FieldError(field=name, message=message) for name in both))
    return found[0]


def check_kind(given: Mapping[str, Any], kinds: Collection[str]) -> None:
    """Refuse a job of which nothing says what it calls.

    Raises:
        InvalidInput: naming what may be meant for a kind.
    """
    if given.keys() & {*kinds, *LONG}:
        return
    for name in given.keys() - {*DOCUMENT_FIELDS}:
        if close := get_close_matches(name, kinds, n=1, cutoff=SIMILAR):
            message = f"unknown field: did you mean {close[0]}?"
            raise InvalidInput(FieldError(field=name, message=message))
    message = f"calls nothing: write one of {', '.join(kinds)}, with its target below"
    raise InvalidInput(FieldError(field=WHOLE, message=message))


def at_length(given: Mapping[str, Any], kind: str | None) -> dict[str, Any]:
    """Return a job as the API has it: `http: {…}` becomes `kind` and `target`.

    Raises:
        InvalidInput: it has fields that no file can have.
    """
    if errors := [
        FieldError(field=name, message=message) for name, message in NEVER.items() if name in given
    ]:
        raise InvalidInput(*errors)
    if kind is None:
        return dict(given)
    rest = {name: one for name, one in given.items() if name != kind}
    return rest | {"kind": kind, "target": given[kind]}


def in_short(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job of the API as files write it; the schedule and the target come first."""
    document = dict(document)
    kind, target = document.pop("kind"), document.pop("target")
    if kind in document:  # a kind called as a field is
        return {"kind": kind, "target": target, **document}
    return {**document, kind: target}


def placed(error: FieldError, *path: str, kind: str | None) -> FieldError:
    """Place an error of a job in its file, where the target stands under its kind."""
    inner = "" if error.field == WHOLE else error.field
    if kind is not None and (inner == "target" or inner.startswith(("target.", "target["))):
        inner = joined("", kind) + inner.removeprefix("target")
    dot = "." if inner and not inner.startswith("[") else ""
    return replace(error, field=f"{joined('', *path)}{dot}{inner}")


def steps_of(field: str) -> list[str | int]:
    """Read the path of a field back into its names and indexes, as `joined` wrote it."""
    steps: list[str | int] = []
    while field:
        if field[0] == "[":
            step, end = json.JSONDecoder().raw_decode(field, 1)
            steps.append(step)
            field = field[end + 1 :]
        else:
            field = field.removeprefix(".")
            end = min(at for at in (field.find("."), field.find("["), len(field)) if at >= 0)
            steps.append(field[:end])
            field = field[end:]
    return steps
