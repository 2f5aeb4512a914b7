"""Jobs that call an address, in one line."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from tocsin.answers import Job
from tocsin.calls import Call, address, aware, given

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msgspec import UnsetType

    from tocsin.requests import Misfire, Overlap

METHODS = ("get", "post", "put", "patch", "delete")


def schedule(
    name: str,
    when: str | datetime | timedelta | None = None,
    *,
    get: str | None = None,
    post: str | None = None,
    put: str | None = None,
    patch: str | None = None,
    delete: str | None = None,
    json: Any = UNSET,  # noqa: ANN401 - any JSON
    body: str | UnsetType = UNSET,
    headers: Mapping[str, str] | UnsetType = UNSET,
    auth: Mapping[str, Any] | UnsetType = UNSET,
    target: Mapping[str, Any] | None = None,
    timezone: str | UnsetType = UNSET,
    every_seconds: float | UnsetType = UNSET,
    tags: list[str] | tuple[str, ...] | UnsetType = UNSET,
    description: str | UnsetType = UNSET,
    metadata: Mapping[str, Any] | UnsetType = UNSET,
    max_attempts: int | UnsetType = UNSET,
    backoff_seconds: float | UnsetType = UNSET,
    timeout_seconds: float | UnsetType = UNSET,
    overlap: Overlap | UnsetType = UNSET,
    misfire: Misfire | UnsetType = UNSET,
    calendars: list[str] | tuple[str, ...] | UnsetType = UNSET,
    flow_key: str | UnsetType = UNSET,
    jitter_seconds: float | UnsetType = UNSET,
    priority: int | UnsetType = UNSET,
    starts_at: datetime | str | UnsetType = UNSET,
    ends_at: datetime | str | UnsetType = UNSET,
    paused: bool | UnsetType = UNSET,
    dry_run: bool = False,
) -> Call[Job]:
    """Have an address called: make the job of this name, or make it what is written here.

    `when`: a cron such as `0 3 * * *`, an instant, or so long from now; `every_seconds` instead of
    it: from run to run. Exactly one of `get`, `post` and so on has the URL. `target`: further
    fields of the target. What is left out has its default, as in `jobs.put`; only a paused job
    stays paused.

    Sent again as it is it changes nothing, unless `when` is a `timedelta`, which counts anew.
    """
    urls = dict(zip(METHODS, (get, post, put, patch, delete), strict=True))
    named = [(method.upper(), url) for method, url in urls.items() if url is not None]
    if len(named) != 1:
        message = (
            'needs one address to call: write one of get, post, put, patch, delete="https://…"'
        )
        raise ValueError(f"{name}: {message}")
    [(method, url)] = named
    return Call(
        "PUT",
        address("/v1/jobs/{}", name),
        answer=Job,
        has_etag=True,
        query={"dry_run": dry_run or None},
        body=given(
            {
                "kind": "http",
                "target": {
                    **(target or {}),
                    **given({"json": json, "body": body, "headers": headers, "auth": auth}),
                    "method": method,
                    "url": url,
                },
                **times(when),
                "timezone": timezone,
                "every_seconds": every_seconds,
                "tags": tags,
                "description": description,
                "metadata": metadata,
                "max_attempts": max_attempts,
                "backoff_seconds": backoff_seconds,
                "timeout_seconds": timeout_seconds,
                "overlap": overlap,
                "misfire": misfire,
                "calendars": calendars,
                "flow_key": flow_key,
                "jitter_seconds": jitter_seconds,
                "priority": priority,
                "starts_at": starts_at,
                "ends_at": ends_at,
                "paused": paused,
            }
        ),
    )


def times(when: str | datetime | timedelta | None) -> dict[str, Any]:
    """Return the fields that say when."""
    match when:
        case None:
            return {}
        case datetime():
            return {"run_at": aware(when)}
        case timedelta():
            return {"run_in_seconds": when.total_seconds()}
        case _:
            return {"cron": when}
