"""Writes facts as log lines: readable text on a terminal, JSON elsewhere."""

import logging
import re
import sys
from time import monotonic
from typing import TextIO, assert_never, cast

import structlog
from msgspec import json, structs
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from app.core.facts import (
    Access,
    BatchSettled,
    BulkEnded,
    ClockSetBack,
    Connected,
    DescriptorsExhausted,
    Disconnected,
    Draining,
    Fact,
    Faulted,
    Ignored,
    LeaseLost,
    LeasesExtended,
    Looked,
    Planned,
    ProcessEnded,
    Pruned,
    PutAside,
    Replanned,
    Retrying,
    Serving,
    Settled,
    Started,
    Stopped,
    TakenOver,
    UpkeepFailed,
)
from app.core.runs.outcome import Outcome
from app.errors import AppError
from app.telemetry.lines import Lines, lines_to
from app.telemetry.repeats import Repeats

REPEATS = Repeats(monotonic)
"""The repetitions in the log of this process."""
LOGGER: structlog.typing.FilteringBoundLogger = structlog.get_logger()
SPOKEN_FOR = ("aio_pika", "aiormq")
"""Libraries whose failures become outcomes of executions; their own log lines would repeat them."""


def configure(*, level: str, log_format: str, stream: TextIO | Lines | None = None) -> None:
    """Set up structlog, and send the log lines of libraries through it.

    Without a stream, lines go to stderr, without waiting for its reader.
    """
    if stream is None:
        stream = lines_to(sys.stderr, on_lost=say_lost)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    terminal = log_format == "text" or (log_format == "auto" and stream.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if terminal
        else structlog.processors.JSONRenderer(serializer=as_json)
    )
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        # One write for each line, so that processes which share a pipe do not mix their lines.
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, stream)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)
    for library in SPOKEN_FOR:
        logging.getLogger(library).setLevel(logging.CRITICAL)
    set_on_retry_hooks([log_retry])


def log_retry(details: RetryDetails) -> None:
    """Log that a call failed and is tried again, without its arguments, which may have secrets."""
    error = details.caused_by
    log_fact(
        Retrying(
            error=str(error) if isinstance(error, AppError) else type(error).__name__,
            tries=details.retry_num,
            wait_seconds=round(details.wait_for, 2),
        )
    )


def say_lost(count: int) -> None:
    """Log how many lines were dropped."""
    LOGGER.warning("log_lines_lost", lines=count, because="their reader did not take them in time")


def log_fact(fact: Fact) -> None:
    """Write a fact as one line: its type in snake case as the event, its fields as fields.

    An error that occurs again and again, as during an outage, is written at growing intervals, with
    the number of omitted lines as `repeated`.
    """
    loudness = severity(fact)
    logger = LOGGER.bind()  # structlog caches the logger
    if not logger.is_enabled_for(loudness):
        return
    repeated: int | None = 0
    if isinstance(fact, Retrying | Disconnected):
        repeated = REPEATS.count((type(fact), fact.error))
    elif isinstance(fact, Faulted):
        repeated = REPEATS.count((fact.where, fact.error))
    if repeated is None:
        return
    event = re.sub(r"(?<!^)(?=[A-Z])", "_", type(fact).__name__).lower()
    fields = {name: value for name, value in structs.asdict(fact).items() if value is not None}
    if repeated:
        fields["repeated"] = repeated
    logger.log(loudness, event, **{name: plain(value) for name, value in fields.items()})


def as_json(event: object, **_: object) -> str:
    """Encode a line as JSON with msgspec, which knows datetimes and UUIDs."""
    return json.encode(event).decode()


def plain(value: object) -> object:
    """Return numbers as they are, floats to the microsecond, and all other values as text."""
    if isinstance(value, float):
        return round(value, 6)
    return value if isinstance(value, int) else str(value)


def severity(fact: Fact) -> int:
    """Return the log level of a fact.

    A success has level debug: there can be thousands a second, and each execution is a row of
    `tocsin.executions` anyway.
    """
    match fact:
        case Settled():
            fine = fact.outcome is Outcome.SUCCEEDED or (fact.outcome, fact.error) == (None, None)
            return logging.DEBUG if fine else logging.WARNING
        case Looked() | Started() | BatchSettled() | LeasesExtended():
            return logging.DEBUG
        case Faulted() | PutAside():
            return logging.ERROR
        case Serving(access=Access.OPEN) | DescriptorsExhausted():
            return logging.WARNING
        case (
            ClockSetBack()
            | Disconnected()
            | LeaseLost()
            | TakenOver()
            | ProcessEnded()
            | Retrying()
            | UpkeepFailed()
            | Ignored()
        ):
            return logging.WARNING
        case (
            Connected()
            | Planned()
            | Draining()
            | Stopped()
            | Pruned()
            | Replanned()
            | BulkEnded()
            | Serving()
        ):
            return logging.INFO
        case _:
            assert_never(fact)
