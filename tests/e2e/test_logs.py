"""Lines that an operator asked for, in the logs of processes as they are shipped."""

import asyncpg
import httpx

from tests.support.builders import insert_job
from tests.support.cluster import Processes
from tests.support.rabbit import free_ports
from tests.support.sink import Sink


async def test_executions_of_a_tag_are_lines_and_others_are_not(
    database_url: str, connection: asyncpg.Connection, sink: Sink
) -> None:
    processes = Processes(
        in_roles=True,
        database_url=database_url,
        allow_private_targets="true",
        log_executions="tag:a,named",
    )
    async with processes.running():
        instance = await processes.instance()
        other = await insert_job(connection, target={"url": sink.url("/other")}, tags=["b"])
        tagged = await insert_job(connection, target={"url": sink.url("/tagged")}, tags=["c", "a"])
        named = await insert_job(connection, target={"url": sink.url("/named")}, name="named")
        for id in (tagged, named):
            for event in ("started", "settled"):
                await instance.says(event, job_id=str(id), level="info")
        assert len(await sink.arrived(3)) == 3
        assert await instance.terminate() == 0

    assert [line for line in instance.lines if line.get("job_id") == str(other)] == []
    assert [line["outcome"] for line in instance.said("settled")] == ["succeeded"] * 2


async def test_each_request_is_a_line_with_the_id_that_the_answer_has(database_url: str) -> None:
    [port] = free_ports(1)
    processes = Processes(
        in_roles=True, database_url=database_url, port=port, access_log_level="info"
    )
    async with processes.running():
        api = await processes.start("api")
        await api.says("serving")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answer = await client.get("/v1/jobs/none", headers={"X-Request-Id": "r-1"})
        await api.says("requested", request_id="r-1")

    [line] = api.said("requested")
    assert answer.headers["X-Request-Id"] == "r-1"
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/jobs/{job}", 404)
    assert (line["level"], line["caller"], line["client"]) == ("info", "loopback", "127.0.0.1")
