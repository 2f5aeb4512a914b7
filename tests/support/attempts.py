"""Attempts as a scheduler would hand them to an executor."""

from uuid import UUID

from app.core.net.egress import EVERY_PORT, Egress
from app.targets.base import Context

JOB = UUID("0193ab7e-0000-7000-8000-000000000001")
RUN = "2026-11-24T03:00:00Z"
NEARBY = Egress(allow_private=True, ports=EVERY_PORT)
"""What receivers on loopback need."""
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def attempt(*, within: float = 10.0, job_name: str | None = "nightly report") -> Context:
    """The second attempt of a run; `within` is its timeout in seconds."""
    return Context(
        job_id=JOB,
        job_name=job_name,
        execution_id=42,
        run=RUN,
        attempt=2,
        timeout_seconds=within,
        traceparent=TRACE,
    )
