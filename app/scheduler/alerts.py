"""Tells of what has happened by the alert rules, and has it delivered.

One instance at a time reads the executions that ended since the last pass, in batches, judges them
(`app.core.alerts.rules`) and writes what is told in the transaction that moves the cursor. So a
crash loses nothing, and nothing is told twice. What is told is then sent by ordinary jobs.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from time import monotonic
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from app.core.alerts.rules import (
    MIN_SLOW_SECONDS,
    NO_JOB,
    Event,
    Happened,
    Rule,
    Standing,
    begin,
    channels_of,
    new_state,
    remind,
)
from app.core.facts import Alerted, Faulted
from app.db import Database, alert_deliveries, alerts
from app.db.alerts import Batch, Cursor
from app.db.clock import Believed
from app.db.database import Runner
from app.db.isolating import is_outage, reason, run_by_parts
from app.scheduler.alert_messages import key_of, order, send_together
from app.scheduler.tasks import wait_and_clear
from app.telemetry import Observers
from app.telemetry.faults import faulted
from app.timers import Monotonic

PASS_SECONDS = 1.0
"""The time between two passes while there are rules, or something is to be delivered."""
DUTY = 0.1
"""The most of its time that an instance spends on judging executions, and on how jobs stand."""
QUICK_SECONDS = 0.1
"""A look at how jobs stand that takes no longer is made in every pass."""
MAX_SECONDS = 300.0
"""The longest time between two questions for rules; a notification tells of the first rule."""
TOGETHER_SECONDS = 30.0
"""How long a channel is told nothing of the same rule and event after a message: alerts that come
meanwhile go out as one message. The first message waits for nothing."""
LOOK_SECONDS = 1.0
"""How long a statement may take that searches for jobs which stand as rules watch for."""
MIN_REST_SECONDS = 10.0
"""How long no jobs are searched for by a rule whose statement took longer; doubled each time."""
REST_SECONDS = 600.0
"""The longest time that no jobs are searched for by such a rule."""
RUNNING = 200
"""Of how many executions under way one statement asks whether they take long beside others."""
SETS_OF_RULES = 100
"""For how many sets of rules it is known where they go on."""
STAGE_SECONDS = 5.0
"""How long a pass judges executions: the rest waits for the next pass, as the alerts that are told
by then have to be sent; rules take turns."""
BATCH = 1000
"""How many executions and states are handled at a time."""
SEND_BATCH = 20_000
"""How many alerts are sent in a transaction: up to so many that break at once are one message."""
WALK = 5000
"""Of how many states one pass asks whether they are over; the next one goes on behind them."""


async def keep_alerting(
    db: Database, observers: Observers, told: asyncio.Event, *, believed: Believed
) -> None:
    """Tell of what has happened while there are rules, until cancelled.

    `told` is set when there may be a rule, or something to deliver; `believed`: see `Alerting`.
    """
    alerting = Alerting(db, observers, monotonic, believed=believed)
    wait = 0.0
    while True:
        await wait_and_clear(told, seconds=wait)
        began = monotonic()
        try:
            is_busy = await alerting.work()
        except Exception as error:  # noqa: BLE001 - jobs go on without
            if not is_outage(error):
                observers.tell(faulted("alerts", error))
            is_busy = True
        took = monotonic() - began - alerting.looked_seconds
        wait = max(PASS_SECONDS, took * (1 - DUTY) / DUTY) if is_busy else MAX_SECONDS
        if is_busy:  # a notification is no reason for another pass before its time
            await asyncio.sleep(wait)
            wait = 0.0


class Rest(Struct, frozen=True, kw_only=True):
    """Until when no jobs are looked for by a rule, and for how long altogether."""

    until: float
    seconds: float


class Alerting:
    """Judges what has happened, sends what is told, and follows what was sent."""

    def __init__(
        self,
        db: Database,
        observers: Observers,
        clock: Monotonic,
        *,
        believed: Believed = lambda: None,
    ) -> None:
        self.db = db
        self.observers = observers
        self.clock = clock
        self.believed = believed
        """Tells whether the database's clock is ahead, by which nothing is judged."""
        self.resting: dict[UUID, Rest] = {}
        """Rules by which no jobs are looked for, as that took too long."""
        self.look_due = float("-inf")
        """When it is looked again how jobs stand."""
        self.looked_seconds = 0.0
        """How many seconds this pass has looked at that, if many: such looks have a pace of their
        own, so the rest after the pass is not for them."""
        self.went: dict[frozenset[UUID], int] = {}
        """The execution under way up to which some rules have looked; 0: they begin anew."""
        self.walked = alerts.FIRST
        """The state up to which the last pass has asked which are over."""

    def __repr__(self) -> str:
        return f"<Alerting: {self.db}>"

    async def work(self) -> bool:
        """Judge, send and follow; return whether there is a rule, or anything to deliver.

        Nothing is done while the time of the database's clock is not believed: by a clock that is
        ahead all jobs are late, and deliveries are due on the day that the clock shows.
        """
        self.looked_seconds = 0.0
        work = await alerts.read_work(self.db)
        is_busy = work.has_rules or work.has_open
        if not is_busy or self.is_ahead(work.now):
            return is_busy
        if work.has_rules:
            until = self.clock() + STAGE_SECONDS
            while not await self.judge() and self.clock() < until:
                pass
            await self.look_in_time()
        await self.send()
        await self.follow()
        return True

    def is_ahead(self, now: datetime) -> bool:
        """Return whether the database's clock shows a time that is not believed (yet)."""
        believed = self.believed()
        return believed is not None and now > believed

    async def look_in_time(self) -> None:
        """Judge how jobs stand now, if that is due: what takes long comes less often.

        So rules that are about many jobs delay no other alert than those of their own sort.
        """
        began = self.clock()
        if began < self.look_due:
            return
        try:
            await self.look_at_jobs()
        finally:
            took = self.clock() - began
            if took > QUICK_SECONDS:
                self.looked_seconds, self.look_due = took, began + took / DUTY

    async def judge(self) -> bool:
        """Judge a batch of what has happened; return whether nothing more can be judged now."""
        async with alerts.turn(self.db) as (transaction, cursor):
            if cursor is None or self.is_ahead(cursor.now):
                return True
            rules = await alerts.list_rules(transaction)
            batch = await self.read(transaction, rules, cursor)
            standing = await self.stand(transaction, rules, batch.happened)
            is_done = batch.is_whole and await self.end_what_is_over(transaction, cursor, standing)
            await self.write(transaction, standing)
            under_way = {*batch.under_way}
            pending = {*cursor.pending} & under_way
            pending |= {id for id in under_way if cursor.after_id < id <= batch.read_to}
            await alerts.move(transaction, cursor, after_id=batch.read_to, pending=sorted(pending))
        self.tell(standing)
        return is_done

    async def read(self, transaction: Runner, rules: list[Rule], cursor: Cursor) -> Batch:
        """Read what rules judge; runs that took long only if a rule is about them.

        What ends between the two statements, and was under way for the first, is judged next time.
        """
        slow = [rule.seconds or 0 for rule in rules if Event.SLOW in rule.watched()]
        if not slow:
            return await alerts.read_happened(transaction, cursor, limit=BATCH)
        seconds = max(MIN_SLOW_SECONDS, min(slow))
        long = await alerts.read_slow(transaction, cursor, seconds=seconds, limit=BATCH)
        upto = replace(cursor, mark_id=long.read_to) if cursor.is_over else cursor
        batch = await alerts.read_happened(transaction, upto, limit=BATCH)
        then = {*long.under_way}
        every = [one for one in batch.happened if one.id not in then]
        every += [one for one in long.happened if one.id <= batch.read_to]
        return replace(
            batch,
            happened=sorted(every, key=lambda one: one.id),
            is_whole=batch.is_whole and long.is_whole,
            under_way=[*{*batch.under_way} | then],
        )

    async def write(self, transaction: Runner, standing: Standing) -> None:
        """Write how rules stand, and what is told."""
        await alerts.write(
            transaction,
            written=standing.written(),
            removed=standing.removed(),
            told=[(one, channels_of(one, standing.rules)) for one in standing.told],
        )

    def tell(self, standing: Standing) -> None:
        """State what is told, once that is written."""
        for one in standing.told:
            self.observers.tell(Alerted(rule=one.rule, alert_event=one.event, job_id=one.job_id))

    async def stand(
        self, transaction: Runner, rules: list[Rule], happened: Sequence[Happened]
    ) -> Standing:
        """Judge executions by all rules."""
        ids = list({one.job_id for one in happened})
        standing = Standing(rules, await alerts.read_states(transaction, ids))
        for one in happened:
            standing.take(one)
        return standing

    async def end_what_is_over(
        self, transaction: Runner, cursor: Cursor, standing: Standing
    ) -> bool:
        """Judge which of the next jobs are well again; return whether to leave the rest for later.

        Recoveries count up to the mark: all that had failed before it has been judged.
        """
        horizon = cursor.marked_at if cursor.is_over and cursor.marked_at else None
        if horizon is None:
            return True
        await alerts.write(
            transaction, written=standing.written(), removed=standing.removed(), told=()
        )
        after = self.walked
        until = await alerts.find_over_until(transaction, after=after, limit=WALK)
        self.walked = until or alerts.FIRST
        over = await alerts.list_over(
            transaction, after=after, upto=until or alerts.LAST, horizon=horizon
        )
        for one in over:
            standing.end(one.state, job=one.job, is_gone=one.is_gone)
        return until is None or len(over) < BATCH

    async def look_at_jobs(self) -> None:
        """Judge how jobs stand now, in transactions apart from what has happened.

        A rule for which that takes too long, as too many jobs have its tag, holds up no other: it
        rests, and is then tried alone, after all others.
        """
        rules = [one for one in await alerts.list_rules(self.db) if one.is_looking]
        ids = {one.id for one in rules}
        self.resting = {id: rest for id, rest in self.resting.items() if id in ids}
        one_by_one = asyncio.Semaphore(1)  # as each locks the cursor

        def refused(rule: Rule, error: Exception) -> None:
            before = self.resting.get(rule.id)
            seconds = min(2 * before.seconds, REST_SECONDS) if before else MIN_REST_SECONDS
            self.resting[rule.id] = Rest(until=self.clock() + seconds, seconds=seconds)
            said = f"rule {rule.name!r} finds no jobs: {reason(error)}: name one, or a rarer tag"
            self.observers.tell(Faulted(where="alerts", error=said))

        usual = [one for one in rules if one.id not in self.resting]
        due = [
            one
            for one in rules
            if one.id in self.resting and self.resting[one.id].until <= self.clock()
        ]
        for some in ([usual] if usual else []) + [[one] for one in due[:1]]:
            found = {one.id: self.resting.get(one.id) for one in some}
            await run_by_parts(self.look_by, some, refused=refused, blame=True, turns=one_by_one)
            for id, rest in found.items():
                if rest is not None and self.resting.get(id) is rest:
                    del self.resting[id]

    async def look_by(self, rules: Sequence[Rule]) -> None:
        """Judge by some rules how jobs stand now."""
        by_id = {one.id: one for one in rules}
        began = self.clock()
        many = BATCH
        while many >= BATCH and self.clock() < began + STAGE_SECONDS:
            async with alerts.turn(self.db, limit_seconds=LOOK_SECONDS) as (transaction, cursor):
                if cursor is None or self.is_ahead(cursor.now):  # another instance is at it
                    return
                running = await self.list_running(transaction, rules)
                standing = await self.stand(transaction, list(rules), running)
                newly = await alerts.list_newly(transaction, rule_ids=[*by_id], limit=BATCH)
                for broken in newly:
                    key = (broken.rule_id, broken.event, broken.job_id)
                    if key in standing.changed:  # by another of its runs
                        continue
                    rule = by_id[broken.rule_id]
                    state = new_state(rule, broken.event, broken.job_id, now=cursor.now)
                    judged = begin(rule, state, job=broken.job, why=broken.why)
                    standing.note(key, *judged)
                reminded = await self.look_at_all(
                    transaction, cursor, standing, by_id, seconds=self.clock() - began
                )
                await self.write(transaction, standing)
            self.go_on(rules, running)
            many = max(len(newly), reminded, BATCH if len(running) == RUNNING else 0)
            self.tell(standing)

    async def list_running(self, transaction: Runner, rules: Sequence[Rule]) -> Sequence[Happened]:
        """List the next executions under way that take long already, if a rule is about them.

        Those that are not slow beside the runs before them stay where they are, however many.
        """
        slow = [rule for rule in rules if Event.SLOW in rule.watched()]
        if not slow:
            return []
        return await alerts.list_running(
            transaction,
            rule_ids=[rule.id for rule in slow],
            seconds=max(MIN_SLOW_SECONDS, min(rule.seconds or 0 for rule in slow)),
            after=self.went.get(frozenset(rule.id for rule in rules), 0),
            limit=RUNNING,
        )

    def go_on(self, rules: Sequence[Rule], running: Sequence[Happened]) -> None:
        """Have the next look by these rules go on behind the executions under way of this one."""
        if len(self.went) >= SETS_OF_RULES:
            self.went.clear()  # as rules come and go
        is_full = len(running) == RUNNING
        self.went[frozenset(rule.id for rule in rules)] = running[-1].id if is_full else 0

    async def look_at_all(
        self,
        transaction: Runner,
        cursor: Cursor,
        standing: Standing,
        by_id: dict[UUID, Rule],
        *,
        seconds: float,
    ) -> int:
        """Judge what is about no single job, and remind of what is not over; return of how many.

        `seconds`: how long this look has taken so far, all of whose reminders belong together.
        """
        for one in await alerts.list_of_rules(transaction, rule_ids=[*by_id]):
            rule = by_id[one.rule_id]
            if one.why is not None and one.state is None:
                state = new_state(rule, one.event, NO_JOB, now=cursor.now)
                standing.note(
                    (rule.id, one.event, NO_JOB), *begin(rule, state, job=None, why=one.why)
                )
            elif one.why is None and one.state is not None:
                standing.end(one.state, job=None, is_gone=False)
        reminders = await alerts.list_reminders(
            transaction, rule_ids=[*by_id], seconds=TOGETHER_SECONDS + seconds, limit=BATCH
        )
        for due in reminders:
            key = (due.state.rule_id, due.state.event, due.state.job_id)
            if key not in standing.changed:
                rule = by_id[due.state.rule_id]
                again = remind(rule, due.state, job=due.job, why=due.why, now=cursor.now)
                standing.note(key, *again)
        return len(reminders)

    async def send(self) -> None:
        """Make the jobs that deliver what is told."""
        async with alerts.by_index(self.db) as transaction:
            if self.is_ahead((await alerts.read_work(transaction)).now):
                return
            waiting = await alert_deliveries.list_waiting(
                transaction, seconds=TOGETHER_SECONDS, limit=SEND_BATCH
            )
            for _, found in groupby(sorted(waiting, key=order), key=key_of):
                await send_together(transaction, list(found))

    async def follow(self) -> None:
        """Write down which deliveries have ended."""
        async with alerts.by_index(self.db) as transaction:
            await alert_deliveries.follow(transaction)
