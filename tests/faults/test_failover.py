"""The primary dies and a standby takes its place: everybody follows, nothing promised is lost."""

import asyncio
import random
import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from app.devdb.cluster import Cluster
from app.devdb.places import give_to_postgres
from tests.faults.conftest import Case, through
from tests.support import limited
from tests.support.cluster import kill_postgres
from tests.support.postgres import PORTS, throwaway_directory
from tests.support.waiting import until

FOLLOWED_SECONDS = 10.0
"""The longest until work goes on, counted from when the standby was promoted."""


@pytest.fixture
def database_url(own_postgres: Cluster) -> str:
    return own_postgres.server().url


@pytest.fixture
def standby(own_postgres: Cluster) -> Iterator[Cluster]:
    """Have a copy of the server that follows it."""
    with throwaway_directory() as home:
        cluster = Cluster(bin=own_postgres.bin, home=home)
        cluster.data.parent.mkdir(mode=0o700)
        shutil.copy(own_postgres.home / "server" / "password", cluster.data.parent)
        give_to_postgres(cluster.data.parent)
        give_to_postgres(cluster.data.parent / "password")
        source = f"{own_postgres.server().url}?application_name=standby"
        cluster.run(
            *("pg_basebackup", "-D", cluster.data, "-d", source, "--write-recovery-conf"),
            *("--wal-method=stream", "--checkpoint=fast", "--no-sync"),
        )
        cluster.start(random.choice(PORTS))
        try:
            yield cluster
        finally:
            cluster.stop("immediate")


def url_of_both(primary: str, standby: Cluster) -> str:
    """Whichever of the two may be written to, as operators give it."""
    address, other = urlsplit(primary), urlsplit(standby.server().url)
    both = f"{address.netloc},{other.hostname}:{other.port}"
    return address._replace(netloc=both, query="target_session_attrs=read-write").geturl()


async def follow(case: Case, standby: Cluster) -> None:
    """Have the standby be in step, and all processes know both servers."""
    both = url_of_both(through(case.proxy, case.database_url), standby)
    case.processes.settings["database_url"] = both
    case.load.database_url = url_of_both(case.database_url, standby)
    await case.connection.execute("alter system set synchronous_standby_names = 'standby'")
    await case.connection.execute("select pg_reload_conf()")
    in_step = "select bool_or(sync_state = 'sync') from pg_stat_replication"
    await until(lambda: case.connection.fetchval(in_step), "the standby is synchronous")


@pytest.mark.parametrize("how", ["dies", "vanishes without a word"])
async def test_everybody_follows_to_the_promoted_standby_and_nothing_is_lost(
    proxied: Case, own_postgres: Cluster, standby: Cluster, how: str
) -> None:
    case = proxied
    await follow(case, standby)
    running = await case.processes.instances(2)
    await case.load.crons(case.connection, 5)

    async with case.load.running(per_second=20):
        await case.moment(1.0)
        with case.ledger.fault(f"the primary {how}", within=FOLLOWED_SECONDS):
            if how != "dies":
                case.proxy.swallowing = True
                case.proxy.half_open_all()
            kill_postgres(own_postgres)
            await case.moment(0.5)
            await asyncio.to_thread(standby.control, "promote")
        case.database_url = standby.server().url
        await case.moment(1.5)

    for one in running:
        await one.says("connected", count=2)  # it listens again: on the new primary
    findings = await case.verdict(within=30)

    assert findings.promised > 30
    promoted = await asyncpg.connect(case.database_url)
    listening = await promoted.fetchval(
        "select count(*) from pg_stat_activity where application_name like 'tocsin scheduler%'"
    )
    await promoted.close()
    assert listening == 2


async def test_limits_of_a_flow_and_bulk_actions_follow_to_the_promoted_standby(
    proxied: Case, own_postgres: Cluster, standby: Cluster
) -> None:
    case = proxied
    await follow(case, standby)
    await case.processes.instances(4)
    busy = await limited.begin(case.connection, case.load, case.sink)
    await case.sink.arrived(20)
    with case.ledger.fault("the primary dies amid a full flow", within=FOLLOWED_SECONDS):
        kill_postgres(own_postgres)
        await case.moment(0.5)
        await asyncio.to_thread(standby.control, "promote")
    case.database_url = standby.server().url

    await case.verdict(within=60)
    promoted = await asyncpg.connect(case.database_url)
    try:
        await limited.judge(promoted, busy, case.ledger)
    finally:
        await promoted.close()
