"""Bulk actions as clients ask for them, and as the database keeps them until an instance works."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from app.core.access.key_limits import KeyLimits
from app.core.jobs.exact_json import number
from app.core.jobs.identity import RANDOM_BITS, uuid7
from app.core.secrets.masking import MASK
from app.db import Database, bulk
from app.db.clock import PolledClock
from app.errors import InvalidInput, StateConflict
from app.jobs.bulk import OnJobs, Work
from app.jobs.bulk_runs import Backfill, OnExecutions
from app.jobs.filters import read_bulk_job_filter, read_execution_filter
from app.jobs.pauses import check_until
from app.vault import SecretKeys
from app.vault.keys import NotDecrypted, is_token
from app.wire.bulk import OF_EXECUTIONS, Bulk, BulkAction, BulkPreview, BulkRequest

FILTER_PATH = "filter."
ENCODER = msgspec.json.Encoder()
NOT_OPTIONS = ("action", "filter", "dry_run")


@cache
def decoder() -> msgspec.json.Decoder[BulkRequest]:
    """Return what decodes a request; made at its first use, as few instances ever decode one."""
    return msgspec.json.Decoder(BulkRequest, float_hook=number)


def of_bulk(id: UUID) -> str:
    """Name the context of what an edit writes into targets, encrypted until it has ended."""
    return f"bulk {id}"


async def find_work(  # noqa: PLR0913 - what the kinds of work need
    db: Database,
    request: BulkRequest,
    keys: SecretKeys,
    clock: PolledClock,
    *,
    asked_at: datetime,
    limits: KeyLimits,
) -> Work:
    """Return the work of an action.

    Raises:
        InvalidInput: the action cannot be, as a filter is wrong or an option is missing.
    """
    if errors := list(request.errors()):
        raise InvalidInput(*errors)
    if request.action in OF_EXECUTIONS:
        executed = await read_execution_filter(db, request.filter, path=FILTER_PATH)
        return OnExecutions(request, executed, asked_at=asked_at)
    wanted = await read_bulk_job_filter(db, request.filter, path=FILTER_PATH)
    if request.action is BulkAction.BACKFILL:
        return Backfill(request, wanted, asked_at=asked_at)
    return OnJobs(request, wanted, keys, clock, asked_at=asked_at, limits=limits)


async def preview(
    db: Database, request: BulkRequest, keys: SecretKeys, clock: PolledClock
) -> BulkPreview:
    """Count and show what an action would be for.

    Raises:
        InvalidInput: the action cannot be.
    """
    now = await clock.now()
    check_until(pause_end(request), now=now)
    work = await find_work(db, request, keys, clock, asked_at=now, limits=db.limits)
    return await work.preview(db)


async def ask(db: Database, request: BulkRequest, keys: SecretKeys, clock: PolledClock) -> Bulk:
    """Write an action down for the instances.

    Raises:
        InvalidInput: the action cannot be.
    """
    now = await clock.now()
    check_until(pause_end(request), now=now)
    work = await find_work(db, request, keys, clock, asked_at=now, limits=db.limits)
    found = await work.preview(db)
    id = uuid7(now, random=secrets.randbits(RANDOM_BITS))
    written: dict[str, Any] = msgspec.to_builtins(request)
    options = {
        name: value
        for name, value in written.items()
        if name not in NOT_OPTIONS and value not in (None, False)
    }
    if keys and "target" in options.get("patch", {}):
        sealed = keys.encrypt(options["patch"]["target"], of_bulk(id))
        options["patch"] = options["patch"] | {"target": sealed}
    return masked(
        await bulk.ask(
            db,
            id=id,
            action=request.action,
            wanted=ENCODER.encode(request.filter),
            options=ENCODER.encode(options),
            expected=expected(request, found),
            limits=db.limits,
        )
    )


def pause_end(request: BulkRequest) -> datetime | None:
    """Return when a pause that is asked for ends by itself; None: not, or it is no pause."""
    return request.up_to if request.action is BulkAction.PAUSE else None


def expected(request: BulkRequest, found: BulkPreview) -> int | None:
    """Return how many jobs, executions or runs there are to do; None if nobody could count all."""
    if request.action is BulkAction.BACKFILL:
        return found.runs
    return found.count if found.count_is_exact else None


def request_of(row: Bulk, keys: SecretKeys) -> BulkRequest:
    """Read what was asked for out of an action, which a person may have typed.

    Raises:
        InvalidInput: the action cannot be.
    """
    options = dict(row.options)
    patch = options.get("patch")
    try:
        if isinstance(patch, dict) and is_token(patch.get("target")):
            options["patch"] = patch | {"target": keys.decrypt(patch["target"], of_bulk(row.id))}
        given = {**options, "action": row.action, "filter": row.filter}
        return decoder().decode(ENCODER.encode(given))
    except NotDecrypted as error:
        message = f"patch.target: {error}"
        raise StateConflict(message) from None
    except msgspec.ValidationError as error:
        raise StateConflict(str(error)) from None


def masked(row: Bulk) -> Bulk:
    """Hide what an action writes into targets: its jobs may be of any kind."""
    patch = row.options.get("patch")
    if not isinstance(patch, Mapping) or patch.get("target") is None:
        return row
    return replace(row, options=row.options | {"patch": {**patch, "target": MASK}})
