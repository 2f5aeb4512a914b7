"""Spans of an instance, where OpenTelemetry's variables ask for any."""

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from app.config import Settings
from app.db import Database, traced
from app.errors import InvalidSettings
from app.scheduler.tasks import background
from app.telemetry.version import product_version

if TYPE_CHECKING:
    from app.telemetry.traces import Attempt, Linked, Traces


@asynccontextmanager
async def sent_traces(settings: Settings) -> AsyncIterator["Traces"]:
    """Give the observer that makes spans and sends them, with a session to look up their links.

    Raises:
        InvalidSettings: OpenTelemetry is not installed.
    """
    try:
        from app.telemetry.traces import make_traces
    except ModuleNotFoundError as error:
        message = (
            "OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_TRACES_EXPORTER asks for traces, and "
            f"{error.name} is not installed: pip install 'tocsin[otel]', or set "
            "OTEL_TRACES_EXPORTER=none"
        )
        raise InvalidSettings(message) from error

    async with Database.connect(
        settings.required_database_url(),
        application_name=f"tocsin traces {socket.gethostname()[:30]}:{os.getpid()}",
        max_connections=1,
    ) as db:
        traces = make_traces(version=product_version(), look_up=partial(look_up, db))
        async with background(make_spans=traces.keep_making()):
            yield traces
        await traces.end()


async def look_up(db: Database, attempts: Sequence["Attempt"]) -> list["Linked"]:
    """Find what attempts link to, in their order."""
    from app.telemetry.traces import Linked

    makers = await traced.read_makers(db, list({one.fact.job_id for one in attempts}))
    before = await traced.read_before(
        db,
        [
            traced.Attempt(
                id=one.execution_id,
                job_id=one.fact.job_id,
                scheduled_for=one.fact.scheduled_for,
            )
            for one in attempts
            if one.fact.attempt > 1
        ],
    )
    found = []
    for one in attempts:
        earlier = before.get(one.execution_id)
        found.append(
            Linked(
                made_by=makers.get(one.fact.job_id),
                before=earlier.before if earlier else None,
                began_at=earlier.began_at if earlier else None,
            )
        )
    return found
