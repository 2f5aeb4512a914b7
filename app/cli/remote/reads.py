"""Commands that read jobs and executions: scripts call them so often that click would be slow.

Nothing here or below imports click, so that `app/cli/plain.py` can call them without it.
"""

from collections.abc import Callable
from typing import Any

from app.cli.remote.api import job_path
from app.cli.remote.instants import instant_given, past_range
from app.cli.remote.reading import is_given
from app.cli.remote.remote import Remote

JOBS = ("name", "kind", "state", "failing", "next_run", "last_outcome", "id")
EXECUTIONS = (
    *("id", "job_name", "scheduled_for", "attempt", "outcome", "duration_seconds"),
    *("reason", "status_code", "error"),
)


def list_jobs(on: Remote, *, limit: int, everything: bool, **given: Any) -> None:  # noqa: ANN401
    """List jobs."""
    given["next_before"] = instant_given(given["next_before"], "--next-before")
    empty = "no jobs match" if any(given.values()) else "there are no jobs yet"
    most = None if everything else limit
    on.print_pages("/v1/jobs", JOBS, query=given, limit=most, empty=empty)


def get_job(on: Remote, *, job: str) -> None:
    """Read a job: its definition and how it stands."""
    on.output.print_one(on.api.call("GET", job_path(job)))


def list_executions(on: Remote, *, limit: int, **given: object) -> None:
    """List executions, the latest first."""
    query = query_of(given)
    empty = "no executions match" if query else "there are no executions yet"
    on.print_pages("/v1/executions", EXECUTIONS, query=query, limit=limit, empty=empty)


def get_execution(on: Remote, *, id: int) -> None:
    """Read an execution: what was answered, and why it failed."""
    on.output.print_one(on.api.call("GET", f"/v1/executions/{id}"))


def query_of(given: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of the API for filters of executions that are given.

    Raises:
        CommandFailed: an instant is none.
    """
    query: dict[str, Any] = {
        name: list(one) if isinstance(one, tuple) else one
        for name, one in given.items()
        if is_given(one) and name not in {"since", "until"}
    }
    return query | past_range(given["since"], given["until"])


READS: dict[str, tuple[Callable[..., None], str]] = {
    "jobs list": (list_jobs, "Job"),
    "jobs get": (get_job, "Job"),
    "executions list": (list_executions, "Execution"),
    "executions get": (get_execution, "Execution"),
}
"""By its words, each command and what it prints."""
