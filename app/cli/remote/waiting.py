"""Waits for the end of runs and of bulk actions, by asking now and then."""

import time
from typing import Any

from app.cli.remote.api import job_path
from app.cli.remote.remote import Remote

ASK_SECONDS = 0.5
"""The pause between two questions."""


def wait_for_run(on: Remote, job: str, *, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a job now, wait for the end of that run, and return its last execution.

    The run is the first that ends after the call and that the plan does not have.
    """
    path = job_path(job, "executions")
    before = on.api.call("GET", job_path(job))
    planned = {before["next_run"], before["scheduled_for"]}  # which differ where runs are spread
    newest = on.api.call("GET", path, query={"limit": 1})["items"]
    since = newest[0]["id"] if newest else 0
    on.api.call("POST", job_path(job, "run"), body=body)
    while True:
        for query in ({"outcome": "succeeded"}, {"dead_letter": True}):
            found = on.api.call("GET", path, query={**query, "limit": 20})["items"]
            ended = [
                one for one in found if one["id"] > since and one["scheduled_for"] not in planned
            ]
            if ended:
                execution: dict[str, Any] = min(ended, key=lambda one: one["id"])
                return execution
        time.sleep(ASK_SECONDS)


def wait_for_bulk(on: Remote, id: str) -> dict[str, Any]:
    """Wait for the end of a bulk action, and return it."""
    while True:
        found: dict[str, Any] = on.api.call("GET", f"/v1/bulk/{id}")
        if found["ended_at"] is not None:
            return found
        time.sleep(ASK_SECONDS)
