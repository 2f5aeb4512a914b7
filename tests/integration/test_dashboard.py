"""The pages of the dashboard, read as a browser without JavaScript reads them."""

import gzip
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx
import pytest

from app.api.headers import PAGE_POLICY
from app.db import Database, pages
from app.db.connections import OF_PAGES
from app.web import static_files
from app.web.signing_in import within
from tests.support.api import LATER, serving
from tests.support.builders import insert_job
from tests.support.days import distant_hour
from tests.support.recorder import Recorder
from tests.support.roles import as_role

FIRST_LOAD_BYTES = 60_000
FORM = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}


async def made(api: httpx.AsyncClient, scope: str = "admin") -> str:
    """Make a key and return it."""
    answer = await api.post("/v1/keys", json={"name": f"of {scope}", "scopes": [scope]})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


def loaded(page: str) -> list[str]:
    """List the files that a page loads."""
    return re.findall(r'(?:<link rel="stylesheet" href|<script[^>]* src)="([^"]+)"', page)


async def test_who_is_not_signed_in_is_asked_for_a_key_and_led_back(api: httpx.AsyncClient) -> None:
    key = await made(api, "read")

    asked = await api.get("/?span=week")
    form = await api.get(asked.headers["Location"])
    [back] = parse_qs(urlsplit(asked.headers["Location"]).query)["next"]
    wrong = await api.post("/sign-in", data={"key": f"{key}0", "next": back}, headers=FORM)
    right = await api.post("/sign-in", data={"key": key, "next": back}, headers=FORM)
    shown = await api.get(right.headers["Location"])
    out = await api.post("/sign-out", headers=FORM)
    after = await api.get("/")

    assert (asked.status_code, form.status_code, back) == (303, 200, "/?span=week")
    assert wrong.status_code == 401
    assert "unknown, expired or revoked" in wrong.text
    assert key not in wrong.text
    assert "Set-Cookie" not in wrong.headers
    assert (right.status_code, right.headers["Location"]) == (303, back)
    assert shown.status_code == 200
    assert (out.status_code, after.status_code) == (303, 303)


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://e.example"}]
)
async def test_no_page_of_elsewhere_signs_a_browser_in_or_out(
    api: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    key = await made(api)

    for address in ("/sign-in", "/sign-out"):
        answer = await api.post(address, data={"key": key}, headers=headers)
        assert answer.status_code == 403
        assert "Set-Cookie" not in answer.headers


async def test_a_link_of_elsewhere_that_comes_without_the_cookie_asks_once_more(
    api: httpx.AsyncClient,
) -> None:
    await made(api)

    answer = await api.get("/", headers={"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 200
    assert '<meta http-equiv="refresh" content="0">' in answer.text


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("/jobs?q=tag:a", "/jobs?q=tag:a"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_signing_in_leads_to_pages_of_ours_alone(address: str, expected: str) -> None:
    assert within(address) == expected


async def test_a_page_runs_and_shows_nothing_but_files_of_this_server(
    api: httpx.AsyncClient,
) -> None:
    for address in ("/", "/sign-in"):
        page = await api.get(address)

        assert page.headers["Content-Security-Policy"] == PAGE_POLICY
        assert "unsafe" not in PAGE_POLICY
        assert not re.search(r"<script(?![^>]* src=)|\sstyle=|\son[a-z]+=", page.text)
        assert "//" not in re.sub(r'(xmlns|href)="https?://[^"]*"', "", page.text)


async def test_files_are_kept_for_ever_and_served_to_pages_of_other_versions(
    api: httpx.AsyncClient,
) -> None:
    page = await api.get("/")
    [*files] = loaded(page.text)
    ours = [await api.get(address) for address in files]
    other = await api.get(re.sub(r"/static/\w+/", "/static/0123456789abcdef/", files[0]))
    none = await api.get(f"/static/{static_files.digest()}/../router.py")

    assert len(files) == 3, "the file from npm is missing: python hatch_build.py"
    assert {one.headers["Cache-Control"] for one in ours} == {"public, max-age=31536000, immutable"}
    assert (other.status_code, other.content) == (200, ours[0].content)
    assert other.headers["Cache-Control"] == "no-store"
    assert none.status_code == 404


async def test_the_first_page_and_all_that_it_loads_are_small(api: httpx.AsyncClient) -> None:
    page = await api.get("/")
    size = 2 * len(gzip.compress(page.content))  # a script asks once more, for its own zone
    for address in loaded(page.text):
        one = static_files.assets()[address.split("/", 3)[3]]
        size += len(one.compressed)

    assert size <= FIRST_LOAD_BYTES


async def test_the_overview_says_first_what_needs_somebody(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await api.put("/v1/jobs/calm", json=LATER)
    await insert_job(connection, name="broken <cron>", cron="61 * * * *", plan_error="minute 61")
    failing = await insert_job(connection, name="fails", every_seconds=3600)
    await connection.execute(
        "update tocsin.jobs set consecutive_failures = 3, last_outcome = 'failed', "
        "next_run = now() + interval '1 hour', planned_at = now() where id = $1",
        failing,
    )

    page = await api.get("/")

    text = page.text.partition('id="attention"')[2]
    assert "No instance is connected" in page.text
    assert "1 job fails" in page.text
    assert f'<a class="job" href="/jobs/{failing}">fails</a>' in text
    assert "3 times in a row" in text
    assert "broken &lt;cron&gt;" in text
    assert "minute 61" in text


async def test_what_comes_is_drawn_and_said_in_words(api: httpx.AsyncClient) -> None:
    hour = distant_hour()
    for number in range(3):
        job = {"kind": "http", "target": {"url": "http://h/"}, "cron": f"0 {hour} * * *"}
        await api.put(f"/v1/jobs/daily-{number}", json=job)
    often = {"kind": "http", "target": {"url": "http://h/"}, "every_seconds": 5}
    await api.put("/v1/jobs/often", json=often)

    for span, runs in (("hour", None), ("day", 3), ("week", 21), ("century", 3)):
        page = await api.get("/", params={"span": span})
        assert page.status_code == 200
        assert "not drawn: 1 job that runs all the time" in page.text
        if runs:
            assert f'aria-label="What comes: {runs} runs; most, 3, from' in page.text


async def test_the_week_shows_the_pile_up_and_names_who_makes_it(api: httpx.AsyncClient) -> None:
    hour = distant_hour()
    for number in range(40):
        job = {"kind": "http", "target": {"url": "http://h/"}, "cron": f"0 {hour} * * *"}
        await api.put(f"/v1/jobs/daily-{number:02}", json=job)
    after = {"kind": "http", "target": {"url": "http://h/"}, "cron": f"7 {(hour + 3) % 24} * * *"}
    await api.put("/v1/jobs/after", json=after)

    page = (await api.get("/?zone=Asia/Tokyo")).text
    utc = (await api.get("/?zone=Nowhere/At_All")).text

    in_tokyo = f"{(hour + 9) % 24:02}"
    week = page.partition('id="week"')[2]
    assert "40 runs in the busiest hour" in week
    assert f"40 from <code>0 {hour} * * *</code>" in week
    assert ">daily-" in week
    assert "An <code>H</code> in place of the minute" in week
    shown = re.findall(r'<td class="t5" title="\w+ \d+ \w+ (\d\d):00: 40 runs">', week)
    assert shown == [in_tokyo] * 7
    assert f"Mon {in_tokyo}:00</strong> 40 runs" in week or "and 6 hours like it" in week
    assert f'aria-label="Runs by minute of the hour; most, {40 * 7}, at :00"' in week
    assert "by the clocks of UTC" in utc
    assert utc.count('class="t5"') == 7 + 1  # and that of the scale


async def test_what_the_doctor_warns_of_and_what_alerts_tell_is_on_the_overview(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    failing = await insert_job(connection, name="fails", every_seconds=3600)
    rule = await connection.fetchval(
        "insert into tocsin.alert_rules (name, events) values ('loud', '{failed}') returning id"
    )
    await connection.execute(
        "insert into tocsin.alert_states (rule_id, event, job_id, many, since, last_at, told_at) "
        "values ($1, 'failed', $2, 7, now(), now(), now())",
        rule,
        failing,
    )
    await connection.execute(
        "insert into tocsin.upkeep (step, failed_at, error) values ('jobs', now(), 'no <room>')"
    )

    text = (await api.get("/")).text

    warnings = text.partition('id="warnings"')[2].partition("</section>")[0]
    assert "jobs: no &lt;room&gt;" in warnings
    fires = text.partition('id="firing"')[2].partition("</section>")[0]
    assert "7 times, on record since" in fires
    assert "by loud: no channel" in fires
    assert "told" not in fires

    await connection.execute(
        "insert into tocsin.alert_channels (name, target) values ('hook', '{\"url\": \"http://h/\"}')"
    )
    await connection.execute("update tocsin.alert_rules set channels = '{hook}'")
    page = (await api.get("/alerts")).text
    assert re.search("7 in a row, for [^,]+, told [^,]+ by loud", page)


async def test_what_fails_all_the_time_is_one_row_and_hides_no_other_failure(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    nightly, often = [await insert_job(connection, name=name) for name in ("nightly", "often")]
    for job_id, many in ((nightly, 1), (often, 20)):
        await connection.execute(
            "insert into tocsin.executions (job_id, kind, scheduled_for, attempt, outcome) "
            "select $1, 'http', now(), 1, 'failed' from generate_series(1, $2)",
            job_id,
            many,
        )

    text = (await api.get("/")).text.partition('id="troubled"')[2].partition("</section>")[0]

    assert re.findall(r'class="job"[^>]*>(\w+)</a>', text) == ["often", "nightly"]
    assert "20 times, the last" in text


async def test_lateness_is_that_of_runs_that_the_plan_had_ahead(
    connection: asyncpg.Connection, db: Database
) -> None:
    late, replayed, paused = [await insert_job(connection, every_seconds=3600) for _ in range(3)]
    await connection.execute(
        """alter table tocsin.jobs disable trigger all;
           update tocsin.jobs set created_at = now() - interval '30 days';
           alter table tocsin.jobs enable trigger all"""
    )
    await connection.execute("update tocsin.jobs set resumed_at = now() where id = $1", paused)
    fresh = await insert_job(connection, run_at=datetime(2020, 1, 1, tzinfo=UTC))
    began = await connection.fetchval("select now() - interval '1 minute'")
    for job_id, seconds, attempt in (
        (late, 0.2, 1),
        (late, 7, 1),
        (late, 500, 2),
        (replayed, 0.2, 1),
        (replayed, 90_000, 1),  # of two instants before it
        (replayed, 86_400, 1),
        (paused, 9_000, 1),
        (fresh, 200_000_000, 1),
    ):
        await connection.execute(
            """insert into tocsin.executions
                   (job_id, kind, scheduled_for, attempt, outcome, started_at, finished_at)
               values ($1, 'http', $2::timestamptz - $3::float8 * interval '1 s', $4, 'failed',
                       $2, $2)""",
            job_id,
            began if seconds > 1 else began - timedelta(seconds=600),
            seconds,
            attempt,
        )

    hour = await pages.read_hour(db, since=began - timedelta(hours=1))

    assert (hour.p50, hour.p99) == (0.2, 7)
    assert sum(one.failed for one in hour.minutes) == 8


async def test_what_executes_or_is_only_just_due_is_not_late(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    late, runs, due = [await insert_job(connection) for _ in range(3)]
    for id, seconds in ((late, 60), (runs, 50), (due, 1)):
        await connection.execute(
            "update tocsin.jobs set next_run = now() - $2::float8 * interval '1 s' where id = $1",
            id,
            seconds,
        )
    await connection.execute(
        "update tocsin.jobs set locked_until = now() + interval '1 min', locked_by = 'a', "
        "fence = 1, execution_id = 1, claimed_at = now(), claimed_for = next_run, "
        "claimed_attempt = 1, attempt = 1 where id = $1",
        runs,
    )

    text = (await api.get("/")).text

    assert re.findall(r'<li id="late-([^"]+)">', text) == [str(late)]


async def test_pages_have_few_connections_whose_statements_are_stopped_and_cannot_write(
    database_url: str, faults: Recorder
) -> None:
    async with serving(as_role("api", database_url), faults) as api:
        reader = api._transport.app.state.reader  # type: ignore[attr-defined]
        async with reader.pool.acquire() as connection:
            limit = await connection.fetchval("show statement_timeout")
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await connection.execute("delete from tocsin.jobs")
            await connection.execute("set statement_timeout = 1")
        assert (limit, reader.pool.get_max_size()) == ("2s", OF_PAGES)


@pytest.fixture
async def slow_instances(connection: asyncpg.Connection) -> None:
    """Have the list of the instances take a minute."""
    await connection.execute(
        "create or replace function tocsin.connected_instances() "
        "returns table (name text, connected_since timestamptz) language plpgsql as "
        "$$ begin perform pg_sleep(60); end $$"
    )


@pytest.mark.usefixtures("slow_instances")
async def test_a_page_that_takes_too_long_says_what_to_do(
    database_url: str, faults: Recorder
) -> None:
    async with serving(as_role("api", database_url), faults) as api:
        reader = api._transport.app.state.reader  # type: ignore[attr-defined]
        async with reader.pool.acquire() as own:
            await own.execute("set statement_timeout = 50")
        page = await api.get("/instances")

    assert page.status_code == 503
    assert "Narrow the search" in page.text
    assert page.headers["Content-Security-Policy"] == PAGE_POLICY


@pytest.mark.usefixtures("slow_instances")
async def test_a_part_of_the_overview_that_takes_too_long_keeps_no_other_one_back(
    database_url: str,
    faults: Recorder,
    connection: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.db.pages.LIMIT_SECONDS", 0.2)
    await insert_job(connection, name="broken", cron="61 * * * *", plan_error="minute 61")
    async with serving(as_role("api", database_url), faults) as api:
        page = (await api.get("/")).text

    def part(name: str) -> str:
        return page.partition(f'id="{name}"')[2].partition("</section>")[0]

    assert "took too long, and Postgres was stopped" in part("instances")
    assert "minute 61" in part("attention")
    assert "Nothing runs at this moment" in part("under-way")
    assert "No instance is connected" not in page  # which nobody knows
    assert page.count('class="stale"') == 1, "the other parts are whole"


async def test_while_postgres_is_away_a_page_says_so(faults: Recorder) -> None:
    async with serving("postgresql://nobody@127.0.0.1:9/nothing", faults) as api:
        page = await api.get("/")

    assert page.status_code == 503
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Postgres is not available" in page.text
    assert "127.0.0.1" not in page.text
