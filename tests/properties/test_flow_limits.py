"""The limits of flows as a state machine: whatever the order, none is exceeded.

Instances claim, of several flows at once, start, tell, settle and extend; leases run out; time
passes; a person changes the limits. The model knows when each run started and which leases are in
force.

More examples than usual: FLOW_EXAMPLES=500.
"""

import asyncio
import os
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import Struct

from app.core.runs.claim import Claim
from app.core.runs.transition import released
from app.db import Database, claims, flows, leases
from app.db.flows import Starts
from app.db.listener import Session, open_session

KEYS = ("api-usual", "api-raised")
FREE = "free"
"""A flow without limits, whose jobs come back at once."""
ASKED = [(one,) for one in KEYS] + [KEYS, KEYS[::-1], (FREE, *KEYS), (*KEYS, FREE)]
INSTANCES = ("one", "two", "three")
PERIOD = 60.0
NUMBER = st.integers(min_value=0, max_value=99)
T = TypeVar("T")


class Held(Struct, kw_only=True):
    """One claim as the model knows it."""

    claim: Claim
    instance: str
    started: datetime | None = None
    in_force: bool = True


def may_start(held: Held) -> bool:
    """Whether a claim that counts for a rate has not started yet."""
    return held.started is None and held.claim.is_timed


