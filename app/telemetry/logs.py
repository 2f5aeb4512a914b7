"""Writes facts as log lines: readable text on a terminal, JSON elsewhere.

`docs/logs.md` lists the events and their fields.
"""

import logging
import re
import sys
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from time import monotonic
from typing import TextIO, assert_never, cast

import structlog
from msgspec import json, structs
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from app.core.facts import (
    Access,
    Alerted,
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
    Requested,
    Retrying,
    Serving,
    Settled,
    Started,
    Stopped,
    TakenOver,
    UpkeepFailed,
)
from app.errors import AppError
from app.telemetry.faults import faulted
from app.telemetry.lines import Lines, lines_to
from app.telemetry.repeats import Repeats
from app.telemetry.values import escaped, written

REPEATS = Repeats(monotonic)
"""The repetitions in the log of this process."""
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request to the API in whose course a line is written; None outside of any."""
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
        add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    terminal = log_format == "text" or (log_format == "auto" and stream.isatty())
    renderers: list[structlog.typing.Processor] = (
        [escape, structlog.dev.ConsoleRenderer(colors=stream.isatty())]
        if terminal
        else [structlog.processors.JSONRenderer(serializer=as_json)]
    )
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        # One write for each line, so that processes which share a pipe do not mix their lines.
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, stream)),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[OfLibraries()], level=max(threshold, logging.WARNING), force=True)
    for library in SPOKEN_FOR:
        logging.getLogger(library).setLevel(logging.CRITICAL)
    set_on_retry_hooks([log_retry])


class OfLibraries(logging.Handler):
    """Writes what libraries log as the event `library`.

    Only the first line of a message and, of an error, the place are written: what follows, and the
    text of the error, may be secret. Repetitions are left out as those of errors are.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record of a library."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # the arguments do not fit the message
            message = str(record.msg)
        message = message.strip().partition("\n")[0]
        error = record.exc_info and record.exc_info[1]
        fields = {"error": faulted(record.name, error).error} if error else {}
        repeated = REPEATS.count((record.name, message, *fields.values()))
        if repeated is None:
            return
        if repeated:
            fields["repeated"] = str(repeated)
        LOGGER.log(
            record.levelno,
            "library",
            logger=record.name,
            message=written(message),
            **{name: written(value) for name, value in fields.items()},
        )


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


def say_lost(count: int, because: str = "their reader did not take them in time") -> None:
    """Log how many lines were dropped, and why."""
    LOGGER.warning("log_lines_lost", lines=count, because=because)


def log_fact(fact: Fact) -> None:
    """Write a fact as one line, if lines of its severity are written."""
    log_at(severity(fact), fact)


def log_at(level: int, fact: Fact) -> None:
    """Write a fact as one line of a level: its type in snake case is the event.

    An error that occurs again and again, as during an outage, is written at growing intervals, with
    the number of omitted lines as `repeated`.
    """
    logger = LOGGER.bind()  # structlog caches the logger
    if not logger.is_enabled_for(level):
        return
    repeated: int | None = 0
    if isinstance(fact, Retrying | Disconnected):
        repeated = REPEATS.count((type(fact), fact.error))
    elif isinstance(fact, Faulted):
        repeated = REPEATS.count((fact.where, fact.error))
    if repeated is None:
        return
    fields = {
        name: written(value) for name, value in structs.asdict(fact).items() if value is not None
    }
    if repeated:
        fields["repeated"] = repeated
    logger.log(level, event_of(type(fact)), **fields)


def event_of(kind: type) -> str:
    """Return the name of a fact's event: that of its type in snake case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def access_lines(level: str) -> Callable[[Requested], None] | None:
    """Return what writes a line of this level for each request; None if there are to be none."""
    if level == "off":
        return None
    number = logging.getLevelNamesMapping()[level.upper()]
    return partial(log_at, number) if LOGGER.bind().is_enabled_for(number) else None


def add_request_id(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Add the id of the request to a line."""
    if (id := REQUEST_ID.get()) is not None:
        event["request_id"] = id
    return event


def escape(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Escape control characters in a line for a terminal; JSON escapes them itself."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = escaped(value)
    return event


def as_json(event: structlog.typing.EventDict, **_: object) -> str:
    """Encode a line as JSON."""
    try:
        return json.encode(event).decode()
    except UnicodeEncodeError:  # half of a surrogate pair, as file names may have
        return json.encode(escape(None, "", event)).decode()


def severity(fact: Fact) -> int:
    """Return the log level of a fact.

    A success has level debug: there can be thousands a second, and each execution is a row of
    `tocsin.executions` anyway.
    """
    match fact:
        case Settled():
            return logging.DEBUG if fact.is_fine else logging.WARNING
        case Looked() | Started() | BatchSettled() | LeasesExtended() | Requested():
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
            | Alerted()
            | BulkEnded()
            | Serving()
        ):
            return logging.INFO
        case _:
            assert_never(fact)
