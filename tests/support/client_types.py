"""What `make types` has to understand of the client, and the mistakes that it has to find.

Nothing here is called: an ignored error that is none fails the check.
"""

from datetime import UTC, datetime, timedelta
from typing import assert_type

from tocsin import AsyncTocsin, Execution, Job, Tocsin
from tocsin.answers import Bucket, Bulk, BulkPreview


def calls(tocsin: Tocsin) -> None:
    """What the client that blocks answers."""
    assert_type(tocsin.jobs.get("nightly"), Job)
    assert_type(tocsin.jobs.get("nightly").next_run, datetime | None)
    assert_type(tocsin.schedule("nightly", "0 3 * * *", post="https://example.com"), Job)
    assert_type(tocsin.jobs.delete("nightly"), None)
    assert_type(tocsin.upcoming(bucket_seconds=60).page().buckets, list[Bucket] | None)
    assert_type(tocsin.bulk.preview(action="pause", filter={"tag": "billing"}), BulkPreview)
    assert_type([*tocsin.executions.list(outcome=["failed", "lost"])], list[Execution])


async def awaited_calls(tocsin: AsyncTocsin) -> None:
    """What the other client answers."""
    assert_type(await tocsin.jobs.get("nightly"), Job)
    assert_type(await tocsin.schedule("once", timedelta(minutes=5), get="https://example.com"), Job)
    assert_type(await tocsin.bulk.ask(action="pause", filter={"from": datetime.now(UTC)}), Bulk)
    assert_type([one async for one in tocsin.jobs.list(state="paused")], list[Job])


async def mistakes(tocsin: Tocsin, awaited: AsyncTocsin) -> None:
    """What has to be found before it is run."""
    tocsin.jobs.create(kind="http", targett={})  # type: ignore[call-arg]
    tocsin.jobs.update("nightly", misfire="never")  # type: ignore[arg-type]
    tocsin.jobs.batch([{"kind": "http"}])  # type: ignore[typeddict-item]
    tocsin.jobs.get("nightly").next_rum  # type: ignore[attr-defined]  # noqa: B018
    awaited.jobs.get("nightly").next_run  # type: ignore[attr-defined]  # noqa: B018
    awaited.jobs.get("nightly")  # type: ignore[unused-coroutine]
