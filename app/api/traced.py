"""Keeps which span made a job, where traces are sent: see docs/traces.md."""

from msgspec import json
from msgspec.structs import replace

from app.api.problems import ApiRequest
from app.core.jobs.job import MAX_METADATA_BYTES, JobDocument
from app.telemetry.tracing import span_of_header

FIELD = "traceparent"
"""The field of `metadata` that names the span, and the header that it is taken from."""


def traceparent_of(request: ApiRequest) -> str | None:
    """Return the caller's header `traceparent`; None if it is not to be kept."""
    header: str | None = request.headers.get(FIELD)
    if header is None or not request.app.state.keeps_traceparent or span_of_header(header) is None:
        return None
    return header


def made_by(document: JobDocument, traceparent: str | None) -> JobDocument:
    """Note in a job's metadata which span makes it, unless the job says so itself."""
    if traceparent is None or FIELD in document.metadata:
        return document
    metadata = document.metadata | {FIELD: traceparent}
    # As Postgres writes it there is a space after each comma and colon: as good as twice as long.
    if 2 * len(json.encode(metadata)) > MAX_METADATA_BYTES:
        return document
    return replace(document, metadata=metadata)
