"""Judges how the flows of jobs stand, for `tocsin doctor`."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from app.core.health import MAX_NAMED, Finding
from app.core.schedule.words import moment


class TroubledFlow(Struct, frozen=True, kw_only=True):
    """Something about a flow that a person may want to know."""

    flow_key: str
    due: int | None = None
    """How many of its jobs are due though it is on pause, up to a bound; None: it is not."""
    instance: str | None = None
    """An instance without a session that has permits; None: there is none."""
    permits: int | None = None
    until: datetime | None = None
    """When the last of these permits comes back."""


def flows_finding(troubled: Sequence[TroubledFlow]) -> Finding:
    """Judge the flows: what is named is advice, as a pause is meant and permits come back."""
    told = "; ".join(map(in_words, troubled[:MAX_NAMED]))
    return Finding(
        subject="flows",
        found=told or "none holds up jobs for a pause, a dead instance or no reason",
        remedy="Resume a flow by paused: false, delete limits that nothing needs (/v1/flows); "
        "permits of a dead instance come back with its leases."
        if troubled
        else "",
        grave=False,
    )


def in_words(flow: TroubledFlow) -> str:
    if flow.due is not None:
        return f"{flow.flow_key} is paused, and {flow.due} of its jobs are due"
    if flow.instance is not None and flow.until is not None:
        return (
            f"permits of {flow.flow_key} ({flow.permits}) are held by {flow.instance}, of which no "
            f"session is there, until {moment(flow.until)}"
        )
    return f"{flow.flow_key} has limits, and no job waits or executes in it"
