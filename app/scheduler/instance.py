"""One scheduler instance, from its start to the end of its drain; decides which task runs when."""

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from time import monotonic

import stamina

from app.config import Settings
from app.core.facts import Disconnected, Draining, Faulted, Stopped, UpkeepFailed
from app.core.net.egress import Egress
from app.core.schedule.zones import use_rules
from app.db import Database, migrate, rights
from app.db.clock import DatabaseClock
from app.db.flood_guard import MAX_PER_SECOND, PAUSE_SECONDS, FloodGuard
from app.db.listener import Session, open_session
from app.errors import AppError, DatabaseRefused, DatabaseUnavailable, SchemaTooNew
from app.scheduler.admission import Slots
from app.scheduler.backlog import Backlog
from app.scheduler.clock_steps import let_go
from app.scheduler.dispatcher import Dispatcher
from app.scheduler.endings import Ending
from app.scheduler.flows import Flows
from app.scheduler.housekeeping import keep_house
from app.scheduler.isolation import Isolation
from app.scheduler.leases import Leases, Orphans, recall
from app.scheduler.look_recovery import LookRecovery
from app.scheduler.next_look import ScanStart
from app.scheduler.notify import Polling, Wakeup
from app.scheduler.past_crowds import PastCrowds
from app.scheduler.planner import Planning
from app.scheduler.poller import AHEAD_SECONDS, Poller
from app.scheduler.pools import Pools, open_pools
from app.scheduler.runner import ClaimRunner
from app.scheduler.settler import Settler
from app.scheduler.suspects import Suspects
from app.scheduler.sweep import Sweep
from app.scheduler.tasks import background
from app.scheduler.watch import WRITE_SECONDS, Watch
from app.scheduler.windows import Windows
from app.targets.executors import Executors
from app.targets.net.resolver import Resolver
from app.targets.registry import IGNORED, KINDS
from app.telemetry import Observers
from app.vault import SecretKeys, Targets, check_keys

SETTLE_SECONDS = 10.0
"""How long a stopping instance waits, after the grace, for Postgres to take the last results."""

REFUSED_SECONDS = 1.0
"""How long a running instance waits before it connects again, if the database accepted the
connection but refused the look."""

FLOOD = (
    f"more than {MAX_PER_SECOND} notifications came in a second: for {PAUSE_SECONDS:g} s this "
    "instance looks often instead of listening; pg_stat_activity may show who sends them"
)
"""The error that is told when too many notifications have ended a session."""


def instance_name() -> str:
    """Return `host:pid:xxxx`; the random part tells a restarted process from the one before."""
    return f"{socket.gethostname()[:30]}:{os.getpid()}:{secrets.token_hex(2)}"


class ResultsNotTaken(AppError):
    """A stopped instance ended before Postgres had taken its last results."""


