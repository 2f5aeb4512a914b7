"""The protocol of claims as a state machine: whatever the order, the promises hold.

Instances claim, extend and settle, runs of the plan and runs beside it; leases run out; a person
pauses one job, a tag or all, skips, closes, explains, moves, reschedules, runs, replays, cancels
and deletes jobs and their runs, runs that go beside others too, in orders that hypothesis picks, on
several sessions of a real Postgres. The model knows only who claimed what and which lease is over;
from that it says, before each step, what the step may do.

Many more examples than usual: PROTOCOL_EXAMPLES=2000.
"""

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import Struct

from app.core.runs.claim import Claim, Overlap, Settlement
from app.core.runs.closing import closed as closed_by
from app.core.runs.closing import is_judged
from app.core.runs.outcome import Outcome, Report
from app.core.runs.parallel import may_be_parted, parted, planned_behind
from app.core.runs.resume import resumed
from app.core.runs.skip import skipped
from app.core.runs.transition import released, settled
from app.core.runs.unbegun import as_first, may_be_unbegun, unbegun_since
from app.core.schedule.schedule import Schedule, run_after
from app.db import Database, calendars, claims, evidence, leases, overlap, takeovers
from app.db.listener import Session, open_session
from tests.support.builders import insert_job, plan_jobs

INSTANCES = ("one", "two", "three")
LEASE_SECONDS = 60.0
OUTCOMES = (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.TIMED_OUT, Outcome.CANCELLED)
MAX_JOBS = 3
OCCURRENCES = (
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    datetime(2026, 1, 3, 3, 4, 5, tzinfo=UTC),
)
NUMBER = st.integers(min_value=0, max_value=99)
EXPLAINED = {
    "executing": {"executing", "instance_gone", "cutting_off"},
    "paused": {"paused"},
    "finished": {"finished", "max_runs", "window_ended"},
    "failed": {"failed", "max_runs", "window_ended"},
    "invalid": {"invalid"},
}
"""Of some states the words of which one is in the explanation of a job that stands so."""
T = TypeVar("T")


class Hold(Struct, kw_only=True):
    """One claim as the model knows it."""

    claim: Claim
    instance: str
    ended: str | None = None
    """How: an outcome, `released`, `lost`; None: it is the present lease of the row."""
    cancelled: bool = False
    """Whether a person cancelled it."""


