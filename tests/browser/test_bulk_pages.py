"""What people do with many jobs at once: counted first, shown, asked for, watched."""

from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.support.browser import Site, opened, served, violations

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(module_database: str) -> AsyncIterator[Site]:
    """Serve the dashboard, without any instance: what is asked for waits."""
    async with served(module_database) as site:
        async with httpx.AsyncClient(base_url=site.address) as api:
            for number in range(12):
                job = {"kind": "http", "target": {"url": "http://h/"}, "cron": "0 3 * * *"}
                await api.put(f"/v1/jobs/old-{number}", json=job | {"tags": ["old"]})
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


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).click()


async def test_what_a_search_finds_is_counted_and_shown_and_deleted_by_who_types_the_count(
    page: Page, person: asyncpg.Connection
) -> None:
    await page.goto("/jobs?q=tag:old")
    await page.get_by_role("link", name="Act on these…").click()
    await page.get_by_label("Delete").check()
    await press(page, "Count")
    await expect(page.get_by_role("heading", name="Delete: 12 jobs")).to_be_visible()
    await expect(page.locator(".counted li")).to_have_count(10)
    await page.get_by_label("Type 12").fill("11")
    await press(page, "Delete: do it")
    await expect(page.get_by_text("That is not 12.")).to_be_visible()
    await page.get_by_label("Type 12").fill("12")
    await press(page, "Delete: do it")
    await expect(page.get_by_text("0 of 12")).to_be_visible()
    await press(page, "Cancel")
    await expect(page.get_by_text("cancelled").first).to_be_visible()

    [asked] = await person.fetch(
        "delete from tocsin.bulk_actions returning action, cancelled_at is not null as is_over"
    )
    assert tuple(asked) == ("delete", True)


async def test_progress_shows_as_it_is_made(
    chromium: Browser, site: Site, person: asyncpg.Connection
) -> None:
    async with opened(chromium, site.address) as (page, said):
        await page.goto("/bulk/new?q=tag:old&action=pause")
        await press(page, "Count")
        await press(page, "Pause: do it")
        await expect(page.get_by_text("0 of 12")).to_be_visible()
        await person.execute("update tocsin.bulk_actions set matched = 7, changed = 7")
        await expect(page.get_by_text("7 of 12")).to_be_visible()
        assert said == []


async def test_a_range_is_backfilled_and_what_cannot_be_is_said(page: Page) -> None:
    await page.goto("/bulk/new?q=name:old-1&action=backfill")
    await press(page, "Count")
    await expect(page.get_by_role("alert")).to_contain_text("is no date and time")
    await page.get_by_label("From").fill("2026-01-01T00:00")
    await page.get_by_label("To", exact=True).fill("2026-01-08T00:00")
    await page.get_by_label("By the clocks of").select_option("UTC")
    await page.get_by_label("Runs a second").fill("often")
    await press(page, "Count")
    await expect(page.get_by_role("alert")).to_contain_text("'often' is no number")
    await page.get_by_label("Runs a second").fill("0.5")
    await press(page, "Count")
    await expect(page.get_by_role("heading", name="Backfill: 3 jobs, 21 runs")).to_be_visible()
    await press(page, "Backfill: do it")
    await expect(page.get_by_text("0.5 runs a second at most")).to_be_visible()


async def test_executions_are_redriven_from_their_page(page: Page) -> None:
    await page.goto("/executions?q=dead:true")
    await page.get_by_role("link", name="Act on these…").click()
    await page.get_by_label("Redrive").check()
    await press(page, "Count")
    await expect(page.get_by_role("heading", name="Nothing is found")).to_be_visible()


async def test_pages_of_many_have_no_barriers_in_either_theme_and_fit_a_small_phone(
    chromium: Browser, site: Site
) -> None:
    async with opened(
        chromium, site.address, color_scheme="light", viewport={"width": 320, "height": 640}
    ) as (page, _):
        await page.goto("/bulk/new?q=tag:old&action=delete")
        await press(page, "Count")
        assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320
    async with opened(
        chromium, site.address, color_scheme="dark", viewport={"width": 320, "height": 640}
    ) as (page, _):
        await page.goto("/bulk/new?q=tag:old&action=skip")
        await press(page, "Count")
        await press(page, "Skip the next run: do it")
        assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320
