"""Many jobs at once: all or none."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

from litestar import post
from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from app.api.body import MAX_NESTED, check_json, read, received
from app.api.job_input import encrypt_job, masked_job, new_job
from app.api.parameters import Clock, Db, Keys
from app.api.problems import ApiRequest
from app.api.responses import JobList
from app.core.access.api_key import Scope
from app.core.jobs.job import (
    MAX_METADATA_BYTES,
    MAX_TARGET_BYTES,
    JobDocument,
    PlannedJob,
    StoredJob,
)
from app.core.jobs.json_size import exceeds, numbers_exceed
from app.db import Database, jobs
from app.errors import FieldError, InvalidInput, NamesTaken, NameTaken
from app.vault import Referring, SecretKeys, check_bindings, referring

MAX_JOBS = 10_000
MAX_BYTES = 16 * 1024 * 1024
MAX_ERRORS = 100

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
    given = await batch(request)
    now = await clock.now()
    planned = await asyncio.to_thread(new_jobs, given, now, secret_keys)
    warnings = await check_bindings(db, await asyncio.to_thread(referring_each, given))
    try:
        stored = await jobs.insert(db, planned)
    except NameTaken:
        raise await names_taken(db, given) from None
    return await asyncio.to_thread(shown_list, stored, warnings)


async def batch(request: ApiRequest) -> Sequence[JobDocument]:
    """Read the jobs, and name errors by index whichever form the body has.

    Raises:
        MalformedInput, InvalidInput, HTTPException: as `decoded` does.
    """
    return await asyncio.to_thread(documents, await received(request))


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
            raise InvalidInput(*(at(index, one) for one in refusal.errors)) from None
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


def new_jobs(
    documents: Sequence[JobDocument], now: datetime, secret_keys: SecretKeys
) -> list[PlannedJob]:
    """Check, plan and encrypt all the jobs; up to a second's work, so not for the event loop.

    Raises:
        InvalidInput: naming every field of every job that is wrong, up to `MAX_ERRORS`.
    """
    errors = list(duplicates(documents))
    planned = []
    for index, document in enumerate(documents):
        try:
            planned.append(encrypt_job(new_job(document, now=now), secret_keys))
        except InvalidInput as refusal:
            errors += [at(index, one) for one in refusal.errors]
    if errors:
        raise InvalidInput(*errors[:MAX_ERRORS])
    return planned


def referring_each(documents: Sequence[JobDocument]) -> list[Referring]:
    """Look at what each target refers to: in clear, as it was sent."""
    return [referring(one.kind, one.target) for one in documents]


def duplicates(documents: Sequence[JobDocument]) -> list[FieldError]:
    """Find the names that are given twice."""
    first: dict[str, int] = {}
    errors = []
    for index, document in enumerate(documents):
        if document.name is None:
            continue
        if (earlier := first.setdefault(document.name, index)) != index:
            message = f"is the name of [{earlier}] too: give each job its own"
            errors.append(FieldError(field=f"[{index}].name", message=message))
    return errors


async def names_taken(db: Database, documents: Sequence[JobDocument]) -> NamesTaken:
    """Say which names belong to jobs that exist."""
    names = [document.name for document in documents if document.name is not None]
    taken = await jobs.find_taken_names(db, names)
    errors = [
        FieldError(field=f"[{index}].name", message="another job already has this name")
        for index, document in enumerate(documents)
        if document.name in taken
    ]
    return NamesTaken(*errors[:MAX_ERRORS])


def at(index: int, error: FieldError) -> FieldError:
    """Place an error of one job in the batch."""
    field = f"[{index}].{error.field}" if error.field else f"[{index}]"
    return replace(error, field=field)


def shown_list(
    stored: Sequence[StoredJob], warnings: Mapping[int, Sequence[FieldError]]
) -> JobList:
    return JobList(items=[masked_job(job, warnings.get(at, ())) for at, job in enumerate(stored)])
