"""What people do with jobs and executions, in Chromium, with scripts and without."""

from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.support.browser import Site, opened, served
from tests.support.builders import insert_job

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELD = """
update tocsin.jobs set locked_until = now() + interval '1 hour', locked_by = 'one',
    fence = fence + 1, execution_id = nextval('tocsin.executions_id_seq'), claimed_at = now(),
    claimed_for = scheduled_for, claimed_attempt = 1
where id = $1 returning execution_id
"""
"""Has an instance hold a job."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(module_database: str) -> AsyncIterator[Site]:
    """Serve the dashboard."""
    async with served(module_database) as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def person(module_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(module_database)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(params=["with scripts", "without"], loop_scope="module")
async def page(
    chromium: Browser, site: Site, request: pytest.FixtureRequest
) -> AsyncIterator[Page]:
    """Give a page of a browser that runs scripts, and of one that does not."""
    with_scripts = request.param == "with scripts"
    async with opened(chromium, site.address, java_script_enabled=with_scripts) as (page, said):
        yield page
        assert [one for one in said if "status of 422" not in one] == []


async def job_of(api: Site, name: str | None = None, **fields: object) -> str:
    """Create a job and return its id."""
    job = {"name": name, "kind": "http", "target": {"url": "http://h/"}, "cron": "0 3 * * *"}
    async with httpx.AsyncClient(base_url=api.address) as client:
        answer = await client.post("/v1/jobs", json=job | fields)
    return str(answer.json()["id"])


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).click()


async def said(page: Page, text: str) -> None:
    """Expect a page that says what was done."""
    await expect(page.locator("[data-done]")).to_contain_text(text)


async def test_a_job_is_run_and_its_next_run_skipped_and_not(
    page: Page, site: Site, person: asyncpg.Connection
) -> None:
    id = await job_of(site)
    await page.goto(f"/jobs/{id}")

    await press(page, "Run now")
    await said(page, "due now")
    runs = await person.fetchval("select count(*) from tocsin.jobs where run_of = $1", id)
    await press(page, "Skip next")
    await said(page, "The next run is skipped")
    await press(page, "Undo")
    await said(page, "No run is skipped any more")

    assert runs == 1
    assert await person.fetchval("select skip_runs from tocsin.jobs where id = $1", id) is None


async def test_a_job_is_paused_with_a_reason_and_an_end_and_resumed_with_a_choice(
    page: Page, site: Site, person: asyncpg.Connection
) -> None:
    id = await job_of(site, cron=None, every_seconds=1)
    await page.goto(f"/jobs/{id}")
    await page.get_by_role("link", name="Pause…").click()
    await page.get_by_label("Why").fill("It is moved")
    await page.get_by_label("until", exact=True).check()
    await press(page, "Pause")
    await expect(page.get_by_text("Is empty: choose a date")).to_be_visible()
    await page.get_by_label("Date and time").fill("2099-01-31T08:30")
    await page.get_by_label("By the clocks of").select_option("UTC")
    await press(page, "Pause")
    await said(page, "It is paused")
    await person.execute(
        "update tocsin.jobs set next_run = now() - interval '90 s' where id = $1", id
    )

    await page.get_by_role("link", name="Resume…").click()
    await expect(page.get_by_text("until 2099-01-31")).to_be_visible()
    await expect(page.get_by_text("It has missed 9")).to_be_visible()
    await page.get_by_label("Drop them").check()
    await press(page, "Resume")
    await said(page, "It is resumed")

    assert await person.fetchval("select paused_at from tocsin.jobs where id = $1", id) is None


async def test_a_job_is_deleted_by_who_types_its_name(
    page: Page, site: Site, person: asyncpg.Connection
) -> None:
    id = await job_of(site, "of-no-use")
    await page.goto(f"/jobs/{id}")
    await page.get_by_role("link", name="Delete…").click()
    await page.get_by_label("Type of-no-use").fill("of-some-use")
    await press(page, "Delete it")
    await expect(page.get_by_text("That is not of-no-use.")).to_be_visible()
    assert await person.fetchval("select count(*) from tocsin.jobs where id = $1", id) == 1
    await page.get_by_label("Type of-no-use").fill("of-no-use")
    await press(page, "Delete it")

    await said(page, "The job is deleted")
    assert await person.fetchval("select count(*) from tocsin.jobs where id = $1", id) == 0


async def test_an_execution_is_cut_off_and_its_run_carried_out_again(
    page: Page, person: asyncpg.Connection
) -> None:
    id = await insert_job(person)
    execution = await person.fetchval(HELD, id)
    await page.goto(f"/jobs/{id}")
    await page.get_by_role("link", name="Cut off…").click()
    await press(page, "Cut it off")
    await said(page, "The execution is cut off")
    await expect(page.get_by_role("heading", name=f"Execution {execution}")).to_be_visible()
    await press(page, "Run it again")
    await said(page, "That run is due again now")

    rows = await person.fetch("select outcome from tocsin.executions where job_id = $1", id)
    assert [row["outcome"] for row in rows] == ["cancelled"]


async def test_a_key_that_may_only_look_sees_no_button_and_is_told_why(
    module_database: str, chromium: Browser
) -> None:
    """The last test of the module, as from here on a key is asked for."""
    async with served(module_database) as site:
        id = await job_of(site, "looked-at")
        async with httpx.AsyncClient(base_url=site.address) as api:
            made = await api.post("/v1/keys", json={"name": "eye", "scopes": ["read"]})
            key = made.json()["key"]
            sent = await api.post(
                f"/jobs/{id}/run", headers={"Authorization": f"Bearer {key}", "Accept": "text/html"}
            )
            elsewhere = await api.post(f"/jobs/{id}/run", headers={"Sec-Fetch-Site": "same-origin"})
        async with opened(chromium, site.address) as (page, _):
            await page.goto(f"/jobs/{id}")
            await page.get_by_label("API key").fill(key)
            await press(page, "Sign in")
            await expect(page.get_by_role("heading", name="looked-at")).to_be_visible()
            shown = await page.get_by_role("button").all_inner_texts()
            await page.goto(f"/jobs/{id}/delete")
            await expect(page.get_by_role("heading", name="may only look")).to_be_visible()

    assert {*shown} - {"Keyboard"} == {"Sign out", "Explain"}  # the script's comes when it can
    assert (sent.status_code, elsewhere.status_code) == (403, 303)
    assert "Your key may only look" in sent.text
    assert elsewhere.headers["Location"] == "/sign-in"