class Instance:
    """Looks, claims, executes and settles until it is told to stop."""

    def __init__(self, settings: Settings, observers: Observers) -> None:
        self.settings = settings
        self.database_url = settings.required_database_url()
        self.secret_keys = SecretKeys(settings.secret_keys)
        use_rules(settings.tzdata)
        self.admitted = asyncio.Event()
        """Set once the database has let this instance in; from then on a refusal is an outage."""
        self.egress = Egress.from_settings(settings)
        self.resolver = Resolver(settings.name_servers, clock=monotonic)
        self.observers = observers
        self.name = instance_name()
        self.loop = asyncio.get_running_loop()
        self.wakeup = Wakeup(self.loop)
        self.flood_guard = FloodGuard(clock=self.loop.time)
        self.targets_written = asyncio.Event()
        self.bulk_told = asyncio.Event()
        self.alerts_told = asyncio.Event()
        self.windows = Windows()
        # Meanwhile each lease is extended, and each instance has looked.
        hold_seconds = max(2 * settings.longest_sleep_seconds, settings.lease_seconds)
        self.set_back = asyncio.Event()
        self.clock = DatabaseClock(hold_seconds=hold_seconds, clock=monotonic)
        self.stopping = asyncio.Event()
        self.isolation: Isolation
        self.orphans: Orphans
        self.sweep: Sweep
        self.dispatcher: Dispatcher | None = None
        """The dispatcher; None until this instance is connected."""

    def __repr__(self) -> str:
        state = "stopping" if self.stopping.is_set() else "running"
        return f"<Instance {self.name}: {state}, {self.dispatcher}>"

    def stop_or_hurry(self) -> None:
        """Stop at the first call; at the second, cut executions off: a person asked twice."""
        if self.stopping.is_set():
            self.cut_executions()
        self.stop()

    def stop(self) -> None:
        """Claim no more and let executions end; another call changes nothing."""
        self.stopping.set()
        if self.dispatcher is not None:
            self.dispatcher.close()
        self.wakeup.wake()

    def cut_executions(self) -> None:
        """Cut off all executions; their runs settle as cancelled and are due again at once."""
        for held in self.dispatcher or ():
            held.cut(Ending.DRAIN)

    async def run(self) -> None:
        """Run until stopped and drained.

        Leaving runs inside out: the last execution settles before leases stop being extended, and
        the pool closes last.

        Raises:
            DatabaseRefused: at the start the database does not let this instance in, or the schema
                does not fit. Later either counts as an outage.
            PoolerInTheWay: the address is that of a pooler which loses notifications.
            WrongSecretKeys: this process has not the keys of the secrets in the database.
            ResultsNotTaken: stopped, but Postgres did not take the last results in time.
        """
        try:
            await self.serve()
        except* TimeoutError as error:
            message = (
                "stopped before Postgres had taken the last results: other instances start those "
                "jobs again once their leases have ended"
            )
            raise ResultsNotTaken(message) from error
        self.observers.tell(Stopped(instance=self.name))

    async def serve(self) -> None:
        """Open pools, executors and tasks as they need each other; look until stopped; drain."""
        for ignored in IGNORED:
            self.observers.tell(ignored)
        async with AsyncExitStack() as stack:
            pools = await stack.enter_async_context(
                open_pools(self.database_url, instance=self.name)
            )
            db = pools.work
            self.isolation = Isolation(
                db,
                self.observers,
                instance=self.name,
                lease_seconds=self.settings.lease_seconds,
                clock=monotonic,
            )
            executors = await stack.enter_async_context(
                Executors(
                    egress=self.egress,
                    resolver=self.resolver,
                    clock=self.loop.time,
                    note_request=self.observers.note_request,
                )
            )
            flows = self.flows = Flows(self.isolation, self.wakeup)
            settler = Settler(
                pools.settle,
                self.observers,
                watch=self.watch(pools, "settle"),
                isolation=self.isolation,
                quick=pools.settle_quick,
                patient=pools.settle_patient,
                wakeup=self.wakeup,
                flows=flows,
                timers=self.loop,
                ahead_seconds=AHEAD_SECONDS,
                stopping=self.stopping,
            )
            executions = asyncio.TaskGroup()
            dispatcher = self.dispatcher = self.make_dispatcher(db, executors, settler, executions)
            self.clock.set_back = partial(let_go, dispatcher, self.set_back)
            if self.stopping.is_set():
                dispatcher.close()
            scan_start = ScanStart(longest_sleep_seconds=self.settings.longest_sleep_seconds)

            def look_again() -> None:
                scan_start.forget()
                self.wakeup.wake()

            self.orphans = Orphans(self.isolation, dispatcher, quick=pools.claim_quick)
            suspects = Suspects(
                self.isolation,
                dispatcher,
                self.orphans,
                self.clock,
                self.observers,
                quick=pools.claim_quick,
                patient=pools.claim_patient,
                kinds=KINDS,
                tasks=executions,
                look_again=look_again,
            )
            sweep = self.sweep = Sweep(suspects)
            leases = Leases(
                pools.extend,
                dispatcher,
                self.observers,
                watch=self.watch(pools, "extend"),
                quick=pools.extend_quick,
                patient=pools.extend_patient,
                lease_seconds=self.settings.lease_seconds,
                clock=monotonic,
            )
            planning = Backlog(
                Planning(self.isolation, pools.plan, now=self.clock.now),
                worked_off=self.wakeup.wake,
            )
            await stack.enter_async_context(
                background(
                    settle=settler.write_batches(),
                    extend=leases.keep_extending(),
                    release=self.orphans.keep_freeing(),
                    sweep=sweep.keep_sweeping(),
                    look_past=PastCrowds(suspects).keep_claiming(),
                    plan=planning.keep_working(),
                    know_flows=self.run_once_admitted(flows.keep_known),
                    keep_house=self.run_once_admitted(
                        lambda: keep_house(
                            self.settings,
                            pools,
                            self.isolation,
                            sweep,
                            targets_written=self.targets_written,
                            set_back=self.set_back,
                            bulk_told=self.bulk_told,
                            alerts_told=self.alerts_told,
                            windows=self.windows,
                            believed=self.clock.believed,
                        )
                    ),
                )
            )
            async with asyncio.timeout(None) as limit, executions:
                polling = Polling(
                    db, self.wakeup, self.observers, tasks=executions, clock=monotonic
                )
                poller = Poller(
                    instance=self.name,
                    kinds=KINDS,
                    lease_seconds=self.settings.lease_seconds,
                    longest_sleep_seconds=self.settings.longest_sleep_seconds,
                    wakeup=self.wakeup,
                    dispatcher=dispatcher,
                    clock=self.clock,
                    monotonic=monotonic,
                    scan_start=scan_start,
                    polling=polling,
                    recovery=LookRecovery(sweep, scan_start),
                    flows=flows,
                    claim_raised=pools.claim_raised,
                    plan_jobs=planning.told.set,
                    observers=self.observers,
                )
                await self.look_through_outages(poller, dispatcher)
                polling.end()
                self.drain(dispatcher, limit)
                await poller.raised.end()
                await suspects.wait_until_idle()
                await dispatcher.wait_until_empty()

    def make_dispatcher(
        self, db: Database, executors: Executors, settler: Settler, tasks: asyncio.TaskGroup
    ) -> Dispatcher:
        """Make the dispatcher with its runner and slots; its executions run in `tasks`."""
        return Dispatcher(
            slots=Slots(self.settings.concurrency, monotonic),
            names=executors.names,
            runner=ClaimRunner(
                instance=self.name,
                executors=executors,
                targets=Targets.beside(db, self.secret_keys, executors, clock=monotonic),
                clock=self.clock,
                monotonic=monotonic,
                flows=self.flows,
                observers=self.observers,
                db=db,
                windows=self.windows,
            ),
            settler=settler,
            clock=self.clock,
            timers=self.loop,
            tasks=tasks,
            offer_room=self.wakeup.wake,
        )

    def watch(self, pools: Pools, purpose: str) -> Watch:
        """Make the watch over the statements of the pool for a purpose."""
        return Watch(
            pools.work,
            self.observers,
            application_name=f"tocsin {purpose} {self.name}",
            timers=self.loop,
            seconds=WRITE_SECONDS,
            locks=True,
        )

    async def run_once_admitted(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task once the database has let this instance in."""
        await self.admitted.wait()
        await task()

    async def look_through_outages(self, poller: Poller, dispatcher: Dispatcher) -> None:
        """Look on a session until stopped; open another session whenever one is lost."""
        patiently = stamina.AsyncRetryingCaller(
            attempts=None, timeout=None, wait_initial=0.05, wait_max=1.0, wait_jitter=0.2
        )
        while not self.stopping.is_set():
            try:
                async with AsyncExitStack() as stack:
                    session = await patiently(
                        self.worth_retrying, self.open_session, stack, dispatcher
                    )
                    await poller.look_until(self.stopping, session)
            except DatabaseUnavailable as error:
                if self.must_end(error):
                    raise
                poller.note_loss()
                self.observers.tell(Disconnected(instance=self.name, error=str(error)))
                if isinstance(error, DatabaseRefused):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(REFUSED_SECONDS):
                            await self.stopping.wait()

    def worth_retrying(self, error: Exception) -> bool:
        """Return whether to connect again after this error."""
        if self.must_end(error):
            return False
        return isinstance(error, DatabaseUnavailable) and not self.stopping.is_set()

    def must_end(self, error: Exception) -> bool:
        """Return whether an error in opening a session ends this instance."""
        return isinstance(error, SchemaTooNew if self.admitted.is_set() else DatabaseRefused)

    async def open_session(self, stack: AsyncExitStack, dispatcher: Dispatcher) -> Session:
        """Open a session that listens, check the schema, and free orphaned leases.

        An orphan is a lease that a look took whose answer was lost with the session before.
        """
        session = await stack.enter_async_context(
            open_session(
                self.database_url,
                wake=self.wakeup.notify,
                recall=partial(recall, dispatcher),
                check=self.targets_written.set,
                flow=self.flows.hear,
                bulk=self.bulk_told.set,
                alerts=self.alerts_told.set,
                calendars=self.windows.tell,
                application_name=f"tocsin scheduler {self.name}",
                guard=self.flood_guard,
            )
        )
        if not session.is_listening:
            self.observers.tell(Faulted(where="listen", error=FLOOD))
        lacking = await rights.check(session)
        await migrate.check(session)
        if not self.admitted.is_set():
            await check_keys(session, self.secret_keys)
            self.admitted.set()
            if lacking:
                self.observers.tell(UpkeepFailed(step="rights", error=lacking))
        await self.windows.begin(session)
        await self.orphans.free_later(session)
        self.targets_written.set()  # a session hears nothing of what was written before it
        self.bulk_told.set()
        self.alerts_told.set()
        return session

    def drain(self, dispatcher: Dispatcher, limit: asyncio.Timeout) -> None:
        """Let executions end within the grace, then cut them off.

        Sets `limit`, a time-out of the caller, to `SETTLE_SECONDS` after the grace.
        """
        grace = self.settings.grace_seconds
        self.observers.tell(
            Draining(instance=self.name, executions=len(dispatcher), grace_seconds=grace)
        )
        self.loop.call_later(grace, self.cut_executions)
        limit.reschedule(self.loop.time() + grace + SETTLE_SECONDS)