class Limits(RuleBasedStateMachine):
    """The model beside the real thing; time passes as everything recorded moves back."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.held: list[Held] = []
        self.starts: list[tuple[str, datetime]] = []
        self.at_once: int | None = None
        self.rate: int | None = None
        self.burst: int | None = None
        self.run(self.open(url))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def open(self, url: str) -> None:
        self.person: asyncpg.Connection = await asyncpg.connect(url)
        self.stack.push_async_callback(self.person.close)
        await self.person.execute(
            """delete from tocsin.jobs; delete from tocsin.flows; delete from tocsin.flow_states;
               delete from tocsin.flow_starts"""
        )
        await self.person.execute(
            """insert into tocsin.jobs (kind, target, run_at, flow_key, priority)
               select 'http', '{"url": "http://127.0.0.1:9/"}', now() - number * interval '1 s',
                   key, case when key like '%raised' then number % 4 else 0 end
               from generate_series(1, 60) as number, unnest($1::text[]) as key""",
            [*KEYS, FREE],
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
        self.run(self.stack.aclose())
        self.runner.close()

    @initialize(at_once=st.none() | st.just(2), rate=st.integers(min_value=1, max_value=6))
    def limit_at_first(self, at_once: int | None, rate: int) -> None:
        self.limit(at_once, rate, None)

    @precondition(lambda self: len(self.held) > 12)
    @rule(
        at_once=st.none() | st.integers(min_value=1, max_value=4),
        rate=st.none() | st.integers(min_value=1, max_value=6),
        burst=st.none() | st.integers(min_value=1, max_value=8),
    )
    def set_limit(self, at_once: int | None, rate: int | None, burst: int | None) -> None:
        self.limit(at_once, rate, burst)

    def limit(self, at_once: int | None, rate: int | None, burst: int | None) -> None:
        """Set other limits; what was claimed before may exceed them, so the model forgets it."""
        self.at_once, self.rate, self.burst = at_once, rate, burst if rate else None
        self.starts.clear()
        self.run(
            self.person.execute(
                """delete from tocsin.flows; delete from tocsin.flow_starts""",
            )
        )
        self.run(
            self.person.execute(
                """insert into tocsin.flows (flow_key, max_concurrency, rate, period_seconds, burst)
                   values ('api-*', $1, $2, $3, $4)""",
                at_once,
                rate,
                Decimal(PERIOD),
                self.burst,
            )
        )
        for held in self.held:
            held.started = held.started or datetime.now(UTC)  # before the limit was

    @rule(
        instance=st.sampled_from(INSTANCES),
        keys=st.sampled_from(ASKED),
        most=st.integers(min_value=1, max_value=9),
    )
    def claim(self, instance: str, keys: tuple[str, ...], most: int) -> None:
        before = self.run(self.leases())
        look, _ = self.run(
            flows.look(
                self.sessions[instance],
                keys,
                limit=most,
                ahead_seconds=0.25,
                lease_seconds=60.0,
                kinds=["http"],
                instance=instance,
            )
        )
        taken = {one.id for one in look.claims}
        for held in self.held:
            held.in_force = held.in_force and held.claim.id not in taken
        self.held += [
            Held(claim=one, instance=instance) for one in look.claims if one.flow_key != FREE
        ]
        free = [released(one) for one in look.claims if one.flow_key == FREE]
        self.run(claims.settle(self.db, free))

        after = self.run(self.leases())
        assert len(look.claims) <= most
        if FREE in keys and most >= len(keys):
            assert free, "what has no limit waits for what has"
        for key in KEYS:
            if self.at_once is not None:
                assert after[key] <= max(self.at_once, before[key])
            if self.rate is not None:
                # Those that have not started yet may start at any moment until the latest.
                now = datetime.now(UTC)
                soon = [now for one in self.held if one.claim.flow_key == key and may_start(one)]
                every = sorted([*(at for of, at in self.starts if of == key), *soon])
                self.check(every, seconds=PERIOD, most=max(self.rate, self.burst or 0))
                if self.burst is not None:
                    self.check(every, seconds=PERIOD * self.burst / self.rate, most=self.burst)

    def check(self, starts: list[datetime], *, seconds: float, most: int) -> None:
        for one in starts:
            within = sum(one <= other < one + timedelta(seconds=seconds) for other in starts)
            assert within <= most, f"{within} of {most} starts within {seconds} s"

    async def leases(self) -> dict[str, int]:
        rows = await self.person.fetch(
            """select key, count(j.id) as many from unnest($1::text[]) as key
               left join tocsin.jobs j on j.flow_key = key and j.locked_until > now()
               group by key""",
            KEYS,
        )
        return {row["key"]: row["many"] for row in rows}

    @precondition(lambda self: any(one.started is None for one in self.held))
    @rule(number=NUMBER)
    def start_some(self, number: int) -> None:
        self.start(number)

    def start(self, number: int) -> None:
        """Start all claims of one look, and tell that; or none of them, if their time is over."""
        waiting = [one for one in self.held if one.started is None]
        first = waiting[number % len(waiting)]
        key, claimed_at = first.claim.flow_key or "", first.claim.claimed_at
        grant = [
            one
            for one in waiting
            if (one.claim.flow_key, one.claim.claimed_at) == (key, claimed_at)
            and one.instance == first.instance
        ]
        now = datetime.now(UTC)
        for one in grant:
            one.started = now
            if one.claim.is_timed:
                self.starts.append((key, now))
        told = Starts(flow_key=key, granted_at=claimed_at, many=len(grant), latest=now)
        self.run(flows.tell_starts(self.db, [told], instance=first.instance))

    @precondition(lambda self: self.held)
    @rule(number=NUMBER)
    def settle(self, number: int) -> None:
        """Settle a claim, whether or not it is the present one of its job."""
        held = self.held[number % len(self.held)]
        self.run(claims.settle(self.db, [released(held.claim)]))

    @precondition(lambda self: self.held)
    @rule(number=NUMBER)
    def extend(self, number: int) -> None:
        held = self.held[number % len(self.held)]
        before = self.run(self.leases())

        self.run(leases.extend(self.db, [held.claim], lease_seconds=60.0))

        after = self.run(self.leases())
        assert all(after[key] <= before[key] for key in KEYS), "a lease that ran out was extended"

    @precondition(lambda self: self.held)
    @rule(number=NUMBER)
    def expire(self, number: int) -> None:
        """Let a lease run out."""
        held = self.held[number % len(self.held)]
        self.run(
            self.person.execute(
                """update tocsin.jobs set locked_until = now() - interval '1 ms'
                   where id = $1 and fence = $2 and locked_until > now()""",
                held.claim.id,
                held.claim.fence,
            )
        )

    @rule(seconds=st.sampled_from((1.0, PERIOD / 3, PERIOD / 2, PERIOD - 1, PERIOD + 3)))
    def wait(self, seconds: float) -> None:
        """Let what was claimed start, then time pass: all that was told lies further back."""
        while any(one.started is None for one in self.held):
            self.start(0)
        span = timedelta(seconds=seconds)
        self.starts = [(key, one - span) for key, one in self.starts]
        self.run(
            self.person.execute(
                "update tocsin.flow_starts set latest = latest - $1::interval", span
            )
        )


@pytest.mark.timeout(1800)  # hundreds of steps, each of several statements
def test_no_limit_of_a_flow_is_ever_exceeded(database_url: str) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call] # hypothesis has no types there
        lambda: Limits(database_url),
        settings=settings(
            max_examples=int(os.environ.get("FLOW_EXAMPLES", "25")),
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
