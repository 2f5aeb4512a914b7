"""Jobs that kill their instance and rows that nobody meant: they end, visibly, and alone."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from tests.faults.conftest import Case
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.sink import late, reply
from tests.support.waiting import until

ODD_CRONS = (
    *("0 0 31 2 *", "61 * * * *", "* * * *", "@reboot", "@yearly", "R R * * *", "H H * * *"),
    *("0 0 30 2 *", "*/0 * * * *", "5-1 * * * *", "0 0 L * *", "0 0 * * 5#5", "* * * * * * 1999"),
    *("\t0  3 * * *", "CRON_TZ=Mars/Base 0 3 * * *", "@every 1h", "@every banana", "", "x" * 300),
    *("0 0 * * 8", "1,2,3,4,5,6,7,8,9,10 * * * *", "9999999999 * * * *", "* * * * */400"),
)
ODD_INSTANTS = (
    "infinity",
    "-infinity",
    "4000-01-01 BC",
    "294276-12-31",
    "1999-12-31",
    "2150-01-01",
)
ODD_TARGETS = (
    *("{}", "[]", "null", '"x"', '{"url": null}', '{"url": 7}', '{"url": ""}'),
    *(
        '{"url": "http://[::1"}',
        '{"url": "http://127.0.0.1:99999/"}',
        '{"url": "file:///etc/passwd"}',
    ),
    *(
        '{"url": "http://127.0.0.1:9/", "headers": {"A b": "c"}}',
        '{"url": "http://x", "nested": ' + "[" * 3000 + "]" * 3000 + "}",
    ),
    '{"url": "http://127.0.0.1:9/", "method": "BREW", "success": ["9xx"]}',
)
ODD_NUMBERS = ("NaN", "-1", "0", "1e-9", "1e300", "0.1", "86400", "3155760000")


def odd_row(chance: random.Random) -> dict[str, str]:
    """Columns and SQL texts of one row that somebody might type."""
    row = {
        "kind": chance.choice(["http", "amqp", "http", "http", "pigeon", "HTTP", ""]),
        "target": chance.choice(ODD_TARGETS),
    }
    schedule = chance.choice(["cron", "run_at", "every_seconds"])
    row[schedule] = chance.choice(
        {"cron": ODD_CRONS, "run_at": ODD_INSTANTS, "every_seconds": ODD_NUMBERS}[schedule]
    )
    extras = {
        "timezone": ["UTC", "Europe/Paris", "Nowhere", "../../etc/passwd", "posixrules"],
        "next_run": ["now", *ODD_INSTANTS],
        "scheduled_for": list(ODD_INSTANTS),
        "last_finished_at": list(ODD_INSTANTS),
        "starts_at": list(ODD_INSTANTS),
        "ends_at": list(ODD_INSTANTS),
        "timeout_seconds": list(ODD_NUMBERS),
        "backoff_seconds": list(ODD_NUMBERS),
        "misfire_grace_seconds": list(ODD_NUMBERS),
        "max_runs": ["1", "0", "2147483647"],
        "max_attempts": ["1", "1000", "0"],
        "misfire": ["skip", "run_all", "never"],
        "name": ["\u202e", "a" * 201, "a/b", "'; drop table tocsin.jobs; --", "\N{PILE OF POO}"],
    }
    for column in chance.sample(sorted(extras), k=chance.randint(0, 4)):
        row[column] = chance.choice(extras[column])
    return row


async def insert_odd(connection: asyncpg.Connection, row: dict[str, str]) -> bool:
    """Insert texts as psql would; tell whether Postgres took them."""
    columns = ", ".join(row)
    values = ", ".join("'" + value.replace("'", "''") + "'" for value in row.values())
    try:
        await connection.execute(f"insert into tocsin.jobs ({columns}) values ({values})")
    except asyncpg.PostgresError:
        return False
    return True


LATE_SECONDS = 1.0


@pytest.mark.alone
async def test_odd_rows_typed_by_hand_harm_no_other(case: Case) -> None:
    first, second = await case.processes.instances(2)
    taken = 0
    async with case.load.running(per_second=20):
        with case.ledger.fault("odd rows"):
            for _ in range(600):
                taken += await insert_odd(case.connection, odd_row(case.chance))
            await asyncio.sleep(2.0)

    await case.ledger.until_delivered(case.ledger.runs, within=10)

    delivered = {one.key for one in case.ledger.deliveries}
    assert taken > 5
    assert case.ledger.runs <= delivered
    assert first.text == second.text == []
    assert len(first.said("connected")) == len(second.said("connected")) == 1
    overdue = await case.connection.fetch(
        """select id, kind, cron, next_run, plan_error from tocsin.jobs
           where kind = any('{http,amqp}') and plan_error is null
             and next_run < now() - interval '10 s' and locked_until is null"""
    )
    assert overdue == []
    await case.connection.execute(
        "delete from tocsin.jobs where not (id::text = any($1))",
        [run.partition(":")[0] for run in case.ledger.runs],
    )
    await case.verdict(late=LATE_SECONDS)


CORRUPTIONS = (
    "backoff_seconds = 1e-400",
    "timeout_seconds = 1e400",
    "attempt = 2147483647",
    "fence = 9223372036854775807",
    "execution_id = 7",
    "starts_at = '4000-01-01 BC'",
    "ends_at = '200000-01-01'",
    "updated_at = '200000-01-01'",
)


async def corrupt(connection: asyncpg.Connection, jobs: list[UUID], changes: list[str]) -> None:
    """Write what no constraint lets in, as a superuser can, to paused jobs, and resume them.

    Of checked targets: the check of one would write its row before a look meets it.
    """
    async with connection.transaction():
        await connection.execute(
            """alter table tocsin.jobs drop constraint if exists jobs_sound,
                   drop constraint if exists jobs_within_range, disable trigger all"""
        )
        for job_id, change in zip(jobs, changes, strict=True):
            await connection.execute(f"update tocsin.jobs set {change} where id = '{job_id}'")
        await connection.execute("update tocsin.jobs set paused_at = null where id = any($1)", jobs)
        await connection.execute("alter table tocsin.jobs enable trigger all")


@pytest.mark.alone
async def test_rows_that_no_statement_can_work_with_harm_no_other(case: Case) -> None:
    first, second = await case.processes.instances(2)
    guilty: list[UUID] = []
    await case.connection.execute(
        """create function public.mine() returns trigger language plpgsql as
           $$ begin if new.description = 'refused' and new.plan_error is null
              then raise exception 'not this one'; end if; return new; end $$;
           create trigger mine before update of locked_until on tocsin.jobs
           for each row execute function public.mine()"""
    )
    async with case.load.running(per_second=20):
        for _ in range(3):
            now = datetime.now(UTC)
            jobs = [
                await insert_job(case.connection, run_at=now, paused_at=now, unchecked=False)
                for _ in CORRUPTIONS
            ]
            with case.ledger.fault("rows that no statement can work with", within=1.0):
                await corrupt(case.connection, jobs, list(CORRUPTIONS))
                guilty += jobs
                guilty += [await insert_job(case.connection, description="refused", run_at=now)]
                await case.moment(1.0)

    async def all_aside() -> bool:
        return bool(
            await case.connection.fetchval(
                """select bool_and(plan_error like 'cannot be claimed: %') from tocsin.jobs
                   where id = any($1)""",
                guilty,
            )
        )

    await until(all_aside, "all of them have a plan_error")
    await case.connection.execute("delete from tocsin.jobs where id = any($1)", guilty)
    await case.verdict(late=LATE_SECONDS)
    assert len(first.said("connected")) == len(second.said("connected")) == 1
    assert first.text == second.text == []


MAX_LATE_SECONDS = 2.0
"""On a busy machine; behind a trigger that sleeps jobs would wait for a minute, or for ever."""
SLOW = {
    "slow to claim": "new.execution_id is not null and old.execution_id is null",
    "slow to settle": "new.execution_id is null and old.execution_id is not null",
    "slow to extend": "new.locked_until > old.locked_until and new.fence = old.fence",
}
"""When a trigger sleeps for a job with such a description."""


@pytest.mark.alone
async def test_rows_that_are_slow_to_write_are_written_apart_from_others(case: Case) -> None:
    first, second = await case.processes.instances(2)
    hold = case.sink.on("/hold", late(4.0, reply()))
    sleeps = " or ".join(
        f"(new.description = '{what}' and {condition})" for what, condition in SLOW.items()
    )
    catches = "begin perform pg_sleep(60); exception when query_canceled then null; end"
    await case.connection.execute(
        f"""create function public.mine() returns trigger language plpgsql as
            $$ begin
                if {sleeps} then
                    if new.tags = '{{stubborn}}' then loop {catches}; end loop; end if;
                    perform pg_sleep(60);
                end if;
                return new;
            end $$;
            create trigger mine before update of locked_until on tocsin.jobs
            for each row execute function public.mine()"""
    )
    guilty = []
    async with case.load.running(per_second=20):
        for what in SLOW:
            for tags in ([], ["stubborn"]):
                url = hold if what == "slow to extend" else case.sink.url("/guilty")
                with case.ledger.fault(f"a row that is {what}", within=1.0):
                    guilty.append(
                        await insert_job(
                            case.connection, description=what, tags=tags, target={"url": url}
                        )
                    )
                    await case.moment(1.5)

    # To drop the trigger would lock the table, and everybody would wait behind that for a sleeper.
    await case.connection.execute(
        """create or replace function public.mine() returns trigger language plpgsql as
           $$ begin return new; end $$"""
    )
    await case.connection.execute("delete from tocsin.jobs where id = any($1)", guilty)
    await case.verdict(late=MAX_LATE_SECONDS)
    assert first.text == second.text == []


async def test_a_job_that_kills_its_instance_every_time_is_given_up(case: Case) -> None:
    fatal = case.sink.on("/fatal", case.ledger.receiver(30.0))
    instance = await case.processes.instance()
    job_id = await insert_job(case.connection, target={"url": fatal}, max_attempts=2)
    good = await insert_job(
        case.connection,
        target={"url": case.load.target_url},
        run_at=datetime.now(UTC) + timedelta(seconds=1),
    )
    for attempt in (1, 2):
        await instance.says("started", job_id=str(job_id), attempt=attempt)
        with case.ledger.fault("an execution that kills its instance"):
            await instance.kill()
        instance = await case.processes.instance()
    await instance.says("settled", job_id=str(job_id), within=10)
    await until(lambda: is_finished(case.connection, good), "the good job was done")

    rows = await execution_rows(case.connection, job_id)
    assert [(row["outcome"], row["reason"]) for row in rows] == [
        ("lost", "lease"),
        ("lost", "lease"),
        ("failed", "lost"),
    ]
    assert "given up after 2 of 2 attempts" in rows[-1]["error"]
    assert (await job_row(case.connection, job_id))["state"] == "failed"
    await case.verdict()


async def is_finished(connection: asyncpg.Connection, job_id: UUID) -> bool:
    return str((await job_row(connection, job_id))["state"]) == "finished"
