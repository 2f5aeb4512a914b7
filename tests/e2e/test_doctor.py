"""`tocsin doctor` on a real database, well and unwell."""

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import asyncpg

from app.core.schedule.zone_rules import find_versions
from app.vault import of_job, of_secret
from tests.support.builders import insert_job
from tests.support.cluster import ROOT, Processes
from tests.support.roles import role
from tests.support.sink import Sink
from tests.support.vault import KEY, KEYS, OTHER_KEY
from tests.support.waiting import until
from tests.support.zones import zone_tree


async def doctor(url: str, **variables: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "doctor"),
        env=os.environ | {"TOCSIN_DATABASE_URL": url} | variables,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


async def test_the_doctor_finds_a_running_system_well(
    processes: Processes, database_url: str
) -> None:
    await processes.instance()

    code, printed = await doctor(database_url)

    judged = "".join(line for line in printed.splitlines() if "zones of Postgres" not in line)
    assert (code, judged.count("ok  ")) == (0, 33), printed


async def test_the_doctor_says_whose_time_zone_rules_are_older(
    processes: Processes, database_url: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    tree = zone_tree(tmp_path, "2099a", {"Europe/Paris": "Etc/GMT+3"})
    await processes.instance()
    await until(
        lambda: connection.fetchval("select count(*) from tocsin.instance_rules"), "it has said"
    )

    same = await doctor(database_url)
    other = await doctor(database_url, TOCSIN_TZDATA=str(tree))

    [used] = await connection.fetch("select name, version from tocsin.instance_rules")
    assert used["version"] == max(find_versions().values())
    assert f"instances: {used['name']} {used['version']}" in same[1]
    assert all(f"{source} {version}" in same[1] for source, version in find_versions().items())
    assert "!!  zone rules" in other[1]
    assert "TOCSIN_TZDATA" in other[1]
    assert "! " + "  zones of Postgres  differ from these for " in other[1]
    assert other[0] == 1


async def test_the_doctor_names_what_is_wrong_and_the_remedy(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await insert_job(connection)
    await connection.execute(
        """update tocsin.jobs set locked_until = now() - interval '5 minutes', locked_by = 'gone',
               next_run = now() - interval '10 minutes'"""
    )
    await connection.execute("alter table tocsin.jobs disable trigger jobs_900_wake_update")

    code, printed = await doctor(database_url)

    assert code == 1
    wrong = [line.split()[1] for line in printed.splitlines() if line.startswith("!!")]
    assert wrong == ["instances", "due", "leases", "triggers"]
    assert "tocsin scheduler" in printed


async def test_the_doctor_names_jobs_that_an_instance_can_only_leave_alone(
    processes: Processes, database_url: str, connection: asyncpg.Connection, sink: Sink
) -> None:
    await connection.execute(
        """create function public.never() returns trigger language plpgsql as
           $$ begin raise 'not this one'; end $$;
           create trigger never before update on tocsin.jobs
           for each row execute function public.never()"""
    )
    await insert_job(connection, name="stubborn", target={"url": sink.url("/")})
    await processes.instance()
    await until(
        lambda: connection.fetchval("select count(*) from tocsin.resting_jobs"), "it is on record"
    )

    code, printed = await doctor(database_url)

    assert code == 1
    [found] = [line for line in printed.splitlines() if "jobs left alone" in line]
    assert found.startswith("!!")
    assert "leaves 1 alone, such as stubborn (cannot be claimed: not this one" in found


async def test_the_doctor_says_how_long_jobs_wait_for_an_instance_that_is_gone(
    processes: Processes, database_url: str, connection: asyncpg.Connection
) -> None:
    for name in ("one", "two", "three"):
        await insert_job(connection, name=name)
    await connection.execute(
        """update tocsin.jobs set locked_until = '2099-01-01 00:00Z', locked_by = 'host:1:dead',
               attempt = 1, fence = 1, execution_id = nextval('tocsin.executions_id_seq'),
               claimed_at = now(), claimed_for = scheduled_for, claimed_attempt = 1"""
    )
    await processes.instance()

    code, printed = await doctor(database_url)

    assert code == 0
    assert (
        "instance host:1:dead is gone, 3 jobs wait for its lease until 2099-01-01 00:00:00 UTC"
        in printed
    )


async def test_a_lease_freed_by_hand_leaves_nothing_for_the_doctor(
    processes: Processes, database_url: str, connection: asyncpg.Connection, sink: Sink
) -> None:
    await insert_job(connection, target={"url": sink.url("/")})
    await connection.execute(
        """update tocsin.jobs set locked_until = now() + interval '1 hour', locked_by = 'gone',
               attempt = 1, fence = 1, execution_id = nextval('tocsin.executions_id_seq'),
               claimed_at = now(), claimed_for = scheduled_for, claimed_attempt = 1"""
    )
    await processes.instance()

    await connection.execute("update tocsin.jobs set locked_until = null")

    async def ended() -> bool:
        rows = await connection.fetch("select outcome from tocsin.executions order by id")
        return [row["outcome"] for row in rows] == ["lost", "succeeded"]

    await until(ended, "the job has run again", within=30)
    code, printed = await doctor(database_url)
    assert code == 0, printed


async def test_the_doctor_names_jobs_that_no_instance_can_run(
    processes: Processes, database_url: str, connection: asyncpg.Connection
) -> None:
    await processes.instance()
    far = await connection.fetchval("select now() + interval '1 year'")
    await insert_job(connection, name="nightly", kind="htpt", run_at=far)
    await insert_job(connection, kind="pigeon", run_at=far, paused_at=far)

    code, printed = await doctor(database_url)

    assert code == 1
    assert "!!  kinds              no instance runs 1 of kind htpt (nightly); 1 of" in printed
    await connection.execute("insert into tocsin.kinds values ('htpt'), ('pigeon')")
    assert (await doctor(database_url))[0] == 0


async def test_the_doctor_names_rules_that_nobody_hears_of_and_channels_that_do_not_deliver(
    processes: Processes, database_url: str, connection: asyncpg.Connection
) -> None:
    await processes.instance()
    await connection.execute(
        """insert into tocsin.alert_channels (name, target)
           values ('ops', '{"url": "https://example.com"}'), ('mended', '{"url": "https://a.example"}');
           insert into tocsin.alert_rules (name, events, tag, channels)
           values ('tagged', '{failed}', 'none', '{ops}'), ('silent', '{failed}', null, '{}'),
               ('heard', '{failed}', null, '{ops}');
           insert into tocsin.alerts (event, channel, sent_at, failed_at, error)
           values ('failed', 'ops', now(), now(), 'the target answered 404'),
               ('failed', 'mended', now(), now(), 'the target answered 500');
           insert into tocsin.alerts (event, channel, sent_at, delivered_at)
           values ('failed', 'ops', now(), now() - interval '1 minute'),
               ('failed', 'mended', now(), now() + interval '1 second')"""
    )

    code, printed = await doctor(database_url)

    assert code == 1
    assert (
        "!   alert rules        nobody hears of 2, such as silent: it has no channel; "
        "tagged: no job has its tag" in printed
    )
    assert "!!  alert channels     not delivered by ops (1: the target answered 404)" in printed


async def test_the_doctor_names_jobs_that_cannot_run_until_they_are_corrected(
    processes: Processes, database_url: str, connection: asyncpg.Connection
) -> None:
    await processes.instance()
    job_id = await insert_job(connection, name="nightly", cron="0 25 * * *")
    query = "select plan_error from tocsin.jobs where id = $1"
    await until(lambda: connection.fetchval(query, job_id), "it is refused")

    code, printed = await doctor(database_url)

    assert code == 1
    assert (
        "!!  invalid jobs       1 of the newer do not run, such as nightly (cron: hour" in printed
    )
    await connection.execute("update tocsin.jobs set paused_at = now()")
    assert (await doctor(database_url))[0] == 0


async def test_the_doctor_tells_that_its_keys_open_nothing(
    database_url: str, connection: asyncpg.Connection
) -> None:
    job_id = UUID(int=7)
    token = KEYS.encrypt("sesame", of_job(job_id, "target.auth.token"))
    target = {"url": "http://h/", "auth": {"type": "bearer", "token": token}}
    await insert_job(connection, id=job_id, target=target)
    await insert_job(connection)
    await connection.execute(
        "insert into tocsin.secrets (name, value) values ('A', $1)",
        KEYS.encrypt("sesame", of_secret("A")),
    )

    well, unwell = [await doctor(database_url, TOCSIN_SECRET_KEYS=key) for key in (KEY, OTHER_KEY)]

    assert "secret keys        open 2 of 2 encrypted secrets" in well[1]
    assert "!!  secret keys        open 0 of 2 encrypted secrets" in unwell[1]
    assert "TOCSIN_SECRET_KEYS" in unwell[1]
    assert unwell[0] == 1


async def test_the_doctor_says_plainly_that_nobody_answers() -> None:
    code, printed = await doctor("postgresql://127.0.0.1:9/x")

    assert code == 5
    assert "Postgres is not available" in printed


async def test_the_doctor_finds_what_a_move_left_behind_and_says_the_statement(
    processes: Processes, database_url: str, connection: asyncpg.Connection
) -> None:
    await processes.instance()
    await connection.execute(
        """insert into tocsin.executions (id, job_id, kind, scheduled_for, attempt, outcome)
           values (5000, gen_random_uuid(), 'http', now(), 1, 'succeeded')"""
    )

    code, printed = await doctor(database_url)

    fix = "select setval('tocsin.executions_id_seq', 5000);"
    assert (code, fix in printed) == (1, True), printed
    await connection.execute(fix)
    assert (await doctor(database_url))[0] == 0


async def test_the_doctor_tells_what_the_upkeep_could_not_do(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        """insert into tocsin.upkeep (step, failed_at, error)
           values ('drop_partitions', now(), 'view january depends on it')"""
    )

    code, printed = await doctor(database_url)

    assert code == 1
    assert "!!  upkeep             drop_partitions: view january depends on it" in printed


async def test_the_doctor_names_each_right_that_its_role_lacks(
    database_url: str, connection: asyncpg.Connection
) -> None:
    grants = "grant usage on schema tocsin to {role}; grant select on tocsin.jobs to {role}"
    async with role(connection, database_url, grants) as url:
        code, printed = await doctor(url)

    assert code == 1
    assert "!!  rights" in printed
    for right in ("UPDATE on tocsin.jobs", "USAGE on sequence tocsin.executions_id_seq"):
        assert right in printed
    assert "SELECT on tocsin.jobs" not in printed


async def test_the_doctor_names_the_triggers_that_take_part_in_each_run(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        """create function public.mine() returns trigger language plpgsql as
           $$ begin new.updated_at := now(); return new; end $$;
           create trigger stamp before update on tocsin.jobs
           for each row execute function public.mine();
           create trigger "only Edits" before update of name, target on tocsin.jobs
           for each row execute function public.mine();
           create trigger copy after insert on tocsin.executions
           for each row execute function public.mine();
           alter table tocsin.executions enable row level security"""
    )

    _, printed = await doctor(database_url)

    assert (
        "!   triggers of others row security on tocsin.executions, "
        "trigger copy on tocsin.executions, trigger stamp on tocsin.jobs\n" in printed
    )
    assert "only Edits" not in printed


async def test_the_doctor_names_who_has_the_table_locked_and_does_not_wait(
    database_url: str, connection: asyncpg.Connection
) -> None:
    other = await asyncpg.connect(database_url, server_settings={"application_name": "report"})
    async with other.transaction():
        await other.execute("lock table tocsin.jobs in access exclusive mode")
        await asyncio.sleep(2.5)

        code, printed = await doctor(database_url)

        pid = other.get_server_pid()
        assert code == 1
        assert f"!!  table locks        pid {pid} (user " in printed
        assert "'report'): idle in transaction for " in printed
        assert "holds AccessExclusiveLock on tocsin.jobs" in printed
        assert f"select pg_terminate_backend({pid});" in printed
        assert "!!  tables" in printed
    await other.close()


async def test_the_doctor_names_who_has_a_table_locked_that_every_look_reads(
    database_url: str,
) -> None:
    other = await asyncpg.connect(database_url)
    async with other.transaction():
        await other.execute("lock table tocsin.polling in access exclusive mode")
        await asyncio.sleep(2.5)

        code, printed = await doctor(database_url)

        assert code == 1
        assert f"!!  table locks        pid {other.get_server_pid()} (user " in printed
        assert "holds AccessExclusiveLock on tocsin.polling" in printed
    await other.close()


async def test_the_doctor_names_who_has_rows_locked(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await insert_job(connection)
    other = await asyncpg.connect(database_url)
    async with other.transaction():
        await other.execute("select from tocsin.jobs for update")
        await asyncio.sleep(11)

        _, printed = await doctor(database_url)

        assert f"!   row locks          pid {other.get_server_pid()} (user " in printed
    await other.close()


async def test_the_doctor_counts_no_job_as_late_that_no_instance_can_run(
    processes: Processes, database_url: str, connection: asyncpg.Connection
) -> None:
    await processes.instance()
    past = await connection.fetchval("select now() - interval '10 minutes'")
    await insert_job(connection, name="typo", kind="htpp", run_at=past)

    code, printed = await doctor(database_url)

    wrong = [line.split()[1] for line in printed.splitlines() if line.startswith("!!")]
    assert (code, wrong) == (1, ["kinds"]), printed
    assert "no instance runs 1 of kind htpp (typo)" in printed
    await connection.execute("insert into tocsin.kinds values ('htpp')")
    code, printed = await doctor(database_url)
    wrong = [line.split()[1] for line in printed.splitlines() if line.startswith("!!")]
    assert (code, wrong) == (1, ["due"]), printed
    assert "s late, typo: No instance that is connected runs jobs of the kind 'htpp'" in printed


async def test_the_doctor_names_jobs_that_disagree_with_their_runs_until_they_are_mended(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await insert_job(connection, name="report", run_at=datetime(2100, 1, 1, tzinfo=UTC))
    await connection.execute(
        """alter table tocsin.jobs disable trigger user;
           update tocsin.jobs set pending_runs = 2;
           alter table tocsin.jobs enable trigger user"""
    )

    _, printed = await doctor(database_url)
    await connection.fetchval("select tocsin.resume_runs()")
    _, after = await doctor(database_url)

    [found] = [line for line in printed.splitlines() if line.startswith("!!  runs")]
    assert "1 of the newer jobs disagree with their runs: report (pending_runs is 2" in found
    assert "ok  runs" in after
    assert await connection.fetchval("select pending_runs from tocsin.jobs") == 0
