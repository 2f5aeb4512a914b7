"""The dashboard below a path of a proxy that ends TLS, as people reach it: in Chromium."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle

import aiohttp
import httpx
import pytest
from aiohttp import web
from playwright.async_api import Browser, expect

from tests.support.api import NIGHTLY
from tests.support.browser import opened, served
from tests.support.certificate import self_signed

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = "/ops/tocsin"
OF_ONE_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})


@asynccontextmanager
async def proxy(*behind: str, takes_path_away: bool) -> AsyncIterator[str]:
    """Pass on what comes below `ROOT`, as proxies do that are set up by a page of theirs.

    Each request goes to the next of the servers behind.
    """
    turns = cycle(behind)

    async def pass_on(request: web.Request) -> web.StreamResponse:
        path = request.raw_path.removeprefix(ROOT) if takes_path_away else request.raw_path
        headers = {
            **request.headers,
            "X-Forwarded-Proto": "https",
            "X-Forwarded-For": str(request.remote),
        }
        async with client.request(
            request.method,
            f"{next(turns)}{path or '/'}",
            headers=headers,
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            sent = web.StreamResponse(status=answer.status)
            for name, one in answer.headers.items():
                if name.lower() not in OF_ONE_HOP:
                    sent.headers.add(name, one)
            await sent.prepare(request)
            async for part in answer.content.iter_any():
                await sent.write(part)
            return sent

    served_below = web.Application()
    served_below.router.add_route("*", f"{ROOT}{{rest:(/.*)?}}", pass_on)
    runner = web.AppRunner(served_below, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self_signed("127.0.0.1"))
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    ) as client:
        await site.start()
        [(host, port), *_] = runner.addresses
        try:
            yield f"https://{host}:{port}"
        finally:
            await runner.cleanup()


@pytest.mark.parametrize("takes_path_away", [True, False])
async def test_pages_work_below_a_path_of_a_proxy_that_ends_tls_before_two_processes(
    database_url: str, chromium: Browser, *, takes_path_away: bool
) -> None:
    name = f"behind-{takes_path_away}"
    async with (
        served(database_url, root_path=ROOT, trusted_proxies=("127.0.0.1",)) as site,
        served(database_url, root_path=ROOT, trusted_proxies=("127.0.0.1",)) as other,
        proxy(site.address, other.address, takes_path_away=takes_path_away) as address,
        opened(chromium, address, ignore_https_errors=True, timezone_id="Asia/Tokyo") as (
            page,
            said,
        ),
    ):
        key = await key_of(site.address, name)
        asked: list[str] = []
        page.on("request", lambda one: asked.append(one.url.removeprefix(address)))

        await page.goto(f"{ROOT}/")
        await page.get_by_label("API key").fill(key)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.locator("#live-status")).to_have_text("This page is live.")
        await expect(page.locator("#week")).to_contain_text("by the clocks of Asia/Tokyo")
        cookies = {one["name"]: one for one in await page.context.cookies()}
        await page.locator(".heat tbody th a").first.click()
        await expect(page.get_by_role("heading", name="Runs to come")).to_be_visible()
        await page.get_by_role("link", name="Jobs", exact=True).click()
        await expect(page.locator("#live-status")).to_have_text("This page is live.")
        row = page.locator("tr", has=page.get_by_role("link", name=name))
        await change(site.address, name, key)
        await expect(row.get_by_text("paused")).to_be_visible(timeout=20_000)
        await expect(row.locator("a.tag")).to_have_attribute("href", f"{ROOT}/jobs?q=tag%3Alive")
        await change(site.address, name, key, action="resume")
        await page.get_by_role("link", name=name).click()
        await expect(page.locator("#live-status")).to_have_text("This page is live.")
        await page.get_by_role("button", name="Run now").click()
        await expect(page.locator("[data-done]")).to_contain_text("due now")
        await expect(page.get_by_role("heading", name="Runs beside the plan")).to_be_visible()
        await page.get_by_role("link", name="Executions", exact=True).click()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("API key")).to_be_visible()

        assert cookies.keys() == {"__Host-tocsin_session", "tocsin-zone"}
        assert cookies["__Host-tocsin_session"]["secure"]
        assert cookies["tocsin-zone"]["path"] == f"{ROOT}/"
        assert [one for one in asked if not one.startswith(f"{ROOT}/")] == []
        assert {f"{ROOT}/live/overview", f"{ROOT}/live/lists/jobs", f"{ROOT}/v1/events"} <= {
            one.partition("?")[0] for one in asked
        }
        assert said == []


async def change(address: str, name: str, key: str, *, action: str = "pause") -> None:
    """Give a job a tag, and pause or resume it."""
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=address, headers=headers) as api:
        answer = await api.patch(f"/v1/jobs/{name}", json={"tags": ["live"]})
        answer.raise_for_status()
        (await api.post(f"/v1/jobs/{name}/{action}")).raise_for_status()


async def key_of(address: str, name: str) -> str:
    """Make a job and a key."""
    async with httpx.AsyncClient(base_url=address) as api:
        (await api.put(f"/v1/jobs/{name}", json=NIGHTLY)).raise_for_status()
        answer = await api.post("/v1/keys", json={"name": name, "scopes": ["admin"]})
        return str(answer.json()["key"])
