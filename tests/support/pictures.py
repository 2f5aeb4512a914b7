"""Takes the pictures of the documentation anew: `python -m tests.support.pictures job upcoming`.

It needs a server for tests, Chromium, and htmx (`make vendor`). What pages show is made up in
`tests.support.pictured`. `--all DIRECTORY` takes every page, in both themes and on a phone, to be
looked at. Pictures are a quarter as large where there is pngquant.
"""

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from msgspec import Struct
from playwright.async_api import Browser, Page, async_playwright

from tests.support.browser import ALONE, PROGRAMS, Site, opened, served
from tests.support.pages import ROOT
from tests.support.pictured import connected, fill
from tests.support.postgres import sources, started

IMAGES = ROOT / "docs" / "images"
PHONE = 390

Do = Callable[[Page], Awaitable[None]]


async def change_cron(page: Page) -> None:
    """Begin to edit a job."""
    await page.get_by_label("Cron", exact=True).fill("0 3 * * 1-5")


async def count(page: Page) -> None:
    """Count what is to be done with many."""
    await page.get_by_label("Pause").first.check()
    await page.get_by_role("button", name="Count", exact=True).click()


async def test(page: Page) -> None:
    """Send a test."""
    await page.get_by_role("button", name="Send a test").click()


class Picture(Struct, frozen=True, kw_only=True):
    """A page as it is shown."""

    address: str
    width: int = 1000
    height: int | None = None
    """None: as high as the page."""
    color_scheme: str = "light"
    do: Do | None = None
    """What is done on the page before."""


PICTURES = {
    "overview": Picture(address="/", width=1180, height=1120),
    "overview-dark": Picture(address="/", width=1180, height=860, color_scheme="dark"),
    "overview-phone": Picture(address="/", width=PHONE, height=844),
    "jobs": Picture(address="/jobs", width=1100),
    "jobs-phone": Picture(address="/jobs", width=PHONE, height=844, color_scheme="dark"),
    "job": Picture(address="/jobs/export-warehouse", width=1180, height=1240),
    "edit": Picture(address="/jobs/invoices-1/edit", width=1180, height=1000, do=change_cron),
    "test": Picture(address="/jobs/export-warehouse", width=800, do=test),
    "resume": Picture(address="/jobs/cleanup-uploads/resume", width=800),
    "bulk": Picture(address="/bulk/new?of=jobs&q=tag:billing", width=800, do=count),
    "executions": Picture(address="/executions", width=1100, height=760),
    "executions-phone": Picture(address="/executions", width=PHONE, height=844),
    "execution": Picture(address="/executions/{failed}", width=1100),
    "upcoming": Picture(address="/upcoming?from={three}", width=1100, height=900),
    "flows": Picture(address="/flows"),
    "calendars": Picture(address="/calendars"),
    "alerts": Picture(address="/alerts", color_scheme="dark"),
    "instances": Picture(address="/instances", color_scheme="dark"),
    "audit": Picture(address="/audit", height=900),
    "keys": Picture(address="/keys"),
}
MORE = {
    "pause": Picture(address="/jobs/backup/pause"),
    "delete": Picture(address="/jobs/backup/delete"),
    "new": Picture(address="/new-job?sample=true"),
    "day": Picture(address="/upcoming?hours=24"),
    "cancel": Picture(address="/executions/999999/cancel"),
    "bulk-list": Picture(address="/bulk"),
    "nothing": Picture(address="/jobs?q=nothing"),
    "trouble": Picture(address="/jobs/none"),
    "sign-in": Picture(address="/sign-in"),
}
"""Pages that are looked at and not in the documentation."""


async def take(
    browser: Browser, site: Site, one: Picture, *, to: Path, known: Mapping[str, Any]
) -> None:
    """Take one picture."""
    async with opened(
        browser,
        site.address,
        viewport={"width": one.width, "height": one.height or 600},
        color_scheme=one.color_scheme,
        timezone_id="Europe/Berlin",
        extra_http_headers=known["headers"],
    ) as (page, _):
        await page.goto(one.address.format(**known))
        if one.do:
            await one.do(page)
        await page.wait_for_timeout(1500)  # for the live part
        await page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
        await page.screenshot(path=to, full_page=one.height is None)
    if program := shutil.which("pngquant"):
        few = ("--force", "--ext", ".png", "--speed", "1", "--quality", "70-98", "128")
        quantizing = await asyncio.create_subprocess_exec(program, *few, str(to))
        await quantizing.wait()


async def main(arguments: list[str]) -> None:
    """Take pictures by their names, or all of all pages into a directory."""
    program = next(path for name in PROGRAMS if (path := shutil.which(name)))
    with started(sources()[0]) as server, server.database() as url:
        async with (
            connected(url),
            served(url, retention_days=90) as site,
            async_playwright() as playwright,
        ):
            known: dict[str, Any] = {"headers": await fill(site, url)}
            known["three"] = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT03:00Z}"
            person = await asyncpg.connect(url)
            known["failed"] = await person.fetchval(
                "select max(id) from tocsin.executions where outcome = 'failed'"
            )
            await person.close()
            browser = await playwright.chromium.launch(executable_path=program, args=list(ALONE))
            for to, one in chosen(arguments):
                await take(browser, site, one, to=to, known=known)
            await browser.close()


def chosen(arguments: list[str]) -> Iterable[tuple[Path, Picture]]:
    """List the pictures to take, and where to."""
    if arguments[:1] != ["--all"]:
        for name in arguments or PICTURES:
            yield IMAGES / f"{name}.png", PICTURES[name]
        return
    into = Path(arguments[1])
    into.mkdir(parents=True, exist_ok=True)
    for name, one in (PICTURES | MORE).items():
        if name.endswith(("-dark", "-phone")):
            continue
        for look, width, scheme in (
            ("light", 1180, "light"),
            ("dark", 1180, "dark"),
            ("phone", PHONE, "dark"),
        ):
            shown = Picture(address=one.address, width=width, color_scheme=scheme, do=one.do)
            yield into / f"{name}-{look}.png", shown


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
