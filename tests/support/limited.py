"""A flow with limits, a bulk edit and a redrive, all at work while something breaks."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg
from msgspec import Struct, json

from tests.support.ledger import Delivery, Ledger, Load, key_of
from tests.support.sink import Sink
from tests.support.waiting import until

AT_ONCE = 3
RATE = 15
LIMITED = 90
"""How many jobs the flow has: at its rate they take six seconds at least."""
EDITED = 600
DAYS = 3
"""How many runs each of the jobs with dead letters has given up."""
DEAD = 20 * DAYS
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NOTED = (
    "create table public.edits (id uuid not null)",
    """create function public.note() returns trigger language plpgsql as $$ begin
           insert into public.edits values (new.id); return new; end $$""",
    """create trigger note after update of timeout_seconds on tocsin.jobs for each row
       when (old.timeout_seconds <> new.timeout_seconds) execute function public.note()""",
)


class Busy(Struct, frozen=True, kw_only=True):
    """What is at work."""

    limited: frozenset[str]
    """The runs of the flow."""
    edit: UUID
    redrive: UUID


async def begin(connection: asyncpg.Connection, load: Load, sink: Sink) -> Busy:
    """Insert the jobs of the flow, which are due, and ask for the bulk actions."""
    ledger, chance = load.ledger, load.chance
    url = sink.on("/api", ledger.receiver(lambda: chance.uniform(0.0, 0.3)))
    for statement in NOTED:
        await connection.execute(statement)
    await connection.execute(
        """insert into tocsin.flows (flow_key, max_concurrency, rate, period_seconds)
           values ('api', $1, $2, $3)""",
        AT_ONCE,
        RATE,
        Decimal(1),
    )
    rows = await connection.fetch(
        """insert into tocsin.jobs (kind, target, run_at, flow_key, backoff_seconds, max_attempts)
           select 'http', jsonb_build_object('url', $1::text), now() - number * interval '1 ms',
               'api', 0.2, 20
           from generate_series(1, $2::integer) as number returning id, run_at""",
        url,
        LIMITED,
    )
    limited = {key_of(row["id"], row["run_at"]) for row in rows}
    await connection.execute(
        """insert into tocsin.jobs (kind, target, run_at, tags)
           select 'http', jsonb_build_object('url', $1::text), '2100-01-01', '{edited}'
           from generate_series(1, $2::integer)""",
        url,
        EDITED,
    )
    await connection.execute(
        """with gone as (
               insert into tocsin.jobs (kind, target, every_seconds, starts_at, next_run, tags,
                   backoff_seconds, max_attempts)
               select 'http', jsonb_build_object('url', $1::text), 86400, $2, '2100-01-01',
                   '{dead}', 0.2, 20
               from generate_series(1, $3::integer) returning id)
           insert into tocsin.executions
               (job_id, kind, scheduled_for, attempt, outcome, reason, started_at, finished_at)
           select id, 'http', $2::timestamptz + day * interval '1 day', 20, 'failed', 'status',
               now(), now()
           from gone, generate_series(0, $4::integer - 1) as day""",
        url,
        BEGIN,
        DEAD // DAYS,
        DAYS,
    )
    ledger.runs |= limited
    return Busy(
        limited=frozenset(limited),
        edit=await ask(connection, "edit", {"tag": "edited"}, {"patch": {"timeout_seconds": 31}}),
        redrive=await ask(connection, "redrive", {"tag": "dead"}, {"rate_per_second": 20}),
    )


async def ask(connection: asyncpg.Connection, action: str, wanted: object, options: object) -> UUID:
    """Ask for a bulk action in SQL, and return its id."""
    id: UUID = await connection.fetchval(
        "select tocsin.bulk($1, $2::text::jsonb, $3::text::jsonb)",
        action,
        json.encode(wanted).decode(),
        json.encode(options).decode(),
    )
    return id


async def judge(connection: asyncpg.Connection, busy: Busy, ledger: Ledger) -> None:
    """Wait until all of it is done; expect limits kept, and nothing left out or done twice."""

    async def has_ended() -> bool:
        return bool(
            await connection.fetchval(
                """select every(ended_at is not null)
                       and not exists (select from tocsin.jobs where run_of is not null)
                   from tocsin.bulk_actions"""
            )
        )

    await until(has_ended, "the bulk actions and their runs are over", within=120)
    rows = await connection.fetch(
        """select id, tocsin.state(b) as state, matched, changed, failed
           from tocsin.bulk_actions b"""
    )
    assert {row["id"]: tuple(row)[1:] for row in rows} == {
        busy.edit: ("finished", EDITED, EDITED, 0),
        busy.redrive: ("finished", DEAD, DEAD, 0),
    }
    edits = await connection.fetch("select count(*) as times from public.edits group by id")
    assert [row["times"] for row in edits] == [1] * EDITED
    runs = await connection.fetch(
        """select count(*) filter (where x.outcome = 'succeeded') as times
           from tocsin.executions x join tocsin.jobs j on j.id = x.job_id
           where j.tags = '{dead}' group by x.job_id, x.scheduled_for"""
    )
    assert [row["times"] for row in runs] == [1] * DEAD
    assert most_at_once([one for one in ledger.deliveries if one.key in busy.limited]) <= AT_ONCE
    starts = [
        row["started_at"]
        for row in await connection.fetch(
            """select x.started_at from tocsin.executions x join tocsin.jobs j on j.id = x.job_id
               where j.flow_key = 'api' and x.started_at is not null and x.outcome <> 'lost'"""
        )
    ]
    second = timedelta(seconds=1)
    assert max(sum(one <= other < one + second for other in starts) for one in starts) <= RATE


def most_at_once(deliveries: list[Delivery]) -> int:
    """Return how many of these a receiver had in progress at one instant, at most."""
    steps = [(one.arrived, 1) for one in deliveries]
    steps += [(one.ended, -1) for one in deliveries if one.ended is not None]
    most = now = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most
