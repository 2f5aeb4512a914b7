"""What is checked and planned when a job is written."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec import convert
from msgspec.structs import replace

from app.core.access.key_limits import NO_LIMITS
from app.core.jobs.job import (
    JobDocument,
    JobPatch,
    JobState,
    PlannedJob,
    StoredJob,
    document_of,
)
from app.core.jobs.patch import patched
from app.core.runs.claim import Misfire, OnClosed, Overlap
from app.core.schedule.occurrences import ZonedCron
from app.core.schedule.schedule import DstGap, DstOverlap
from app.errors import InvalidInput, MalformedInput
from app.jobs.create import PART, Batch
from app.jobs.input import NewPlans, draft_edit, draft_new
from app.jobs.shown import masked_job
from app.vault import SecretKeys
from app.wire.batch import documents
from app.wire.keys import KeyRequest
from app.wire.reading import read

NO_KEYS = SecretKeys()
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
STORED = StoredJob(
    id=UUID("01a20b8a-bff9-74d9-850d-71f7929b30ee"),
    name="report",
    description=None,
    tags=(),
    metadata={},
    kind="http",
    target={"url": "http://x", "auth": {"type": "bearer", "token": "hunter2"}},
    run_at=None,
    cron="0 3 * * *",
    timezone="UTC",
    every_seconds=None,
    dst_gap=DstGap.RUN_AFTER,
    dst_overlap=DstOverlap.FIRST,
    starts_at=None,
    ends_at=None,
    max_runs=None,
    max_attempts=5,
    backoff_seconds=5.0,
    backoff_max_seconds=3600.0,
    timeout_seconds=30.0,
    misfire=Misfire.RUN_ONCE,
    misfire_grace_seconds=None,
    max_catchup=100,
    overlap=Overlap.BUFFER_ALL,
    flow_key=None,
    jitter_seconds=None,
    jitter_percent=None,
    priority=0,
    paused=False,
    state=JobState.SCHEDULED,
    next_run=NOW + timedelta(hours=15),
    scheduled_for=NOW + timedelta(hours=15),
    plan_error=None,
    last_outcome=None,
    last_finished_at=None,
    consecutive_failures=0,
    failing=False,
    runs=3,
    pause=None,
    skip_runs=None,
    skip_until=None,
    calendars=None,
    on_closed=OnClosed.SKIP,
    min_gap_seconds=None,
    created_at=NOW,
    updated_at=NOW,
    execution_id=None,
)


def document(**changes: Any) -> JobDocument:  # noqa: ANN401
    return JobDocument(**{"kind": "http", "target": {"url": "http://x"}} | changes)


def new_job(written: JobDocument) -> PlannedJob:
    return draft_new(written, NO_KEYS, plans=NewPlans(NOW, limits=NO_LIMITS)).job


def edited_job(written: JobDocument, stored: StoredJob) -> PlannedJob | None:
    return draft_edit(stored, lambda _: written, NO_KEYS, now=NOW, limits=NO_LIMITS).job


def test_a_new_recurring_job_comes_with_its_plan_and_a_one_off_leaves_it_to_the_database() -> None:
    cron = new_job(document(cron="0 3 * * *"))
    interval = new_job(document(every_seconds=60.0))
    once = new_job(document(run_at=NOW))

    assert (cron.planned, cron.next_run) == (True, datetime(2026, 11, 25, 3, tzinfo=UTC))
    assert (interval.planned, interval.next_run) == (True, NOW + timedelta(seconds=60))
    assert (once.planned, once.next_run) == (False, None)


def test_seconds_from_now_become_the_instant_of_a_one_off() -> None:
    soon = new_job(document(run_in_seconds=90.5))

    assert (soon.run_at, soon.run_in_seconds) == (NOW + timedelta(seconds=90.5), None)
    assert (soon.planned, soon.next_run) == (False, None)


@pytest.mark.parametrize(
    "other", [{"run_at": NOW}, {"cron": "0 3 * * *"}, {"every_seconds": 60.0}], ids=str
)
def test_seconds_from_now_beside_another_schedule_are_refused(other: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        new_job(document(run_in_seconds=90, **other))

    assert [one.field for one in refusal.value.errors] == ["run_in_seconds"]
    assert "leave one of them out" in str(refusal.value)


def test_an_edit_counts_seconds_from_when_it_is_made_each_time() -> None:
    one_off = replace(STORED, cron=None, run_at=NOW - timedelta(hours=1))
    change = convert({"run_in_seconds": 60}, JobPatch)

    edit = draft_edit(
        one_off, lambda job: patched(document_of(job), change), NO_KEYS, now=NOW, limits=NO_LIMITS
    )

    assert edit.job is not None
    assert edit.job.run_at == NOW + timedelta(seconds=60)


def test_seconds_from_now_do_not_displace_a_cron_that_was_not_taken_away() -> None:
    change = convert({"run_in_seconds": 60}, JobPatch)

    with pytest.raises(InvalidInput, match="beside cron"):
        draft_edit(
            STORED,
            lambda job: patched(document_of(job), change),
            NO_KEYS,
            now=NOW,
            limits=NO_LIMITS,
        )


def test_two_new_jobs_have_two_ids() -> None:
    assert new_job(document(run_at=NOW)).id != new_job(document(run_at=NOW)).id


def test_what_nothing_changes_is_no_edit() -> None:
    assert edited_job(document_of(STORED), STORED) is None


def test_an_untidy_way_to_write_the_same_is_no_edit() -> None:
    untidy = replace(document_of(STORED), cron=" 0  3 * * * ", timezone=" UTC")

    assert edited_job(untidy, STORED) is None


@pytest.mark.parametrize(
    ("changes", "planned", "next_run"),
    [
        ({"description": "new"}, False, None),
        ({"cron": "0 4 * * *"}, True, datetime(2026, 11, 25, 4, tzinfo=UTC)),
        ({"timezone": "Asia/Tokyo"}, True, datetime(2026, 11, 24, 18, tzinfo=UTC)),
        ({"cron": "0 4 * * *", "max_runs": 3}, True, None),
        ({"cron": "0 4 * * *", "ends_at": NOW + timedelta(hours=1)}, True, None),
        ({"cron": None, "every_seconds": 60.0}, True, NOW + timedelta(seconds=60)),
        ({"cron": None, "run_at": NOW}, False, None),
    ],
    ids=["else", "cron", "zone", "had all", "over", "interval", "one-off"],
)
def test_an_edit_is_planned_here_only_where_a_job_recurs_and_its_schedule_changes(
    changes: dict[str, Any],
    planned: bool,  # noqa: FBT001
    next_run: datetime | None,
) -> None:
    job = edited_job(replace(document_of(STORED), **changes), STORED)

    assert job is not None
    assert (job.planned, job.next_run) == (planned, next_run)


def test_a_finished_job_that_may_run_more_is_planned_again() -> None:
    finished = replace(STORED, next_run=None, max_runs=3)

    job = edited_job(replace(document_of(finished), max_runs=4), finished)

    assert job is not None
    assert job.next_run == datetime(2026, 11, 25, 3, tzinfo=UTC)


def test_only_what_an_edit_changes_is_checked() -> None:
    typed = replace(STORED, name="batch", tags=("a,b",), target={"n": 1}, cron="61 * * * *")

    job = edited_job(replace(document_of(typed), description="new"), typed)

    assert job is not None
    assert job.cron == "61 * * * *"
    with pytest.raises(InvalidInput) as refusal:
        edited_job(replace(document_of(typed), tags=("c,d",), timezone="Asia/Tokyo"), typed)
    assert {error.field for error in refusal.value.errors} == {"tags[0]", "cron"}


def test_a_secret_of_another_kind_is_not_kept() -> None:
    amqp = replace(
        document_of(STORED),
        kind="amqp",
        target={"url": "amqp://me:***@broker/", "routing_key": "q"},
    )

    with pytest.raises(InvalidInput, match="none is stored"):
        edited_job(amqp, STORED)


def test_a_job_is_shown_without_its_secrets() -> None:
    assert masked_job(STORED).target["auth"] == {"type": "bearer", "token": "***"}
    assert masked_job(replace(STORED, kind="fax", target={"n": 1})).target == {"n": "***"}


@pytest.mark.parametrize("ends_at", [None, NOW + timedelta(days=9)])
def test_the_first_run_of_a_new_job_is_searched_for_once(
    ends_at: datetime | None, monkeypatch: pytest.MonkeyPatch
):
    searches = []
    search = ZonedCron.first

    def first(cron: ZonedCron, start: datetime, stop: datetime) -> datetime | None:
        searches.append(start)
        return search(cron, start, stop)

    monkeypatch.setattr(ZonedCron, "first", first)

    job = draft_new(
        document(cron="0 3 * * *", ends_at=ends_at), NO_KEYS, plans=NewPlans(NOW, limits=NO_LIMITS)
    ).job

    assert job.next_run == NOW + timedelta(hours=15)
    assert len(searches) == 1


def test_jobs_of_a_batch_that_share_a_schedule_are_planned_together(
    monkeypatch: pytest.MonkeyPatch,
):
    searches = []
    search = ZonedCron.first

    def first(cron: ZonedCron, start: datetime, stop: datetime) -> datetime | None:
        searches.append(start)
        return search(cron, start, stop)

    monkeypatch.setattr(ZonedCron, "first", first)
    written = [document(cron="0 3 * * *"), document(cron="0 4 * * *"), document(cron="H 5 * * *")]

    drafts = Batch(written * 40, NO_KEYS, now=NOW, limits=NO_LIMITS).draft_part()

    assert {one.next_run for one in drafts[::3]} == {NOW + timedelta(hours=15)}
    assert {one.next_run for one in drafts[1::3]} == {NOW + timedelta(hours=16)}
    assert len({one.next_run for one in drafts[2::3]}) > 1
    assert len(searches) == 1 + 1 + 40


def test_a_schedule_that_jobs_of_a_batch_share_is_refused_in_each() -> None:
    wrong = document(cron="0 25 * * *")
    batch = Batch([wrong, document(cron="0 3 * * *"), wrong], NO_KEYS, now=NOW, limits=NO_LIMITS)

    assert batch.draft_part() == []
    with pytest.raises(InvalidInput) as refusal:
        batch.check()

    first, second = refusal.value.errors
    assert [first.field, second.field] == ["[0].cron", "[2].cron"]
    assert first.message == second.message


def test_a_batch_is_drafted_in_parts_up_to_the_first_that_has_errors() -> None:
    right, wrong = document(cron="0 3 * * *"), document(cron="0 25 * * *")
    batch = Batch(
        [*[right] * PART, *[right] * PART, wrong, right, wrong], NO_KEYS, now=NOW, limits=NO_LIMITS
    )

    parts = [batch.draft_part(), batch.draft_part(), batch.draft_part()]

    assert [len(part) for part in parts] == [PART, PART, 0]
    assert [one.field for one in batch.errors] == [f"[{2 * PART}].cron", f"[{2 * PART + 2}].cron"]


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        (b"{}", "jobs", "is required"),
        (b'{"jobs": {}}', "jobs", "must be an array"),
        (b'[{"kind": "http"}]', "[0].target", "is required"),
        (b'{"jobs": [{"kind": "http"}]}', "[0].target", "is required"),
    ],
)
def test_what_a_batch_lacks_is_named(body: bytes, field: str, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        documents(body)

    [error] = refused.value.errors
    assert error.field == field
    assert said in error.message


def test_a_body_that_is_empty_is_told_so() -> None:
    with pytest.raises(MalformedInput, match="it is empty, or ends too early"):
        read(b"", JobDocument)


def test_a_scope_that_there_is_not_is_told_with_those_that_there_are() -> None:
    with pytest.raises(InvalidInput, match="'wrote' is not known: write one of read, write, admin"):
        read(b'{"name": "x", "scopes": ["read", "wrote"]}', KeyRequest)
