"""How people create and edit jobs, in Chromium, with scripts and without."""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio
from msgspec import json
from playwright.async_api import Browser, Page, expect

from tests.support.browser import Site, opened, served, violations

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
        assert [one for one in said if "status of 4" not in one] == []


async def put(site: Site, name: str, **fields: object) -> str:
    """Create a job and return its id."""
    job = {"kind": "http", "target": {"url": "http://h/"}, "cron": "0 3 * * *"} | fields
    async with httpx.AsyncClient(base_url=site.address) as api:
        answer = await api.put(f"/v1/jobs/{name}", json=job)
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).click()


async def test_a_test_is_sent_from_the_form_and_shown_beside_it(
    page: Page, site: Site, person: asyncpg.Connection
) -> None:
    id = await put(site, f"tried-{uuid4()}")
    await page.goto("/new-job")
    await page.get_by_label("URL").fill(f"{site.address}/health/live")
    await page.get_by_label("Method").select_option("GET")
    await press(page, "Send a test")
    section = page.locator("#tested")
    await expect(section).to_contain_text("blocked")
    await page.goto(f"/jobs/{id}")
    await press(page, "Send a test")
    await expect(section).to_contain_text("no execution")
    assert await person.fetchval("select count(*) from tocsin.executions") == 0


async def test_the_form_and_the_job_after_a_test_have_no_barriers_and_fit_a_small_phone(
    chromium: Browser, site: Site, person: asyncpg.Connection
) -> None:
    id = await put(site, f"tried-{uuid4()}")
    async with opened(
        chromium, site.address, color_scheme="dark", viewport={"width": 320, "height": 640}
    ) as (page, _):
        await page.goto("/new-job")
        await page.get_by_label("URL").fill(f"{site.address}/health/live")
        await press(page, "Send a test")
        await expect(page.locator("#tested")).to_contain_text("blocked")
        assert await violations(page) == []
        await page.goto(f"/jobs/{id}")
        await press(page, "Send a test")
        await expect(page.locator("#tested")).to_contain_text("no execution")
        assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320


async def row(person: asyncpg.Connection, name: str) -> asyncpg.Record:
    [found] = await person.fetch("select * from tocsin.jobs where name = $1", name)
    return found


async def test_a_job_is_created_field_by_field_and_what_was_wrong_is_said_beside_it(
    page: Page, person: asyncpg.Connection
) -> None:
    name = f"made-{uuid4()}"
    await page.goto("/new-job")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Tags").fill("billing, nightly")
    await page.get_by_label("Cron", exact=True).fill("0 3")
    await page.get_by_label("By the clocks of").fill("Europe/Paris")
    await page.get_by_label("URL").fill("ftp://h/")
    await page.get_by_label("Headers").fill('{"X-Big": "1"}')
    await press(page, "Create")
    await expect(page.get_by_role("heading", name="It cannot be like this")).to_be_visible()
    await expect(page.locator("#cron-error")).to_be_visible()
    await page.get_by_label("Cron", exact=True).fill("0 3 * * 1-5")
    await page.get_by_label("URL").fill("http://h/")
    await press(page, "Create")
    await expect(page.locator("[data-done]")).to_contain_text("It is created")

    made = await row(person, name)
    assert (made["cron"], made["timezone"]) == ("0 3 * * 1-5", "Europe/Paris")
    assert made["tags"] == ["billing", "nightly"]
    assert json.decode(made["target"])["headers"] == {"X-Big": "1"}


async def test_words_and_runs_show_as_one_types(chromium: Browser, site: Site) -> None:
    async with opened(chromium, site.address, timezone_id="Asia/Tokyo") as (page, said):
        await page.goto("/new-job")
        await page.get_by_label("Cron", exact=True).fill("30 2 * * *")
        await page.get_by_label("By the clocks of").fill("America/New_York")
        shown = page.locator("#preview")
        await expect(shown).to_contain_text("At 02:30, in America/New_York")
        await expect(shown).to_contain_text("clocks leave out an hour")
        await expect(shown.locator("tbody tr")).to_have_count(10)
        await expect(shown.get_by_role("row").nth(1)).to_contain_text("02:30:00")
        await expect(shown.get_by_role("row").nth(1)).to_contain_text(" UTC")
        await expect(shown.get_by_role("row").nth(1)).to_contain_text("in ")
        await page.get_by_label("How many").fill("90")
        await expect(shown).to_contain_text("Every 90 minutes")
        await page.get_by_label("How many").fill("x")
        await expect(shown).to_contain_text("every_seconds: is no number")
        assert said == []


