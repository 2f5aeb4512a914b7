"""Takes the pictures of the documentation anew: `python -m tests.support.pictures job upcoming`.

It needs a server for tests, Chromium, and htmx (`make vendor`). What pages show is made up here.
"""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
from msgspec import Struct
from playwright.async_api import Browser, async_playwright

from tests.support.browser import ALONE, PROGRAMS, Site, opened, served
from tests.support.pages import ROOT
from tests.support.postgres import sources, started

IMAGES = ROOT / "docs" / "images"
ETL = {"kind": "http", "target": {"url": "https://etl.example.com/export", "method": "POST"}}
JOBS: dict[str, dict[str, Any]] = {
    "export-warehouse": {"cron": "0 1 * * *", "tags": ["etl"], "timeout_seconds": 30},
    **{f"invoices-{n}": {"cron": "0 3 * * *", "tags": ["billing"]} for n in (1, 2, 3, 4)},
    "nightly-report": {"cron": "0 3 * * 1-5", "timezone": "Europe/Berlin", "tags": ["reports"]},
    "backup": {"cron": "30 3 * * *", "tags": ["infra"]},
    "sync-stock": {"every_seconds": 1800, "tags": ["etl"]},
}
RAN = """
insert into tocsin.executions (job_id, kind, fence, scheduled_for, attempt, outcome, reason,
    status_code, started_at, finished_at, instance)
select $1, 'http', n, at, 1, case when n > 46 then 'failed' else 'succeeded' end,
    case when n > 46 then 'status' end, case when n > 46 then 503 else 200 end,
    at + interval '3 ms', at + interval '3 ms' + (8 + n * 37 % 290) * interval '1 ms', 'one:1:abcd'
from (
    select n,
        date_trunc('day', now(), 'UTC') - (50 - n) * interval '1 day' + interval '1 hour' as at
    from generate_series(1, 50) as n
) as days
where at < now()
order by n
"""


class Picture(Struct, frozen=True, kw_only=True):
    """A page as it is shown."""

    address: str
    width: int = 1000
    height: int | None = None
    """None: as high as the page."""
    color_scheme: str = "light"


PICTURES = {
    "job": Picture(address="/jobs/export-warehouse", width=1180, height=1180),
    "upcoming": Picture(address="/upcoming?from={three}", width=1100),
}


async def fill(site: Site, database_url: str) -> None:
    """Make jobs, and executions of one of them, which was changed since it last succeeded."""
    async with httpx.AsyncClient(base_url=site.address) as api:
        for name, fields in JOBS.items():
            answer = await api.put(f"/v1/jobs/{name}", json=ETL | fields)
            answer.raise_for_status()
        person = await asyncpg.connect(database_url)
        id = await person.fetchval("select id from tocsin.jobs where name = 'export-warehouse'")
        await person.execute(RAN, id)
        await person.execute("alter table tocsin.jobs disable trigger all")
        await person.execute(
            "update tocsin.jobs set runs = 50, consecutive_failures = 4, last_outcome = 'failed', "
            "last_finished_at = (select max(finished_at) from tocsin.executions), "
            "created_at = now() - interval '60 days' where id = $1",
            id,
        )
        await person.execute("alter table tocsin.jobs enable trigger all")
        await person.close()
        changed = {"timeout_seconds": 120, "backoff_seconds": 30}
        (await api.patch(f"/v1/jobs/{id}", json=changed)).raise_for_status()


@asynccontextmanager
async def connected(database_url: str) -> AsyncIterator[None]:
    """Have a session that is named as that of an instance."""
    settings = {"application_name": "tocsin scheduler worker-1:811:k3d9"}
    session = await asyncpg.connect(database_url, server_settings=settings)
    yield
    await session.close()


async def take(browser: Browser, site: Site, name: str) -> None:
    """Take one picture."""
    three = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT03:00Z")
    one = PICTURES[name]
    size = {"width": one.width, "height": one.height or 600}
    async with opened(
        browser,
        site.address,
        viewport=size,
        color_scheme=one.color_scheme,
        timezone_id="Europe/Berlin",
    ) as (page, _):
        await page.goto(one.address.format(three=three))
        await page.wait_for_timeout(1500)  # for the live part
        await page.screenshot(path=IMAGES / f"{name}.png", full_page=one.height is None)


async def main(names: Iterable[str]) -> None:
    """Take pictures by their names."""
    program = next(path for name in PROGRAMS if (path := shutil.which(name)))
    with started(sources()[0]) as server, server.database() as url:
        async with connected(url), served(url) as site, async_playwright() as playwright:
            await fill(site, url)
            browser = await playwright.chromium.launch(executable_path=program, args=list(ALONE))
            for name in names:
                await take(browser, site, name)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or PICTURES))
