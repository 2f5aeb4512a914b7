"""The lists and single pages of the dashboard, read as a browser without JavaScript reads them."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import UUID

import asyncpg
import httpx
import pytest

from app.errors import DatabaseUnavailable
from app.web.live import Part
from tests.support.api import NIGHTLY, serving
from tests.support.builders import insert_job
from tests.support.days import distant_hour
from tests.support.recorder import Recorder

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


async def ended(
    connection: asyncpg.Connection, job_id: UUID, outcome: str, *, fence: int, **columns: object
) -> int:
    """Record an execution of a job, as an instance would; return its id."""
    at = NOW + timedelta(minutes=fence)
    values = {
        "scheduled_for": at,
        "attempt": None if outcome == "missed" else 1,
        "started_at": None if outcome == "missed" else at + timedelta(milliseconds=3),
        "finished_at": at + timedelta(seconds=2),
        "missed_runs": 4 if outcome == "missed" else None,
        "missed_until": at if outcome == "missed" else None,
        **columns,
    }
    names = ", ".join(values)
    places = ", ".join(f"${number}" for number in range(4, len(values) + 4))
    id_: int = await connection.fetchval(
        f"insert into tocsin.executions (job_id, outcome, fence, kind, {names}) "
        f"values ($1, $2, $3, 'http', {places}) returning id",
        job_id,
        outcome,
        fence,
        *values.values(),
    )
    return id_


def names(page: httpx.Response) -> list[str]:
    """List the jobs that a page links to, in their order."""
    return re.findall(r'<a class="job" href="/jobs/[^"]+">([^<]+)</a>', page.text)


async def put(api: httpx.AsyncClient, name: str, **more: object) -> None:
    answer = await api.put(f"/v1/jobs/{quote(name)}", json=NIGHTLY | more)
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("", ["c", "b", "a"]),
        ("tag:red", ["b", "a"]),
        ("tag:red tag:blue", ["b"]),
        ('"of b"', ["b"]),
        ("state:paused", ["c"]),
        ("name:a kind:http", ["a"]),
        ("kind:amqp", []),
        ("failing:false last:failed", []),
        ("target.host:OTHER.example", ["c"]),
    ],
)
async def test_jobs_are_found_by_words_and_filters(
    api: httpx.AsyncClient, search: str, found: list[str]
) -> None:
    await put(api, "a", tags=["red"])
    await put(api, "b", tags=["red", "blue"], description="Part of b")
    await put(api, "c", paused=True, target={"url": "http://Other.example:8081/x"})

    page = await api.get("/jobs", params={"q": search})

    assert page.status_code == 200
    assert names(page) == found
    assert ("No job is found" in page.text) == (not found)
    assert ("Act on these" in page.text) == (bool(found) and "host:" not in search)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("address", "search", "said"),
    [
        ("/jobs", "target.port:x", "there are tag:"),
        ("/jobs", "outcome:failed", "did you mean last:?"),
        ("/jobs", "state:asleep", "does not take &#39;asleep&#39;"),
        ("/jobs", "last:never", "is not known: write one of"),
        ("/executions", "late:soon", "does not take &#39;soon&#39;"),
        ("/executions", "last:failed", "did you mean outcome:?"),
        ("/executions", "from:yesterday", "does not take"),
        ("/executions", "nobody", "No job has the name"),
    ],
)
async def test_a_search_that_cannot_be_says_what_to_write(
    module_api: httpx.AsyncClient, address: str, search: str, said: str
) -> None:
    page = await module_api.get(address, params={"q": search})

    assert page.status_code == 422
    assert said in page.text
    assert 'aria-invalid="true"' in page.text
    assert f'value="{search}"' in page.text


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "search", ["\0", '"', ":", "a:b:c", "<script>alert(1)</script>", "x" * 5000]
)
async def test_no_search_breaks_a_page(module_api: httpx.AsyncClient, search: str) -> None:
    for address in ("/jobs", "/executions"):
        page = await module_api.get(address, params={"q": search})
        assert page.status_code in {200, 422}
        assert "<script>alert" not in page.text


async def test_every_job_is_on_one_page_of_the_list_in_either_order(api: httpx.AsyncClient) -> None:
    for number in range(30):
        await put(api, f"job-{number:02}", cron=f"{number} 3 * * *")

    for sort, expected in (
        ("newest", [f"job-{number:02}" for number in reversed(range(30))]),
        ("next_run", [f"job-{number:02}" for number in range(30)]),
    ):
        page = await api.get("/jobs", params={"sort": sort, "q": "name:job"})
        [following] = re.findall(r'rel="next" href="([^"]+)"', page.text)
        after = await api.get(f"/jobs{following.replace('&amp;', '&')}")
        assert names(page) + names(after) == expected
        assert 'rel="next"' not in after.text
        assert (await api.get("/jobs?cursor=nonsense")).status_code == 422


async def test_what_fails_comes_first_then_what_ended_in_failure_then_the_others(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    for number in range(60):
        await put(api, f"job-{number:02}", tags=["odd"] if number % 2 else [])
    await connection.execute(
        """alter table tocsin.jobs disable trigger all;
           update tocsin.jobs set last_outcome = 'failed', consecutive_failures = 2
               where name between 'job-00' and 'job-26';
           update tocsin.jobs set last_outcome = 'failed', next_run = null
               where name between 'job-27' and 'job-57';
           alter table tocsin.jobs enable trigger all"""
    )

    async def listed(search: str) -> list[str]:
        address, found = f"/jobs?sort=failing&q={search}", []
        while address:
            page = await api.get(address)
            assert names(page)
            found += names(page)
            following = re.findall(r'rel="next" href="([^"]+)"', page.text)
            address = f"/jobs{following[0].replace('&amp;', '&')}" if following else ""
        return found

    expected = [*reversed(range(27)), *reversed(range(27, 58)), 59, 58]
    assert await listed("") == [f"job-{number:02}" for number in expected]
    assert await listed("tag:odd") == [f"job-{number:02}" for number in expected if number % 2]
    assert (await listed("state:failed"))[:2] == ["job-57", "job-56"]
    assert (await listed("failing:true"))[:2] == ["job-26", "job-25"]
    assert len(await listed("failing:false")) == 33


async def test_a_row_shows_how_the_last_executions_ended_in_a_picture_and_in_words(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, name="a", every_seconds=60)
    for fence, outcome in enumerate(["succeeded", "failed", "missed", "timed_out", "succeeded"]):
        await ended(connection, job_id, outcome, fence=fence)

    page = await api.get("/jobs")

    [strip] = re.findall(r'<svg class="strip".*?</svg>', page.text, re.DOTALL)
    assert 'aria-label="Last 5 executions: 2 succeeded, 1 failed, 1 timed out, 1 missed"' in strip
    bars = re.findall(r'<rect class="(?!empty)(\w+)"', strip)
    assert bars == ["succeeded", "failed", "missed", "timed_out", "succeeded"]
    assert strip.count('fill="url(#hatch)"') == 1
    assert strip.count('class="empty"') == 45


async def test_the_page_of_a_job_says_first_how_it_stands(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    target = {"url": "http://h/", "auth": {"type": "bearer", "token": "swordfish"}}
    await put(api, "nightly", target=target, description="For <finance>", metadata={"n": 2**60})
    [job_id] = await connection.fetchrow("select id from tocsin.jobs where name = 'nightly'")
    await ended(connection, job_id, "failed", fence=1, attempt=1, status_code=503)
    await ended(connection, job_id, "succeeded", fence=2, scheduled_for=NOW, attempt=2)

    page = await api.get("/jobs/nightly")
    explained = (await api.get("/v1/jobs/nightly/explain")).json()

    assert page.status_code == 200
    first = page.text.partition("How it stands")[2].partition("</section>")[0]
    assert explained["summary"] in first
    assert "For &lt;finance&gt;" in page.text
    assert "swordfish" not in page.text
    assert "***" in page.text
    assert str(2**60) in page.text
    assert page.text.count("03:00:00</span>") == 10
    assert "answered 503" in page.text
    assert "Who changed it" in page.text


async def test_who_may_read_sees_no_audit_log(api: httpx.AsyncClient) -> None:
    await put(api, "nightly")
    key = (await api.post("/v1/keys", json={"name": "eye", "scopes": ["read"]})).json()["key"]

    page = await api.get("/jobs/nightly", headers={"Authorization": f"Bearer {key}"})

    assert page.status_code == 200
    assert "Who changed it" not in page.text


async def test_jobs_that_cannot_be_planned_that_are_done_or_skipped_have_pages(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await insert_job(connection, name="typo", cron="61 * * * *", plan_error="minute 61")
    await insert_job(connection, name="no zone of ours", cron="0 3 * * *", every_seconds=None)
    await put(api, "skips")
    assert (await api.post("/v1/jobs/skips/skip", json={"runs": 2})).status_code == 200
    await put(api, "odd #1?", tags=["a b", "c&d"])

    typo, unplanned = await api.get("/jobs/typo"), await api.get("/jobs/no zone of ours")
    skips, odd = await api.get("/jobs/skips"), await api.get("/jobs/odd %231%3F")

    assert [one.status_code for one in (typo, unplanned, skips, odd)] == [200] * 4
    assert "minute 61" in typo.text
    assert "Nothing is planned." in typo.text
    assert skips.text.count('<span class="outcome missed">skipped</span>') == 2
    assert 'href="/jobs?q=tag%3A%22a%20b%22"' in odd.text
    for address in re.findall(r'href="(/jobs\?q=tag[^"]+)"', odd.text):
        assert names(await api.get(address.replace("&amp;", "&"))) == ["odd #1?"]


async def test_executions_are_found_and_each_has_a_page(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, name="pays", every_seconds=60)
    good = await ended(connection, job_id, "succeeded", fence=1, status_code=200)
    bad = await ended(
        connection,
        job_id,
        "failed",
        fence=2,
        reason="status",
        status_code=503,
        error="the target answered 503",
        response='{"id": 9007199254740993, "x": "<b>"}',
    )
    missed = await ended(connection, job_id, "missed", fence=3, reason="misfire")

    async def found(search: str) -> list[int]:
        page = await api.get("/executions", params={"q": search})
        assert page.status_code == 200
        return [int(one) for one in re.findall(r'href="/executions/(\d+)"', page.text)]

    assert await found("") == [missed, bad, good]
    assert await found("pays outcome:failed") == [bad]
    assert await found("status:5xx") == [bad]
    assert await found("outcome:missed,failed") == [missed, bad]
    assert await found("job:pays reason:dns") == []
    page = await api.get(f"/executions/{bad}")
    assert "9007199254740993" in page.text
    assert "&lt;b&gt;" in page.text
    assert "the target answered 503" in page.text
    assert "4 runs" in (await api.get(f"/executions/{missed}")).text
    await connection.execute("delete from tocsin.jobs where id = $1", job_id)
    assert (await api.get(f"/executions/{good}")).status_code == 200
    assert await found("") == [missed, bad, good]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/jobs", 200, "There is no job yet"),
        ("/executions", 200, "Nothing was executed yet"),
        ("/jobs/none", 404, "There is no such job"),
        ("/jobs/a%01b", 404, "There is no such job"),
        ("/executions/7", 404, "There is no such execution"),
        ("/executions/99999999999999999999", 404, "There is no such execution"),
        ("/executions/x", 404, "Nothing is here"),
        ("/nowhere", 404, "Nothing is here"),
    ],
)
async def test_what_is_not_there_is_said_so(
    module_api: httpx.AsyncClient, address: str, status: int, said: str
) -> None:
    page = await module_api.get(address, headers={"Accept": "text/html,*/*;q=0.8"})

    assert page.status_code == status
    assert said in page.text
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"


async def test_the_hours_of_the_week_lead_to_their_runs(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour_of_day = distant_hour()
    cron, after_it = f"0 {hour_of_day} * * *", f"30 {(hour_of_day + 1) % 24} * * *"
    for number in range(3):
        await put(api, f"daily-{number}", cron=cron, timezone="UTC")
    await put(api, "later", cron=after_it, timezone="UTC")
    await put(api, "often", cron=None, every_seconds=3600)

    week = (await api.get("/")).text.partition('id="week"')[2]
    begins = rf'<a href="(/upcoming\?from=[-0-9]+T{hour_of_day:02}:00Z)" tabindex="-1">'
    [busy, *_] = re.findall(begins, week)
    days = re.findall(r'<th scope="row"><a href="(/upcoming\?hours=24&amp;from=[^"]+)">', week)
    hour = await api.get(busy)
    [link] = re.findall(r'href="([^"]+)">the hour after', hour.text)
    after = await api.get(f"/upcoming{link.replace('&amp;', '&')}")
    day = await api.get(days[0].replace("&amp;", "&"))

    assert (hour.status_code, after.status_code, day.status_code) == (200, 200, 200)
    assert ">later</a>" in after.text
    assert len(days) == 7
    whose, listed = hour.text.split('id="listed-title"')
    assert f"<code>{cron}</code>" in whose
    assert re.findall(r"and 1 more</span></td><td[^>]*>(\d)", whose) == ["3"]
    assert sorted(set(re.findall(r'class="job"[^>]*>(daily-[^<]+|later)<', listed))) == [
        f"daily-{number}" for number in range(3)
    ]
    assert len(re.findall(r'<li><a href="/upcoming', day.text)) == 24

    whole = (await api.get("/upcoming?hours=24")).text
    monkeypatch.setattr("app.web.coming.SOONEST", 2)
    few = (await api.get("/upcoming?hours=24")).text
    shown = re.compile(r'class="job"[^>]*>([^<]+)<')
    assert shown.findall(few) == shown.findall(whole)
    assert "cannot be listed one by one" not in few

    monkeypatch.setattr("app.db.upcoming.MAX_SEARCHED", 20)
    cut = (await api.get(busy)).text
    assert "cannot be listed one by one" in cut
    assert f"<code>{cron}</code>" in cut


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("tomorrow", "write one such as"),
        ("2020-01-01T00:00Z", "executions show what became of it"),
        ("2198-01-01T00:00Z", "too far ahead"),
        ("9999-12-31T23:59-12:00", "write one such as"),
    ],
)
async def test_an_hour_that_cannot_be_shown_says_why(
    module_api: httpx.AsyncClient, given: str, said: str
) -> None:
    page = await module_api.get("/upcoming", params={"from": given})

    assert (page.status_code, said in page.text) == (422, True)


SLOW_EXPLANATION = """
create or replace function tocsin.explain(job uuid, at timestamptz default null)
returns table (reason text, detail text, since timestamptz, until timestamptz, facts jsonb)
language plpgsql as $$ begin perform pg_sleep(60); end $$
"""


async def test_a_part_of_the_page_of_a_job_that_takes_too_long_keeps_no_other_one_back(
    database_url: str,
    faults: Recorder,
    connection: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.db.pages.LIMIT_SECONDS", 0.5)
    job = await insert_job(connection, name="slow", every_seconds=3600)
    last = await ended(connection, job, "failed", fence=1)
    await connection.execute(SLOW_EXPLANATION)
    locks = "lock table tocsin.audit_log, tocsin.set_members in access exclusive mode"

    async with serving(database_url, faults) as api:
        watched: Part = api._transport.app.state.watch(job)  # type: ignore[attr-defined]
        async with connection.transaction():
            await connection.execute(locks)
            page = (await api.get("/jobs/slow?at=2026-11-29T03:00:00")).text
            live = await watched.make()
        async with connection.transaction():
            await connection.execute("lock table tocsin.jobs in access exclusive mode")
            nothing = await api.get("/jobs/slow")
            with pytest.raises(DatabaseUnavailable):
                await watched.make()
        await watched.end()

    assert re.findall(r'class="stale" id="([a-z]+)-stale"', page) == ["set", "stands", "edits"]
    assert page.count("load the page anew") == 3
    assert "Postgres was stopped: ask again" in page.partition('id="past-title"')[2]
    assert re.findall(r'class="stale" id="([a-z]+)-stale"', live) == ["stands"]
    assert "it is tried again soon" in live
    for text in (page, live):
        assert f'href="/executions/{last}"' in text
    assert (nothing.status_code, "That took too long" in nothing.text) == (503, True)
