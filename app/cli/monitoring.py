"""An instance with the observers that its log, and its ports for probes and Prometheus, need."""

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from time import monotonic

from app.cli.tracing import sent_traces
from app.config import Settings
from app.core.runs.claim import Claim
from app.db import Database, watched
from app.scheduler.instance import Instance
from app.scheduler.tasks import background
from app.telemetry import Observer, Observers, new_trace
from app.telemetry.counts import Counts
from app.telemetry.execution_lines import ExecutionLines
from app.telemetry.logs import log_fact
from app.telemetry.readiness import Readiness
from app.telemetry.tracing import is_traced


@asynccontextmanager
async def monitored(settings: Settings) -> AsyncIterator[Instance]:
    """Make an instance, and answer on its ports until the body ends.

    What no port shows is not observed, and costs the instance nothing.

    Raises:
        PortTaken: another program listens on one of the ports.
        InvalidSettings: traces are asked for in a way that there is not.
    """
    counts, readiness = Counts(), Readiness()
    async with AsyncExitStack() as stack:
        observers: list[Observer] = [log_fact]
        if settings.log_executions:
            observers = [await stack.enter_async_context(execution_lines(settings))]
        if settings.metrics_port:
            observers.append(counts)
        if settings.health_port:
            observers.append(readiness)
        traceparent: Callable[[Claim], str] = new_trace
        if is_traced(os.environ):
            traces = await stack.enter_async_context(sent_traces(settings))
            observers.append(traces)
            traceparent = traces.traceparent
        note_request = counts.count_request if settings.metrics_port else None
        watched_closely = settings.log_executions or settings.metrics_port or is_traced(os.environ)
        observed = Observers(
            *observers,
            traceparent=traceparent,
            note_request=note_request,
            tells_successes=bool(watched_closely) or settings.log_level == "debug",
        )
        instance = Instance(settings, observed)
        if settings.metrics_port or settings.health_port:
            from app.cli.ports import answering

            await stack.enter_async_context(
                answering(
                    settings,
                    instance,
                    counts,
                    readiness,
                    traced=is_traced(os.environ),
                )
            )
        yield instance


@asynccontextmanager
async def execution_lines(settings: Settings) -> AsyncIterator[ExecutionLines]:
    """Give the observer that writes the executions of chosen jobs, with a session to look up."""
    async with Database.connect(
        settings.required_database_url(),
        application_name=f"tocsin log {socket.gethostname()[:30]}:{os.getpid()}",
        max_connections=1,
    ) as db:
        chosen = settings.log_executions
        lines = ExecutionLines(chosen, choose=partial(watched.choose, db, chosen), clock=monotonic)
        async with background(look_up=lines.keep_looking_up()):
            yield lines
        await lines.write_last()
