"""A name server is silent, or knows any number of names of a server that hangs: nobody is late."""

import pytest

from tests.faults.conftest import Case
from tests.support.builders import insert_job
from tests.support.nameserver import NameServer, at, silent
from tests.support.sink import hang
from tests.support.waiting import until

LATE_SECONDS = 1.0
MANY = 150
LONG_SECONDS = 30


@pytest.fixture
def names(case: Case, name_server: NameServer) -> NameServer:
    """A name server that answers for the receiver of the load, anew each time."""
    name_server.names |= {"healthy.test": at("127.0.0.1"), "*.wild.test": at("127.0.0.2")}
    name_server.names |= {"*.silent.test": silent}
    name_server.names |= {f"*.zone{number}.test": silent for number in range(MANY)}
    case.load.target_url = f"http://healthy.test:{case.sink.port}/work"
    return name_server


async def insert_bad(case: Case, hosts: list[str]) -> None:
    for host in hosts:
        url = f"http://{host}:{case.sink.port}/bad"
        await insert_job(
            case.connection, target={"url": url}, timeout_seconds=LONG_SECONDS, max_attempts=1
        )


async def forget_bad(case: Case) -> None:
    await case.connection.execute("delete from tocsin.jobs where target ->> 'url' like '%/bad'")


@pytest.mark.alone
async def test_a_name_server_that_does_not_answer_delays_nobody_else(
    case: Case, names: NameServer
) -> None:
    instance = await case.processes.instance(
        name_servers=names.address, concurrency=100, grace_seconds=600
    )
    async with case.load.running(per_second=20):
        with case.ledger.fault("a silent name server"):
            await insert_bad(case, [f"n{number}.silent.test" for number in range(MANY)])
            await insert_bad(case, [f"n.zone{number}.test" for number in range(MANY)])
            await insert_bad(case, ["one.silent.test"] * MANY)
            await case.moment(6.0)
            await forget_bad(case)

    await case.verdict(late=LATE_SECONDS)
    await insert_bad(case, [f"m.zone{number}.test" for number in range(MANY)])
    await until(lambda: is_asked(names, "m.zone7.test"), "silent names are waited for")

    assert await instance.terminate() == 0, "long before the grace is over"


async def is_asked(names: NameServer, name: str) -> bool:
    return names.asked[name] > 0


@pytest.mark.alone
async def test_any_number_of_names_of_a_server_that_hangs_delay_nobody_else(
    case: Case, names: NameServer
) -> None:
    case.sink.on("/bad", hang)
    await case.processes.instance(name_servers=names.address, concurrency=100)
    async with case.load.running(per_second=20):
        with case.ledger.fault("a hanging server with 150 names"):
            await insert_bad(case, [f"n{number}.wild.test" for number in range(MANY)])
            await case.moment(6.0)
            await forget_bad(case)
            case.sink.on("/bad", case.ledger.receiver())

    await case.verdict(late=LATE_SECONDS)
