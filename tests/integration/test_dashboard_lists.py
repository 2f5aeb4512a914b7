"""The pages of flows, calendars, alerts, instances, the audit log and keys, without JavaScript."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import httpx
import pytest

from tests.support.api import LATER, NIGHTLY, serving
from tests.support.recorder import Recorder
from tests.support.roles import as_role
from tests.support.shown import insert_lists, make_everything, page_routes

PAGES = ("/flows", "/calendars", "/alerts", "/instances", "/audit", "/keys")
OF_ADMINISTRATORS = ("/audit", "/keys")


@pytest.mark.parametrize("address", PAGES)
async def test_a_page_without_anything_says_how_to_begin(
    api: httpx.AsyncClient, address: str
) -> None:
    page = await api.get(address)

    assert page.status_code == 200
    assert re.search("There is no|No flow|No rule|No instance|Nothing was changed yet", page.text)
    assert f'href="{address}" aria-current="page"' in page.text


async def test_each_page_shows_what_there_is(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await insert_lists(connection)
    made = await api.post("/v1/keys", json={"name": "deploys", "scopes": ["admin"]})
    api.headers["Authorization"] = f"Bearer {made.json()['key']}"
    shown = {address: (await api.get(address)).text for address in PAGES}

    assert "bank &lt;1&gt;" in shown["/flows"]
    assert "1 of 3" in shown["/flows"]
    assert "10 in 1 min" in shown["/flows"]
    assert "pattern" in shown["/flows"]
    assert 'by Ann:</span> <span class="why">it &lt;moves&gt;</span>' in shown["/flows"]
    assert "MON 09:00-13:00" in shown["/calendars"]
    assert "An instance has yet to work it out" in shown["/calendars"]
    assert "4 in a row" in shown["/alerts"]
    assert "https://h/${secret:hook}" in shown["/alerts"]
    assert ">waiting</span>" in shown["/alerts"]
    assert "1 of 100" in shown["/instances"]
    assert "1 of 100 slots" in (await api.get("/")).text.partition('id="instances"')[2]
    assert "0.2.0" in shown["/instances"]
    assert "2026a (system)" in shown["/instances"]
    assert ">gone</span>" in shown["/instances"]
    assert "<strong>bank &lt;1&gt;</strong>" in shown["/audit"]
    assert "deploys" in shown["/keys"]
    assert "in force" in shown["/keys"]


async def test_every_page_there_is_reads_without_scripts(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    addresses = await make_everything(connection)
    app = api._transport.app  # type: ignore[attr-defined]

    assert addresses.keys() == page_routes(app)
    for address in addresses.values():
        page = await api.get(address)
        text = re.sub(r"<script.*?</script>|<[^>]+>", " ", page.text.partition("<main")[2])
        assert page.status_code == 200, address
        assert len(re.findall("<h1", page.text)) == 1, address
        assert len(text.split()) > 20, address
        assert "undefined" not in text, address


async def test_who_may_read_sees_neither_keys_nor_the_audit_log(api: httpx.AsyncClient) -> None:
    key = (await api.post("/v1/keys", json={"name": "eye", "scopes": ["read"]})).json()["key"]
    given = {"Authorization": f"Bearer {key}"}

    statuses = {address: (await api.get(address, headers=given)).status_code for address in PAGES}
    page = await api.get("/flows", headers=given)

    assert statuses == {one: 403 if one in OF_ADMINISTRATORS else 200 for one in PAGES}
    assert 'href="/audit"' not in page.text
    assert 'href="/alerts"' in page.text


async def test_an_edit_is_shown_as_what_it_changed(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await api.put("/v1/jobs/nightly", json=NIGHTLY)
    [job_id] = await connection.fetchrow("select id from tocsin.jobs")
    started = datetime.now(UTC)
    for fence, outcome in enumerate(("succeeded", "failed")):
        await connection.execute(
            "insert into tocsin.executions (job_id, fence, kind, scheduled_for, attempt, outcome, "
            "started_at, finished_at) values ($1, $2, 'http', $3, 1, $4, $3, $3)",
            job_id,
            fence,
            started + timedelta(seconds=fence),
            outcome,
        )
    for seconds in (40, 50):
        await api.patch("/v1/jobs/nightly", json={"timeout_seconds": seconds})
    await api.patch("/v1/jobs/nightly", json={"target": {"url": "http://127.0.0.1:10/other"}})

    job, log = await api.get("/jobs/nightly"), await api.get(f"/audit?of={job_id}")

    since = job.text.partition("What changed since its last success")[2].partition("</section>")[0]
    assert "<del>30</del>" in since
    assert "<ins>50</ins>" in since
    assert "<dt>target.url</dt>" in since
    assert "changed; the log keeps no more of it" in since
    assert log.text.count('class="change"') == 4
    assert "<del>40</del>" in log.text
    await connection.execute("update tocsin.executions set outcome = 'succeeded'")
    assert "What changed since" not in (await api.get("/jobs/nightly")).text


async def test_an_execution_shows_its_run_and_what_led_up_to_it(
    database_url: str, connection: asyncpg.Connection, faults: Recorder
) -> None:
    """Also once its job was deleted, and to whom the audit log is not shown."""
    async with serving(
        as_role("api", database_url), faults, trace_url="https://traces/?id={execution_id}"
    ) as api:
        await api.put("/v1/jobs/nightly", json=NIGHTLY)
        [job_id] = await connection.fetchrow("select id from tocsin.jobs")
        began = await connection.fetchval("select now() - interval '1 hour'")
        good, first = [
            await executed(connection, job_id, began, outcome=outcome, fence=fence)
            for fence, outcome in enumerate(("succeeded", "failed"))
        ]
        await api.patch("/v1/jobs/nightly", json={"timeout_seconds": 40})
        now = datetime.now(UTC)
        second, third = [
            await executed(connection, job_id, now, outcome="failed", fence=fence)
            for fence in (2, 3)
        ]
        await api.patch("/v1/jobs/nightly", json={"timeout_seconds": 50})

        shown = {id: (await api.get(f"/executions/{id}")).text for id in (good, first, third)}
        answer = await api.post("/v1/keys", json={"name": "eye", "scopes": ["read", "admin"]})
        api.headers["Authorization"] = f"Bearer {answer.json()['key']}"
        answer = await api.post("/v1/keys", json={"name": "other", "scopes": ["read"]})
        eye = {"Authorization": f"Bearer {answer.json()['key']}"}
        unseen = (await api.get(f"/executions/{third}", headers=eye)).text
        await connection.execute(OF_OTHER_RUNS, job_id)
        far = await executed(connection, job_id, now, outcome="failed", fence=100)
        far_away = (await api.get(f"/executions/{far}")).text
        await connection.execute("delete from tocsin.jobs")
        gone = (await api.get(f"/executions/{third}")).text
        log = (await api.get("/audit")).text

    changes = shown[third].partition("What changed since its last success")[2]
    assert f'href="/executions/{good}"' in changes
    assert "<ins>40</ins>" in changes
    assert "<ins>50</ins>" not in changes, "which was later"
    assert all("What changed since" not in one for one in (shown[good], shown[first], unseen))
    for one, many in ((shown[third], 2), (far_away, 3)):
        attempts = one.partition("The attempts of this run")[2].partition("</section>")[0]
        assert f'href="/executions/{second}"' in attempts
        assert attempts.count("<tr>") == many + 1
    assert f'href="https://traces/?id={third}"' in shown[third]
    assert f'href="/jobs/{job_id}"' in shown[third]
    for page in (gone, log):
        assert f'href="/jobs/{job_id}"' not in page, "which leads to nothing"
    assert "a job that was deleted" in gone


OF_OTHER_RUNS = """
insert into tocsin.executions
    (job_id, fence, kind, scheduled_for, attempt, outcome, started_at, finished_at)
