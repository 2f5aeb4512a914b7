"""Whether spans are made, and how spans are named: the part that needs no OpenTelemetry.

The names of spans follow from the rows of executions, so that whichever instance carries out an
attempt knows the span of its run, and of the attempt before.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from uuid import UUID

from msgspec import Struct

from app.errors import InvalidSettings

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
"""The header of W3C Trace Context; a later version may have more after a hyphen."""

MAX_LENGTH = 200
"""The most characters of such a header that are looked at."""


class Named(Struct, frozen=True):
    """A span by its ids, none of which is 0."""

    trace_id: int
    span_id: int

    def traceparent(self, *, sampled: bool) -> str:
        """Return the header that names this span."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-0{int(sampled)}"


def is_traced(environ: Mapping[str, str]) -> bool:
    """Return whether spans are to be sent, as OpenTelemetry's own variables say.

    Spans are sent where there is an address to send them to, or `OTEL_TRACES_EXPORTER` is `otlp`.

    Raises:
        InvalidSettings: a variable asks for an exporter or a protocol that there is not.
    """
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if exporter == "none" or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if exporter not in ("", "otlp"):
        raise InvalidSettings(f"OTEL_TRACES_EXPORTER cannot be {exporter!r}; it takes otlp or none")
    if not exporter and not any(environ.get(name) for name in ENDPOINTS):
        return False
    for name in PROTOCOLS:
        protocol = environ.get(name, "").strip()
        if protocol not in ("", PROTOCOL):
            raise InvalidSettings(f"{name} cannot be {protocol!r}; it takes {PROTOCOL}")
    return True


def span_of_run(job_id: UUID, run_id: UUID | None, scheduled_for: datetime) -> Named:
    """Name the span of a run, which is the first of a trace; `run_id` as a claim has it."""
    micros = (scheduled_for - EPOCH) // MICROSECOND
    row = run_id or job_id
    text = job_id.bytes + row.bytes + micros.to_bytes(8, "big", signed=True)
    digest = blake2b(text, digest_size=24).digest()
    return Named(int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:]) or 1)


def span_of_attempt(run: Named, execution_id: int) -> Named:
    """Name the span of an attempt of a run, by its row in `tocsin.executions`."""
    text = run.trace_id.to_bytes(16, "big") + execution_id.to_bytes(8, "big")
    return Named(run.trace_id, int.from_bytes(blake2b(text, digest_size=8).digest()) or 1)


def span_of_header(traceparent: object) -> Named | None:
    """Name the span that a header names; None for what is no such header."""
    if not isinstance(traceparent, str) or len(traceparent) > MAX_LENGTH:
        return None
    found = TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    named = Named(int(found[1], 16), int(found[2], 16))
    return named if named.trace_id and named.span_id else None
