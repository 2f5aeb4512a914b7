"""Reads batches of jobs, one job after the other.

To read a whole batch at once would let no other thread of the process run meanwhile.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, TypeVar

from msgspec import UNSET, Meta, Raw, Struct, defstruct
from msgspec.structs import replace

from app.core.field_errors import MAX_ERRORS, UNKNOWN_FIELD
from app.core.field_paths import at_index
from app.core.jobs.job import MAX_METADATA_BYTES, MAX_TARGET_BYTES, JobDocument, document_of
from app.core.jobs.json_size import exceeds, numbers_exceed
from app.errors import WHOLE, FieldError, InvalidInput, MalformedInput
from app.wire.jobs import MAX_JOBS, VERSION, BatchReplacement, JobBatch
from app.wire.reading import MAX_NESTED, check_json, read

JobT = TypeVar("JobT", bound=Struct)

PartList = Annotated[list[Raw], Meta(max_length=MAX_JOBS)]


class Parts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `JobBatch` in which each job is JSON that has not been read."""

    jobs: PartList


UNREAD: Mapping[str, tuple[str, Any] | tuple[str, Any, Any]] = {
    "target": ("target", Raw),
    "metadata": ("metadata", Raw, Raw(b"{}")),
}
"""The fields that may be too large to be read, as text."""
NOT_REPLACED = "is for jobs that are replaced: send the batch with replace=true, or leave it out"


class Named(Struct, frozen=True, kw_only=True):
    """A job to create, or to replace by its name."""

    document: JobDocument
    unchanged_since: datetime | None
    """The version that is to be replaced: its `updated_at`; None: whichever there is."""


def documents(body: bytes) -> list[JobDocument]:
    """Read the jobs of a batch.

    Raises:
        MalformedInput, InvalidInput: as `read_list` does.
    """
    return read_list(body, JobDocument)


def replacements(body: bytes) -> list[Named]:
    """Read the jobs of a batch that replaces jobs; they may be as they were answered.

    Raises:
        MalformedInput, InvalidInput: as `read_list` does.
    """
    return [named(one) for one in read_list(body, BatchReplacement)]


def replacements_of_lines(body: bytes) -> list[Named]:
    """Read the jobs of lines as `replacements` does."""
    return [named(one) for one in read_lines(body, BatchReplacement)]


def named(given: Any) -> Named:  # noqa: ANN401 - a BatchReplacement
    since = given.unchanged_since
    return Named(document=document_of(given), unchanged_since=None if since is UNSET else since)


def read_list(body: bytes, type_: type[JobT]) -> list[JobT]:
    """Read the jobs one by one: reading all at once would let no other thread run meanwhile.

    Raises:
        MalformedInput: the body is not JSON, or too deep.
        InvalidInput: the JSON is no list of jobs; names each field of another type than its own,
            up to `MAX_ERRORS`.
    """
    try:
        given = read(body, Parts | PartList, levels=len(body), shown=JobBatch)  # type: ignore[arg-type] # a union
    except InvalidInput as refusal:
        raise InvalidInput(
            *(replace(one, field=re.sub(r"^jobs(?=\[)", "", one.field)) for one in refusal.errors)
        ) from None
    parts, outside = (given.jobs, 2) if isinstance(given, Parts) else (given, 1)
    return read_jobs(map(bytes, parts), type_, levels=MAX_NESTED - outside)


def documents_of_lines(body: bytes) -> list[JobDocument]:
    """Read the jobs of lines as `documents` does."""
    return read_lines(body, JobDocument)


def read_lines(body: bytes, type_: type[JobT]) -> list[JobT]:
    """Read the jobs of a text with one of them in each line; empty lines are passed over.

    Raises:
        MalformedInput: a line is not JSON, or too deep; names the line.
        InvalidInput: as `read_list` does, or there are more than `MAX_JOBS`.
    """
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) > MAX_JOBS:
        message = f"has {len(lines)} jobs: send at most {MAX_JOBS} at a time"
        raise InvalidInput(FieldError(field=WHOLE, message=message))
    return read_jobs(lines, type_, levels=MAX_NESTED - 1)


def read_jobs(parts: Iterable[bytes], type_: type[JobT], *, levels: int) -> list[JobT]:
    """Read jobs one by one.

    Raises:
        MalformedInput, InvalidInput: as `read_list` does.
    """
    read_ones = []
    errors: list[FieldError] = []
    for index, part in enumerate(parts):
        if len(errors) >= MAX_ERRORS:
            check_json(part)
            continue
        try:
            read_ones.append(read_job(part, type_, levels=levels))
        except MalformedInput as refusal:
            raise MalformedInput(f"[{index}]: {refusal}") from None
        except InvalidInput as refusal:
            errors += [at_index(index, told(one)) for one in refusal.errors]
    if errors:
        raise InvalidInput(*errors[:MAX_ERRORS])
    return read_ones


def told(error: FieldError) -> FieldError:
    """Say of the version of a job why a batch that creates jobs has none."""
    is_unknown = error.field == VERSION and error.message.startswith(UNKNOWN_FIELD)
    return replace(error, message=NOT_REPLACED) if is_unknown else error


def read_job(part: bytes, type_: type[JobT], *, levels: int) -> JobT:
    """Read one job; of one that is too large, only what is needed to say so.

    Raises:
        MalformedInput, InvalidInput: as `read` does.
    """
    if numbers_exceed(part, MAX_METADATA_BYTES):
        outline = read(part, outlined(type_, tuple(UNREAD)), levels=levels)
        large = [("target", MAX_TARGET_BYTES), ("metadata", MAX_METADATA_BYTES)]
        unread = tuple(name for name, most in large if exceeds(getattr(outline, name), most))
        if unread:
            found = read(part, outlined(type_, unread), levels=levels)
            # So that its refusal can name the part too large.
            return type_(**{one: getattr(found, one) for one in type_.__struct_fields__})
    return read(part, type_, levels=levels)


@cache
def outlined(type_: type[Struct], unread: tuple[str, ...]) -> type[Struct]:
    """Make the type of jobs of which some of `UNREAD` are not read."""
    fields = [UNREAD[name] for name in unread]
    return defstruct(f"Outlined{type_.__name__}", fields, bases=(type_,), frozen=True, kw_only=True)
