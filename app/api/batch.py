"""Many jobs at once: all or none."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from litestar import post
from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from app.api.body import MAX_NESTED, check_json, read, received
from app.api.parameters import Clock, Db, Keys
from app.api.problems import ApiRequest
from app.api.responses import JobList
from app.core.access.api_key import Scope
from app.core.field_errors import at_index
from app.core.jobs.job import (
    MAX_METADATA_BYTES,
    MAX_TARGET_BYTES,
    JobDocument,
)
from app.core.jobs.json_size import exceeds, numbers_exceed
from app.errors import InvalidInput
from app.jobs.create import Written, create_batch
from app.jobs.shown import masked_job

MAX_JOBS = 10_000
MAX_BYTES = 16 * 1024 * 1024

Documents = Annotated[list[JobDocument], Meta(max_length=MAX_JOBS)]


class JobBatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Jobs to create together."""

    jobs: Documents


PartList = Annotated[list[Raw], Meta(max_length=MAX_JOBS)]


class Parts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same, each job as it was sent."""

    jobs: PartList


class WithoutTarget(JobDocument, frozen=True, kw_only=True):
    """A job of which the target is not read."""

    target: Raw  # type: ignore[assignment] # which is how it differs


class WithoutMetadata(JobDocument, frozen=True, kw_only=True):
    """A job of which the metadata are not read."""

    metadata: Raw = Raw(b"{}")  # type: ignore[assignment] # which is how it differs


class Outline(WithoutTarget, WithoutMetadata, frozen=True, kw_only=True):
    """A job of which neither is."""


@post(
    "/batch",
    operation_id="createJobs",
    summary="Create up to 10,000 jobs, all or none",
    request_max_body_size=MAX_BYTES,
    opt={"scope": Scope.WRITE, "body": JobBatch, "problems": (400, 409, 413, 415, 422)},
)
async def create_jobs(request: ApiRequest, db: Db, clock: Clock, secret_keys: Keys) -> JobList:
    """In one transaction. Errors name the job by its index: `[3].target.url`.

    A bare array of jobs is accepted as well.
    """
    given = await asyncio.to_thread(documents, await received(request))
    written = await create_batch(db, given, secret_keys, now=await clock.now())
    return await asyncio.to_thread(shown_list, written)


def documents(body: bytes) -> list[JobDocument]:
    """Read the jobs one by one: reading all at once would let no other thread run meanwhile.

    Raises:
        MalformedInput: it is not JSON, or too deep.
        InvalidInput: it is, but no list of jobs; names the first field that is wrong.
    """
    try:
        given = read(body, Parts | PartList, levels=len(body))  # type: ignore[arg-type] # a union
    except InvalidInput as refusal:
        raise InvalidInput(
            *(replace(one, field=one.field.removeprefix("jobs")) for one in refusal.errors)
        ) from None
    parts, outside = (given.jobs, 2) if isinstance(given, Parts) else (given, 1)
    read_ones = []
    for index, part in enumerate(parts):
        try:
            read_ones.append(read_job(bytes(part), levels=MAX_NESTED - outside))
        except InvalidInput as refusal:
            for rest in parts[index:]:
                check_json(bytes(rest))
            raise InvalidInput(*(at_index(index, one) for one in refusal.errors)) from None
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
    """Hand on what was read, for the refusal of what was not."""
    return JobDocument(**{one: getattr(outline, one) for one in JobDocument.__struct_fields__})


def shown_list(written: Sequence[Written]) -> JobList:
    return JobList(items=[masked_job(one.job, one.warnings) for one in written])