async def test_json_and_form_show_the_same_job_and_kinds_keep_what_was_typed(
    page: Page, person: asyncpg.Connection
) -> None:
    name = f"json-{uuid4()}"
    await page.goto("/new-job")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("URL").fill("amqp://h/")
    await press(page, "amqp")
    await page.get_by_label("Routing key").fill("reports")
    await page.get_by_label("Every", exact=True).check()
    await page.get_by_label("How many").fill("2")
    await press(page, "JSON")
    text = await page.get_by_label("The job as JSON").input_value()
    given = json.decode(text)
    assert given["target"] == {"url": "amqp://h/", "routing_key": "reports"}
    assert given["every_seconds"] == 120
    exact = '{"big": 9007199254740993}'
    await page.get_by_label("The job as JSON").fill(
        text.replace('"reports"', f'"r", "headers": {exact}')
    )
    await press(page, "Form")
    await expect(page.get_by_label("Routing key")).to_have_value("r")
    await press(page, "Create")
    await expect(page.locator("[data-done]")).to_contain_text("It is created")

    target = (await row(person, name))["target"]
    assert '"big": 9007199254740993' in target


async def test_an_edit_says_what_it_changes_and_drops_and_keeps_secrets(
    page: Page, site: Site, person: asyncpg.Connection
) -> None:
    name = f"edited-{uuid4()}"
    target = {"url": "http://h/", "auth": {"type": "bearer", "token": "geheim"}}
    id = await put(site, name, cron="0 * * * *", target=target)
    await page.goto(f"/jobs/{id}")
    await page.get_by_role("link", name="Edit…").click()
    assert "geheim" not in await page.content()
    await page.get_by_label("Cron", exact=True).fill("0 0 * * *")
    await press(page, "Check")
    shown = page.locator("#preview")
    await expect(shown).to_contain_text("it runs 7 times, and not 168 times")
    await expect(shown.locator("ins")).to_have_text("0 0 * * *")
    await press(page, "Save")
    await expect(page.locator("[data-done]")).to_contain_text("It is saved")

    stored = await row(person, name)
    assert (stored["cron"], json.decode(stored["target"])) == ("0 0 * * *", target)
    await page.goto(f"/jobs/{id}/edit")
    await press(page, "Save")
    await expect(page.locator("[data-done]")).to_contain_text("Nothing was changed")


async def test_two_edits_of_a_job_are_put_together_before_the_second_is_saved(
    page: Page, site: Site, person: asyncpg.Connection
) -> None:
    name = f"contested-{uuid4()}"
    id = await put(site, name, max_attempts=3, description="old")
    await page.goto(f"/jobs/{id}/edit")
    await page.get_by_label("Description").fill("mine")
    await put(site, name, max_attempts=7, description="theirs")
    await press(page, "Save")
    await expect(page.get_by_role("heading", name="Others changed it meanwhile")).to_be_visible()
    await expect(page.get_by_role("row", name="description both")).to_contain_text("theirs")
    await press(page, "Save")
    await expect(page.locator("[data-done]")).to_contain_text("It is saved")

    stored = await row(person, name)
    assert (stored["description"], stored["max_attempts"]) == ("mine", 7)


async def test_a_crowded_minute_is_advised_against(
    chromium: Browser, site: Site, person: asyncpg.Connection
) -> None:
    await person.execute(
        "insert into tocsin.jobs (kind, target, run_at) select 'http', '{\"url\": \"http://h/\"}', "
        "'2031-01-01 05:00:07Z' from generate_series(1, 30)"
    )
    form = {"how": "cron", "cron": "0 5 1 1 *", "kind": "http", "starts_at": "2031-01-01T00:00:00Z"}
    async with httpx.AsyncClient(base_url=site.address) as api:
        answer = await api.post("/new-job/preview", data=form)
    assert "05:00 has 30 other jobs: jitter_seconds, or H as its minute" in answer.text


async def test_the_sample_is_two_clicks_from_an_empty_list(
    chromium: Browser, site: Site, person: asyncpg.Connection
) -> None:
    await person.execute("delete from tocsin.jobs")
    async with opened(chromium, site.address) as (page, said):
        await page.goto("/")
        await page.get_by_role("link", name="Begin with a sample").click()
        await press(page, "Create")
        await expect(page.get_by_role("heading", name="sample-job")).to_be_visible()
        assert said == []


async def test_forms_have_no_barriers_in_either_theme_and_fit_a_small_phone(
    chromium: Browser, site: Site
) -> None:
    id = await put(site, "seen", jitter_seconds=5)
    for scheme, address in (("light", "/new-job?kind=smtp"), ("dark", f"/jobs/{id}/edit")):
        async with opened(
            chromium, site.address, color_scheme=scheme, viewport={"width": 320, "height": 640}
        ) as (page, _):
            await page.goto(address)
            for summary in await page.locator("summary").all():
                await summary.click()
            assert await violations(page) == [], address
            assert await page.evaluate("document.documentElement.scrollWidth") <= 320, address
    async with opened(chromium, site.address) as (page, _):
        await page.goto(f"/jobs/{id}/edit")
        await press(page, "JSON")
        assert await violations(page) == []
        await press(page, "Send a test")
        await expect(page.locator("#tested")).to_be_visible()
        assert await violations(page) == []