select $1, 3 + n, 'http', now() + n * interval '1 second', 1, 'succeeded', now(), clock_timestamp()
from generate_series(1, 60) as n"""


async def executed(
    connection: asyncpg.Connection, job_id: UUID, at: datetime, *, outcome: str, fence: int
) -> int:
    """Record an execution of the run of an instant, and return its number."""
    id: int = await connection.fetchval(
        "insert into tocsin.executions (job_id, fence, kind, scheduled_for, attempt, outcome, "
        "started_at, finished_at) values ($1, $2::integer, 'http', $3, $2::integer + 1, $4, $3, "
        "clock_timestamp()) returning id",
        job_id,
        fence,
        at,
        outcome,
    )
    return id


async def test_the_page_of_a_job_has_its_runs_beside_the_plan(api: httpx.AsyncClient) -> None:
    await api.put("/v1/jobs/nightly", json=NIGHTLY)
    assert "Runs beside the plan" not in (await api.get("/jobs/nightly")).text
    assert (await api.post("/v1/jobs/nightly/run")).status_code in {200, 202}

    page = await api.get("/jobs/nightly")

    runs = page.text.partition("Runs beside the plan")[2].partition("</section>")[0]
    assert "run now" in runs
    assert ">waits</span>" in runs


async def test_a_run_of_the_past_is_explained(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await api.put("/v1/jobs/later", json=LATER)
    [job_id] = await connection.fetchrow("select id from tocsin.jobs")
    await connection.execute(
        "insert into tocsin.executions (job_id, fence, kind, scheduled_for, outcome, reason, "
        "missed_runs, missed_until) values ($1, 1, 'http', $2, 'missed', 'misfire', 1, $2)",
        job_id,
        datetime(2026, 11, 28, 3, tzinfo=UTC),
    )

    page = await api.get("/jobs/later", params={"at": "2026-11-28T03:00"})
    wrong = await api.get("/jobs/later", params={"at": "yesterday"})
    early = await api.get("/jobs/later", params={"at": "0001-01-01T00:00:00"})

    answer = (await api.get("/v1/jobs/later/explain?at=2026-11-28T03:00:00Z")).json()
    assert answer["summary"] in page.text.partition("What became of a run")[2].replace("&#39;", "'")
    assert 'value="2026-11-28T03:00:00"' in page.text
    assert "This is no instant" in wrong.text
    assert "This instant" in early.text
    assert {page.status_code, wrong.status_code, early.status_code} == {200}


async def test_below_a_path_every_address_is_below_it(database_url: str, faults: Recorder) -> None:
    async with serving(as_role("api", database_url), faults, root_path="/ops/tocsin") as api:
        taken_away, passed_on = await api.get("/"), await api.get("/ops/tocsin/")
        assert taken_away.status_code == passed_on.status_code == 200
        for address in ("/", "/jobs", *PAGES, "/sign-in"):
            page = await api.get(f"/ops/tocsin{address}")
            assert page.status_code == 200, address
            addresses = re.findall(r'(?:href|action|src|connect)="(/[^"]*)"', page.text)
            assert addresses
            assert all(one.startswith("/ops/tocsin/") for one in addresses), addresses
        for one in re.findall(r'(?:href|src)="(/[^"]*static[^"]*)"', passed_on.text):
            assert (await api.get(one)).status_code == 200
        made = await api.post("/v1/jobs", json=LATER)
        assert made.headers["Location"].startswith("/ops/tocsin/v1/jobs/")
        assert (await api.get(made.headers["Location"])).status_code == 200
        assert (await api.get("/openapi.json")).json()["servers"] == [{"url": "/ops/tocsin"}]
        assert (await api.get("/ops/tocsins/")).status_code == 404
        await api.post("/v1/keys", json={"name": "any", "scopes": ["admin"]})
        asked = await api.get("/ops/tocsin/jobs?q=tag:a")
        assert asked.headers["Location"] == "/ops/tocsin/sign-in?next=/jobs%3Fq%3Dtag%3Aa"
