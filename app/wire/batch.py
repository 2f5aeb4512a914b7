"""Reads batches of jobs, one job after the other.

To read a whole batch at once would let no other thread of the process run meanwhile.
"""

import re
from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from app.core.field_errors import MAX_ERRORS
from app.core.field_paths import at_index
from app.core.jobs.job import MAX_METADATA_BYTES, MAX_TARGET_BYTES, JobDocument
from app.core.jobs.json_size import exceeds, numbers_exceed
from app.errors import WHOLE, FieldError, InvalidInput, MalformedInput
from app.wire.jobs import MAX_JOBS, JobBatch
from app.wire.reading import MAX_NESTED, check_json, read

PartList = Annotated[list[Raw], Meta(max_length=MAX_JOBS)]


class Parts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `JobBatch` in which each job is JSON that has not been read."""

    jobs: PartList


class WithoutTarget(JobDocument, frozen=True, kw_only=True):
    """A job of which the target is not read."""

    target: Raw  # type: ignore[assignment] # not read, so of another type


class WithoutMetadata(JobDocument, frozen=True, kw_only=True):
    """A job of which the metadata are not read."""

    metadata: Raw = Raw(b"{}")  # type: ignore[assignment] # not read, so of another type


class Outline(WithoutTarget, WithoutMetadata, frozen=True, kw_only=True):
    """A job of which neither the target nor the metadata are read."""


def documents(body: bytes) -> list[JobDocument]:
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
    return read_jobs(map(bytes, parts), levels=MAX_NESTED - outside)


def documents_of_lines(body: bytes) -> list[JobDocument]:
    """Read the jobs of a text with one of them in each line; empty lines are passed over.

    Raises:
        MalformedInput: a line is not JSON, or too deep; names the line.
        InvalidInput: as `documents` does, or there are more than `MAX_JOBS`.
    """
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) > MAX_JOBS:
        message = f"has {len(lines)} jobs: send at most {MAX_JOBS} at a time"
        raise InvalidInput(FieldError(field=WHOLE, message=message))
    return read_jobs(lines, levels=MAX_NESTED - 1)


def read_jobs(parts: Iterable[bytes], *, levels: int) -> list[JobDocument]:
    """Read jobs one by one.

    Raises:
        MalformedInput, InvalidInput: as `documents` does.
    """
    read_ones = []
    errors: list[FieldError] = []
    for index, part in enumerate(parts):
        if len(errors) >= MAX_ERRORS:
            check_json(part)
            continue
        try:
            read_ones.append(read_job(part, levels=levels))
        except MalformedInput as refusal:
            raise MalformedInput(f"[{index}]: {refusal}") from None
        except InvalidInput as refusal:
            errors += [at_index(index, one) for one in refusal.errors]
    if errors:
        raise InvalidInput(*errors[:MAX_ERRORS])
    return read_ones


def read_job(part: bytes, *, levels: int) -> JobDocument:
    """Read one job; of one that is too large, only what is needed to say so.

    Raises:
        MalformedInput, InvalidInput: as `read` does.
    """
    if numbers_exceed(part, MAX_METADATA_BYTES):
        outline = read(part, Outline, levels=levels)
        large_target = exceeds(outline.target, MAX_TARGET_BYTES)
        large_metadata = exceeds(outline.metadata, MAX_METADATA_BYTES)
        if large_target and large_metadata:
            return partly(outline)
        if large_target:
            return partly(read(part, WithoutTarget, levels=levels))
        if large_metadata:
            return partly(read(part, WithoutMetadata, levels=levels))
    return read(part, JobDocument, levels=levels)


def partly(outline: JobDocument) -> JobDocument:
    """Complete a job that was read in part, so that its refusal can name the part too large."""
    return JobDocument(**{one: getattr(outline, one) for one in JobDocument.__struct_fields__})
