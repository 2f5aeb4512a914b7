"""Optimistic locking of edits: the version of a job as `ETag`, and its check by `If-Match`."""

from datetime import datetime, timedelta

from app.core.jobs.identity import EPOCH
from app.core.jobs.job import StoredJob
from app.errors import EditConflict


def etag(updated_at: datetime) -> str:
    """Return the ETag of a job's version: edits change it, executions do not.

    It has the form of a strong tag, as If-Match can use no other, although `next_run` and the like
    may differ between two answers with the same tag (docs/adr/0018-entity-tags.md).
    """
    return f'"{(updated_at - EPOCH) // timedelta(microseconds=1):x}"'


def matches(if_match: str, updated_at: datetime) -> bool:
    """Return whether `If-Match` names this version.

    Weak tags are accepted too, as proxies that compress make tags weak.
    """
    given = {one.strip().removeprefix("W/") for one in if_match.split(",")}
    return "*" in given or etag(updated_at) in given


def require_match(if_match: str | None, job: StoredJob) -> None:
    """Refuse an edit that was made for another version.

    Raises:
        EditConflict: `If-Match` does not name this version.
    """
    if if_match is not None and not matches(if_match, job.updated_at):
        message = (
            f"the job's ETag is {etag(job.updated_at)}, which If-Match does not name: "
            "get the job again and make the edit on that"
        )
        raise EditConflict(message)
