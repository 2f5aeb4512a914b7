"""A pooler stands between us and Postgres: it carries every notification, or is refused by name."""

import re
from urllib.parse import urlsplit

import pytest

from app.db.connecting import connect
from app.db.listener import open_session
from app.errors import DatabaseUnavailable, PoolerInTheWay
from tests.faults.conftest import Case
from tests.support.builders import insert_job
from tests.support.pages import ROOT
from tests.support.pgbouncer import pooled

OURS = (
    *("jit", "idle_session_timeout", "plan_cache_mode"),
    *("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_bitmapscan"),
)
REMEDY = "leads through a pooler"


@pytest.mark.parametrize("ignored", [(), OURS])
@pytest.mark.parametrize("command", ["scheduler", "api", "doctor"])
async def test_a_pooler_that_mutes_notifications_or_mixes_sessions_is_refused_at_the_start(
    case: Case, command: str, ignored: tuple[str, ...]
) -> None:
    async with pooled(case.database_url, mode="transaction", ignored=ignored) as url:
        process = await case.processes.start(command, database_url=url, port=0)

        assert await process.ended() == 1

    assert REMEDY in "\n".join(process.text)


async def test_a_session_whose_notifications_a_pooler_swallows_is_not_opened(case: Case) -> None:
    async with pooled(case.database_url, mode="transaction", ignored=OURS) as url:
        with pytest.raises(PoolerInTheWay, match=REMEDY):
            async with open_session(url, wake=lambda: None, application_name="listens"):
                pass


@pytest.mark.parametrize("ignored", [(), OURS])
async def test_a_pooler_that_keeps_sessions_carries_notifications(
    case: Case, ignored: tuple[str, ...]
) -> None:
    case.sink.on("/due", case.ledger.receiver())
    async with pooled(case.database_url, mode="session", ignored=ignored) as url:
        doctor = await case.processes.start("doctor", database_url=url)
        await doctor.ended()
        assert REMEDY not in "\n".join(doctor.text)
        instance = await case.processes.instance(database_url=url, longest_sleep_seconds=30)
        await insert_job(case.connection, target={"url": case.sink.url("/due")})
        [request] = await case.sink.arrived(1)
        await instance.says("settled", outcome="succeeded")

    assert request.path == "/due"


async def test_the_settings_on_the_page_about_deployment_carry_notifications(case: Case) -> None:
    page = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    [shown] = re.findall(r"^```ini\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    case.sink.on("/due", case.ledger.receiver())

    async with pooled(case.database_url, mode="", ignored=(), shown=shown) as url:
        instance = await case.processes.instance(database_url=url, longest_sleep_seconds=30)
        await insert_job(case.connection, target={"url": case.sink.url("/due")})
        await case.sink.arrived(1)
        await instance.says("settled", outcome="succeeded")


async def test_settings_that_a_pooler_does_not_take_at_the_start_hold_all_the_same(
    case: Case,
) -> None:
    async with pooled(case.database_url, mode="session", ignored=()) as url:
        wanted = {"jit": "off", "enable_seqscan": "off", "application_name": "tocsin it's"}
        connection = await connect(url, server_settings=wanted)
        found = {name: await connection.fetchval(f"show {name}") for name in wanted}
        await connection.close()

    assert found == wanted


async def test_options_that_a_pooler_does_not_take_are_named(case: Case) -> None:
    async with pooled(case.database_url, mode="session", ignored=()) as url:
        with pytest.raises(PoolerInTheWay, match=r"options.*ignore_startup_parameters"):
            await connect(f"{url}?options=-c%20work_mem%3D4MB")


@pytest.mark.parametrize("part", ["password", "database"])
async def test_what_a_pooler_refuses_is_one_sentence(case: Case, part: str) -> None:
    async with pooled(case.database_url, mode="session", ignored=(), auth="plain") as url:
        address = urlsplit(url)
        if part == "password":
            address = address._replace(netloc=address.netloc.replace(":any@", ":s3cret@"))
        else:
            address = address._replace(path="/nothing_here")
        with pytest.raises(DatabaseUnavailable) as told:
            await connect(address.geturl())

    assert "s3cret" not in str(told.value)
    assert "\n" not in str(told.value)