class Protocol(RuleBasedStateMachine):
    """The model beside the real thing.

    A precondition asks only what hypothesis chose itself: what is claimed, and which runs there
    are, is up to the clock as well, and hypothesis refuses a precondition that is once true and
    once not after the same steps.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.holds: list[Hold] = []
        self.jobs: list[UUID] = []
        self.deleted: set[UUID] = set()
        """Jobs, and runs beside the plan that a person deleted."""
        self.asked: dict[UUID, Counter[datetime]] = defaultdict(Counter)
        self.expired: set[UUID] = set()
        self.cutting: list[Hold] = []
        """What was cancelled and may execute yet: its lease has not run out."""
        self.ever_cut: set[UUID] = set()
        """The jobs of which something was cancelled."""
        self.beside: set[UUID] = set()
        """The runs that go beside others."""
        self.run(self.open(url))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def open(self, url: str) -> None:
        self.person: asyncpg.Connection = await asyncpg.connect(url)
        self.stack.push_async_callback(self.person.close)
        await self.person.execute(
            """delete from tocsin.jobs; delete from tocsin.executions; delete from tocsin.pauses;
               insert into tocsin.calendars (name, dates) values ('holiday', '{2026-01-01}')
               on conflict do nothing;
               set session_replication_role = replica;
               update tocsin.calendars set updated_at = now() - interval '1 hour',
                   worked_out_at = now() - interval '1 hour',
                   times = tstzmultirange(tstzrange('2020-01-01', now() + interval '8 days'));
               set session_replication_role = origin"""
        )
        self.db = await self.stack.enter_async_context(
            Database.connect(url, application_name="test")
        )
        self.sessions: dict[str, Session] = {
            name: await self.stack.enter_async_context(
                open_session(url, wake=lambda: None, application_name=name)
            )
            for name in INSTANCES
        }

    def teardown(self) -> None:
        try:
            self.run(self.check_records())
            self.carry_out_what_is_left()
        finally:
            self.run(self.stack.aclose())
            self.runner.close()

    # What the model knows.

    def present(self, id: UUID) -> Hold | None:
        """The hold of a row that Postgres must take for the current one."""
        for hold in reversed(self.holds):
            if hold.claim.id == id:
                gone = {id, hold.claim.job_id} & self.deleted
                return hold if hold.ended is None and not gone else None
        return None

    def present_of(self, job_id: UUID) -> list[Hold]:
        """The present holds of a job's row and of its runs."""
        rows = {hold.claim.id for hold in self.holds if hold.claim.job_id == job_id}
        return [hold for hold in map(self.present, rows) if hold is not None]

    def job(self, number: int) -> UUID:
        return self.jobs[number % len(self.jobs)]

    async def row(self, id: UUID) -> dict[str, Any] | None:
        row = await self.person.fetchrow("select * from tocsin.jobs where id = $1", id)
        return None if row is None else dict(row)

    async def runs(self, job_id: UUID) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self.person.fetch(
            "select * from tocsin.jobs where run_of = $1 order by id", job_id
        )
        return rows

    # What instances do.

    @rule(
        instance=st.sampled_from(INSTANCES),
        limit=st.integers(min_value=1, max_value=4),
        by_priority=st.booleans(),
    )
    def look(self, instance: str, limit: int, by_priority: bool) -> None:  # noqa: FBT001 - drawn
        found = self.run(
            claims.look(
                self.sessions[instance],
                limit=limit,
                ahead_seconds=0.0,
                lease_seconds=LEASE_SECONDS,
                kinds=("http",),
                instance=instance,
                by_priority=by_priority,
            )
        )
        for claim in found.claims:
            if claim.run_id and claim.overlap is Overlap.ALLOW_ALL:
                self.beside.add(claim.id)
            if claim.id not in self.beside:
                assert claim.job_id not in {hold.claim.job_id for hold in self.cutting}, "cut off"
            for before in self.present_of(claim.job_id):
                rows = {before.claim.id, claim.id}
                if len(rows) == 2 and rows & self.beside:
                    continue
                assert before.claim.id in self.expired, "two leases at once"
                assert claim.fence > before.claim.fence
                before.ended = "lost"
            self.expired.discard(claim.id)
            self.holds.append(Hold(claim=claim, instance=instance))
        self.run(plan_jobs(self.db))

    @rule(number=NUMBER)
    def part(self, number: int) -> None:
        """An instance starts a run of the plan of a job whose runs go side by side."""
        if not self.holds:
            return
        hold = self.holds[number % len(self.holds)]
        if not may_be_parted(hold.claim) or hold.claim.id in self.expired:
            return
        ours, run_id = self.present(hold.claim.id) is hold, uuid4()
        following = planned_behind(hold.claim)

        edited_at = self.run(
            overlap.part_run(self.db, hold.claim, run_id=run_id, following=following)
        )

        assert edited_at is None or ours
        if edited_at is not None:
            hold.claim = parted(hold.claim, run_id=run_id, edited_at=edited_at)
            self.beside.add(run_id)

    @rule(number=NUMBER)
    def extend(self, number: int) -> None:
        if not self.holds:
            return
        hold = self.holds[number % len(self.holds)]
        id = hold.claim.id

        told = self.run(leases.extend(self.db, [hold.claim], lease_seconds=LEASE_SECONDS))

        ours = self.present(id) is hold
        assert (id in told.extended, id in told.lost) == (ours, not ours)
        if ours:
            self.expired.discard(id)

    @rule(numbers=st.lists(NUMBER, min_size=1, max_size=4), outcome=st.sampled_from(OUTCOMES))
    def settle(self, numbers: list[int], outcome: Outcome) -> None:
        """Settle a batch of whatever was ever claimed, late ones and settled ones among them."""
        if not self.holds:
            return
        batch = {
            number % len(self.holds): self.holds[number % len(self.holds)] for number in numbers
        }
        self.close(
            [(hold, closed(hold.claim, outcome, by=hold.instance)) for hold in batch.values()],
            outcome,
        )

    @rule(number=NUMBER)
    def give_back(self, number: int) -> None:
        if not self.holds:
            return
        hold = self.holds[number % len(self.holds)]
        self.close([(hold, released(hold.claim))], "released")

    @rule(number=NUMBER)
    def drop_skipped(self, number: int) -> None:
        """An instance finds that the run which it claimed is to be dropped."""
        if not self.holds:
            return
        hold = self.holds[number % len(self.holds)]
        claim = hold.claim
        now = datetime.now(UTC)
        settlement = skipped(claim, now=now)
        if settlement is None and claim.is_resumed:
            settlement = resumed(claim, now=now)
        if settlement is None:
            assert claim.run_id or claim.attempt > 1 or not claim.skip_runs
            return
        ours = self.present(claim.id) is hold
        before, was = self.run(self.count_skipped(claim)), self.run(self.row(claim.id))

        self.close([(hold, settlement)], "released")

        after, row = self.run(self.count_skipped(claim)), self.run(self.row(claim.id))
        assert after - before == (len(settlement.executions) if ours else 0)
        if ours:
            assert was is not None
            assert row is not None
            kept = was["edited_at"] != claim.edited_at or settlement.skip_runs is None
            assert row["skip_runs"] == (was["skip_runs"] if kept else settlement.skip_runs or None)
            assert row["runs"] == was["runs"]

    @rule(number=NUMBER)
    def drop_closed(self, number: int) -> None:
        """An instance finds that the run which it claimed is closed, or was to be dropped as such.

        A later attempt is judged as the first only if no instance has begun the run.
        """
        holds = [hold for hold in self.holds if hold.claim.calendars]
        if not holds:
            return
        hold = holds[-1 - number % len(holds)]
        claim = hold.claim
        if may_be_unbegun(claim):
            attempts = self.run(takeovers.read_attempts_before(self.db, claim))
            if unbegun_since(claim, attempts) is not None:
                run = (claim.id, claim.scheduled_for)
                assert not [
                    one
                    for one in self.holds
                    if (one.claim.id, one.claim.scheduled_for) == run
                    and one.claim.fence < claim.fence
                    and one.ended not in {"lost", "vanished", "released"}
                ], "an attempt had ended"
                claim = as_first(claim)
        if not is_judged(claim):
            return
        closing = self.run(calendars.read_closing(self.db, claim.calendars, at=claim.scheduled_for))
        settlement = closed_by(claim, closing, now=datetime.now(UTC))
        if settlement is None:
            return
        ours = self.present(hold.claim.id) is hold
        before, was = self.run(self.count_closed(claim)), self.run(self.row(claim.id))

        self.close([(hold, settlement)], "released")

        after, row = self.run(self.count_closed(claim)), self.run(self.row(claim.id))
        moved = was is not None and was["next_run"] != claim.next_run
        assert after - before == (len(settlement.executions) if ours and not moved else 0)
        if ours:
            assert was is not None
            assert row is not None
            assert row["runs"] == was["runs"]
            assert moved or row["attempt"] == 0

    async def count_closed(self, claim: Claim) -> int:
        """Count the closed runs of a job that are on record."""
        many: int = await self.person.fetchval(
            """select coalesce(count(*), 0) from tocsin.executions
               where job_id = $1 and outcome = 'missed' and reason = 'calendar'""",
            claim.job_id,
        )
        return many

    async def count_skipped(self, claim: Claim) -> int:
        """Count the skipped runs of a job that are on record."""
        many: int = await self.person.fetchval(
            """select count(*) from tocsin.executions
               where job_id = $1 and outcome = 'missed' and reason in ('skipped', 'paused')""",
            claim.job_id,
        )
        return many

    @rule(number=NUMBER)
    def let_go(self, number: int) -> None:
        """An instance has ended an execution that it could not settle."""
        if not self.holds:
            return
        hold = self.holds[number % len(self.holds)]

        told = self.run(evidence.free_cancelled(self.db, [hold.claim], instance=hold.instance))

        assert told == ({hold.claim.execution_id} if hold.cancelled else set())
        self.cutting = [one for one in self.cutting if one is not hold]

    def close(self, batch: list[tuple[Hold, Settlement]], how: str) -> None:
        ours = {hold.claim.execution_id for hold, _ in batch if self.present(hold.claim.id) is hold}
        before = {hold.claim.id: self.run(self.row(hold.claim.id)) for hold, _ in batch}

        results = self.run(claims.settle(self.db, [settlement for _, settlement in batch]))
        executions = [one for _, settlement in batch for one in settlement.executions]
        self.run(evidence.record(self.db, executions))

        settled_rows: set[UUID] = set()
        for (hold, _), result in zip(batch, results, strict=True):
            claim = hold.claim
            if result.settled:
                settled_rows.add(claim.id)
            assert result.settled is (claim.execution_id in ours)
            assert not result.held
            if result.settled:
                hold.ended = str(how)
                self.expired.discard(claim.id)
            elif hold.ended in {None, "released", "vanished"}:  # nobody has recorded it yet
                gone = claim.job_id in self.deleted
                kept = str(how) if gone else "lost"
                hold.ended = kept if how != "released" else (hold.ended or "vanished")
        settled_jobs = {hold.claim.job_id for hold, _ in batch if hold.claim.id in settled_rows}
        for id, was in before.items():
            row = self.run(self.row(id))
            if id not in settled_rows:
                job_id = was and (was["run_of"] or id)
                assert row == was or job_id in settled_jobs, "a late settlement changed something"
                continue
            assert was is not None
            if row is None:  # a run that is over
                assert was["run_of"] is not None
                continue
            assert row["locked_until"] is None
            assert row["paused_at"] == was["paused_at"]
            [due_at] = [
                hold.claim.next_run
                for hold, _ in batch
                if hold.claim.id == id and hold.claim.execution_id in ours
            ]
            if was["next_run"] != due_at:  # a person moved it
                assert row["next_run"] == was["next_run"]
                assert row["scheduled_for"] == was["scheduled_for"]

    # What time and people do.

    @precondition(lambda self: self.jobs)
    @rule(number=NUMBER)
    def lease_runs_out(self, number: int) -> None:
        job_id = self.job(number)
        rows = self.run(
            self.person.fetch(
                """update tocsin.jobs set locked_until = now() - interval '1 ms'
                   where (id = $1 or run_of = $1) and execution_id is not null returning id""",
                job_id,
            )
        )
        over = {row["id"] for row in rows}
        assert over == {hold.claim.id for hold in self.present_of(job_id)}
        self.expired |= over
        self.run(
            self.person.execute(
                """update tocsin.jobs set locked_until = now() - interval '1 ms'
                   where (id = $1 or run_of = $1) and execution_id is null
                     and locked_until is not null""",
                job_id,
            )
        )
        self.cutting = [hold for hold in self.cutting if hold.claim.job_id != job_id]

    @precondition(lambda self: len(self.jobs) < MAX_JOBS)
    @rule(
        schedule=st.sampled_from(
            [
                {},
                {"every_seconds": 3600},
                {"cron": "0 3 * * *"},
                {"every_seconds": 60, "max_runs": 2},
                {"every_seconds": 0.1, "max_runs": 20, "overlap": "skip"},
                {"every_seconds": 0.1, "max_runs": 20, "calendars": ["!holiday"]},
                {"every_seconds": 0.1, "max_runs": 20, "overlap": "buffer_one"},
                {"every_seconds": 0.1, "max_runs": 20, "overlap": "cancel_other"},
                {"every_seconds": 0.1, "max_runs": 20, "overlap": "allow_all"},
                {"every_seconds": 0.1, "max_runs": 20, "overlap": "skip", "jitter_percent": 90},
                {"every_seconds": 0.1, "max_runs": 20, "jitter_seconds": 5},
                {"every_seconds": 0.1, "max_runs": 20, "priority": 2},
                {"priority": 3},
            ]
        )
    )
    def insert(self, schedule: dict[str, Any]) -> None:
        self.jobs.append(self.run(insert_job(self.person, backoff_seconds=0, **schedule)))

    @precondition(lambda self: self.jobs)
    @rule(
        number=NUMBER,
        edit=st.sampled_from(
            [
                "update tocsin.jobs set paused_at = now() where id = $1",
                "update tocsin.jobs set paused_at = null where id = $1",
                "update tocsin.jobs set next_run = clock_timestamp() where id = $1",
                "update tocsin.jobs set next_run = now() + interval '1 day' where id = $1",
                "update tocsin.jobs set next_run = null where id = $1",
                "update tocsin.jobs set description = 'edited' where id = $1",
                "select tocsin.pause($1::uuid, 'why', now() + interval '1 hour')",
                "select tocsin.resume($1::uuid, 'skip')",
                "select tocsin.resume($1::uuid, 'once')",
                "select tocsin.pause_all() where $1::uuid is not null",
                "select tocsin.resume_all() where $1::uuid is not null",
                "select tocsin.pause_tag('billing') where $1::uuid is not null",
                "select tocsin.resume_tag('billing', 'skip') where $1::uuid is not null",
                "update tocsin.jobs set tags = '{billing}' where id = $1",
                "update tocsin.jobs set tags = '{}' where id = $1",
                "update tocsin.jobs set skip_runs = 2, skip_until = null where id = $1",
                "update tocsin.jobs set skip_runs = null, skip_until = null where id = $1",
                """update tocsin.jobs set jitter_seconds = null, jitter_percent = 50
                   where id = $1 and run_at is null""",
                "update tocsin.jobs set jitter_percent = null, jitter_seconds = null where id = $1",
                "update tocsin.jobs set priority = 3 - priority where id = $1",
                "update tocsin.jobs set overlap = 'skip' where id = $1",
                "update tocsin.jobs set overlap = 'buffer_all' where id = $1",
                """update tocsin.jobs set calendars = '{!holiday}'
                   where id = $1 and run_at is null""",
                "update tocsin.jobs set calendars = null where id = $1",
                """update tocsin.jobs set run_at = null, every_seconds = null,
                   cron = '*/5 * * * *' where id = $1""",
                """update tocsin.jobs set run_at = null, cron = null,
                   every_seconds = 7200 where id = $1""",
            ]
        ),
    )
    def edit(self, number: int, edit: str) -> None:
        self.run(self.person.execute(edit, self.job(number)))

    @precondition(lambda self: self.jobs)
    @rule(
        number=NUMBER,
        which=NUMBER,
        edit=st.sampled_from(
            [
                "update tocsin.jobs set next_run = clock_timestamp() where id = $1",
                "update tocsin.jobs set next_run = now() + interval '1 day' where id = $1",
                "update tocsin.jobs set next_run = null where id = $1",
                "update tocsin.jobs set paused_at = now(), attempt = 1 where id = $1",
                "update tocsin.jobs set run_at = null, cron = '0 3 * * *' where id = $1",
                "delete from tocsin.jobs where id = $1",
            ]
        ),
    )
    def edit_run(self, number: int, which: int, edit: str) -> None:
        """Change a run beside the plan by hand: delete it, or take its next run away."""
        job_id = self.job(number)
        runs = self.run(self.runs(job_id))
        if not runs:
            return
        run = runs[which % len(runs)]
        left = len(runs)
        self.run(self.person.execute(edit, run["id"]))
        executing = run["execution_id"] is not None
        gives_up = "null where" in edit and run["next_run"] is not None and not executing
        if edit.startswith("delete") or gives_up:
            self.deleted.add(run["id"])
            self.cutting = [hold for hold in self.cutting if hold.claim.id != run["id"]]
            self.asked[job_id][run["scheduled_for"]] -= 1
            left -= 1
        assert len(self.run(self.runs(job_id))) == left

    @precondition(lambda self: self.jobs)
    @rule(
        number=NUMBER,
        asked=st.sampled_from(["skip", "buffer_one", "cancel_other", "allow_all", "as_job"]),
    )
    def ask_by_overlap(self, number: int, asked: str) -> None:  # noqa: C901 - the policies
        """Run now under an overlap."""
        job_id = self.job(number)
        before = None if job_id in self.deleted else self.run(self.row(job_id))
        if before is None:
            return
        policy = before["overlap"] if asked == "as_job" else asked
        runs = {row["id"]: row for row in self.run(self.runs(job_id))}
        unfinished = before["attempt"] or before["locked_until"] or runs
        waiting = [
            row
            for row in runs.values()
            if not row["next_run"] and not row["execution_id"] and not row["runs"]
        ]
        displaced = [row for row in waiting if row["overlap"] != "allow_all"]
        if {row["scheduled_for"] for row in displaced} & set(OCCURRENCES):
            return  # which may be carried out as well as missed
        held = self.present_of(job_id)

        try:
            rows = self.run(
                self.person.fetch("select * from tocsin.run_now($1, null, $2)", job_id, asked)
            )
        except asyncpg.CheckViolationError:
            assert policy == "skip"
            assert unfinished or before["next_run"] <= datetime.now(UTC)
            assert {row["id"] for row in self.run(self.runs(job_id))} == runs.keys()
            return

        assert policy != "skip" or not unfinished
        [row] = rows
        now = {one["id"]: one for one in self.run(self.runs(job_id))}
        for id in now.keys() - runs.keys():
            self.asked[job_id][now[id]["scheduled_for"]] += 1
            if now[id]["overlap"] == "allow_all":
                self.beside.add(id)
        if policy == "buffer_one" and now.keys() - runs.keys():
            for one in displaced:
                self.asked[job_id][one["scheduled_for"]] -= 1
                self.deleted.add(one["id"])
        if policy == "cancel_other":
            assert len(now.keys() - runs.keys()) == 1
            assert row["attempt"] == 0
            for hold in held:
                hold.ended, hold.cancelled = Outcome.CANCELLED.value, True
                self.ever_cut.add(job_id)
                if hold.claim.id not in self.expired | self.beside:
                    self.cutting.append(hold)
                self.expired.discard(hold.claim.id)
            self.run(plan_jobs(self.db))

    @precondition(lambda self: self.jobs)
    @rule(number=NUMBER, occurrence=st.sampled_from([None, *OCCURRENCES]))
    def ask(self, number: int, occurrence: datetime | None) -> None:
        """Run now, or a replay; which identity it got is in its row."""
        job_id = self.job(number)
        before = None if job_id in self.deleted else self.run(self.row(job_id))
        runs = {row["id"]: row for row in self.run(self.runs(job_id))}
        retrying = {
            id: row
            for id, row in (runs | {job_id: before}).items()
            if row is not None
            and row["attempt"]
            and not row["locked_until"]
            and (row["run_of"] is None or row["next_run"])
        }

        rows = self.run(
            self.person.fetch("select * from tocsin.run_now($1, $2)", job_id, occurrence)
        )

        if before is None or (occurrence and retrying):
            assert rows == []
            return
        [row] = rows
        added = [one for one in self.run(self.runs(job_id)) if one["id"] not in runs]
        counted = 0 if before["overlap"] == "allow_all" else len(added)
        assert row["pending_runs"] == before["pending_runs"] + counted
        if not added:
            assert any(
                now is not None and now["next_run"] < waited["next_run"]
                for id, waited in retrying.items()
                for now in [self.run(self.row(id))]
            ), "the retry comes now"
            return
        [run] = added
        identity = run["scheduled_for"]
        assert occurrence in {None, identity}
        assert occurrence is not None or identity not in self.asked[job_id]
        self.asked[job_id][identity] += 1
        if run["overlap"] == "allow_all":
            self.beside.add(run["id"])

    @rule(number=NUMBER, retry=st.booleans())
    def cancel(self, number: int, retry: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        """Cancel whatever was ever claimed, what has ended among it."""
        if not self.holds:
            return
        hold = self.holds[number % len(self.holds)]
        claim = hold.claim
        ours = self.present(claim.id) is hold
        before = self.run(self.row(claim.job_id))

        rows = self.run(
            self.person.fetch("select * from tocsin.cancel($1, $2)", claim.execution_id, retry)
        )

        assert [row["reason"] for row in rows] == ["cancelled"] * (ours or hold.cancelled)
        if not ours:
            assert self.run(self.row(claim.job_id)) == before
            return
        hold.ended, hold.cancelled = Outcome.CANCELLED.value, True
        self.ever_cut.add(claim.job_id)
        if claim.id not in self.expired | self.beside:
            self.cutting.append(hold)
        self.expired.discard(claim.id)
        row = self.run(self.row(claim.id))
        again = retry and claim.attempt < claim.retry.max_attempts
        if row is None:
            assert claim.run_id is not None
            assert not again
        elif claim.run_id is not None:
            assert (again, row["attempt"]) == (True, claim.attempt)
        elif again and row["attempt"]:
            assert row["scheduled_for"] == claim.scheduled_for
        else:
            assert before is not None
            assert row["attempt"] == 0
            assert row["runs"] == before["runs"] + (not again)
        self.run(plan_jobs(self.db))

    @precondition(lambda self: self.jobs)
    @rule(number=NUMBER)
    def explain(self, number: int) -> None:
        """Whatever was done to a job, its explanation says how it stands."""
        job_id = self.job(number)
        rows = self.run(
            self.person.fetch(
                """select tocsin.state(j) as state, e.reason,
                       exists (select from tocsin.pauses where scope = 0) as all_paused
                   from tocsin.jobs j cross join lateral tocsin.explain(j.id) as e
                   where j.id = $1""",
                job_id,
            )
        )
        assert bool(rows) is (job_id not in self.deleted)
        reasons = {row["reason"] for row in rows}
        for row in rows[:1]:
            assert reasons & EXPLAINED.get(row["state"], reasons), (row["state"], reasons)
            if row["state"] == "scheduled" and row["all_paused"]:
                assert "all_paused" in reasons

    @precondition(lambda self: self.jobs)
    @rule(number=NUMBER)
    def delete(self, number: int) -> None:
        job_id = self.job(number)
        self.run(self.person.execute("delete from tocsin.jobs where id = $1", job_id))
        self.deleted.add(job_id)

    # What must come of what was asked for.

    def carry_out_what_is_left(self) -> None:
        """Whatever was done to them, all runs that were acknowledged are carried out."""
        self.run(
            self.person.execute(
                """select tocsin.resume_all();
                   select tocsin.resume_tag('billing');
                   update tocsin.jobs set paused_at = null;
                   update tocsin.jobs
                   set next_run = case when next_run > now() then now() else next_run end,
                       planned_at = clock_timestamp(),
                       locked_until = least(locked_until, now() - interval '1 ms')
                   where run_of is not null or pending_runs > 0"""
            )
        )
        for _ in range(200):
            found = self.run(
                claims.look(
                    self.sessions["one"],
                    limit=100,
                    ahead_seconds=0.0,
                    lease_seconds=LEASE_SECONDS,
                    kinds=("http",),
                    instance="one",
                )
            ).claims
            self.run(
                claims.settle(self.db, [closed(one, Outcome.SUCCEEDED, by="one") for one in found])
            )
            if not found:
                break
        else:
            pytest.fail("there is no end of it")
        rows = self.run(
            self.person.fetch(
                """select job_id, scheduled_for, count(*) filter (where attempt is not null) as many
                   from tocsin.executions group by 1, 2"""
            )
        )
        carried_out = {(row["job_id"], row["scheduled_for"]): row["many"] for row in rows}
        for job_id in set(self.jobs) - self.deleted:
            for identity, times in self.asked[job_id].items():
                assert carried_out.get((job_id, identity), 0) >= times, "acknowledged and lost"
        [left] = self.run(
            self.person.fetch(
                """select coalesce(sum(pending_runs), 0) as counted,
                       count(run_of) as rows from tocsin.jobs"""
            )
        )
        assert tuple(left) == (0, 0)

    # What must hold at all times.

    @invariant()
    def the_lease_in_the_row_is_the_present_one(self) -> None:
        rows = self.run(self.person.fetch("select * from tocsin.jobs"))
        jobs = {row["id"]: row for row in rows if row["run_of"] is None}
        assert jobs.keys() == set(self.jobs) - self.deleted
        runs = [row for row in rows if row["run_of"] is not None]
        assert {row["run_of"] for row in runs} <= jobs.keys()
        for id, row in jobs.items():
            of_job = [one for one in runs if one["run_of"] == id]
            active = [one for one in of_job if one["next_run"] or one["execution_id"]]
            in_turn = [one for one in active if one["id"] not in self.beside]
            assert row["pending_runs"] == (0 if row["overlap"] == "allow_all" else len(of_job))
            assert len(in_turn) <= 1
            assert active or not of_job or row["attempt"] > 0, "nothing holds it up"
            assert not (in_turn and row["attempt"] > 0), "the plan and a run of its own"
            self.check_spread(row)
        for row in rows:
            hold = self.present(row["id"])
            expected = hold and (hold.instance, hold.claim.execution_id)
            if row["locked_by"] and row["execution_id"] is None:  # what is left of a lease
                assert hold is None
                assert (row["run_of"] or row["id"]) in self.ever_cut
            else:
                assert expected == (row["locked_by"] and (row["locked_by"], row["execution_id"]))
            assert hold is None or hold.claim.fence == row["fence"]
            assert row["next_run"] is None or row["scheduled_for"] is not None
            assert row["attempt"] >= 0

    def check_spread(self, row: asyncpg.Record) -> None:
        """A planned run starts from its instant on, and before that of the run that follows."""
        if row["attempt"] or not row["planned_at"] or not row["next_run"] or row["run_at"]:
            return
        every = None if row["every_seconds"] is None else float(row["every_seconds"])
        plan = Schedule(cron=row["cron"], timezone=row["timezone"], every_seconds=every)
        following = run_after(plan, row["scheduled_for"], job_id=row["id"])
        assert following is not None
        assert row["scheduled_for"] <= row["next_run"] < following

    async def check_records(self) -> None:
        """Every claim that ended has exactly one row that says so, under its run's identity.

        What was missed was never carried out, nor is it planned: asked for and never claimed, or
        due while the run before it was unfinished.
        """
        rows = await self.person.fetch("select * from tocsin.executions")
        missed = [
            (row["job_id"], row["scheduled_for"])
            for row in rows
            if (row["outcome"], row["reason"]) == ("missed", "overlap")
        ]
        carried_out = {
            (row["job_id"], row["scheduled_for"]) for row in rows if row["attempt"] is not None
        }
        planned = await self.person.fetch("select id, scheduled_for from tocsin.jobs")
        assert len(set(missed)) == len(missed), "missed twice"
        assert not set(missed) & carried_out, "missed and carried out"
        assert not set(missed) & {tuple(row) for row in planned}, "missed and to come"
        assert {row["reason"] for row in rows if row["attempt"] is None} <= {
            *("deleted", "skipped", "overlap", "paused", "calendar"),
        }
        assert len({row["id"] for row in rows}) == len(rows)
        fences = [(row["job_id"], row["fence"]) for row in rows if row["attempt"] is not None]
        assert len(set(fences)) == len(fences)
        recorded = {
            row["id"]: (row["outcome"], row["fence"], row["scheduled_for"], row["attempt"])
            for row in rows
            if row["attempt"] is not None  # else missed: see below
        }
        assert recorded == {
            hold.claim.execution_id: (
                hold.ended,
                hold.claim.fence,
                hold.claim.scheduled_for,
                hold.claim.attempt,
            )
            for hold in self.holds
            if hold.ended not in {None, "released", "vanished"}
        }


def closed(claim: Claim, outcome: Outcome, *, by: str) -> Settlement:
    now = datetime.now(UTC)
    return settled(
        claim,
        Report(outcome=outcome),
        started_at=now,
        finished_at=now + timedelta(microseconds=1),
        instance=by,
        jitter=0.5,
    )


@pytest.mark.timeout(1800)
def test_the_protocol_keeps_its_promises_in_every_order(database_url: str) -> None:
    run_state_machine_as_test(
        lambda: Protocol(database_url),
        settings=settings(
            max_examples=int(os.environ.get("PROTOCOL_EXAMPLES", "60")),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
