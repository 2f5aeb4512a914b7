"""An open page, in Chromium: it stays fresh by one stream, under our policy and with a session."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from app.web.live import LOOK_SECONDS, Part
from tests.support.browser import Site, opened, served, violations
from tests.support.builders import insert_job
from tests.support.shown import make_everything, page_routes
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

HIDE = """hidden => {
    Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
    document.dispatchEvent(new Event("visibilitychange"));
}"""
"""Has a page believe that its tab is hidden, or seen again."""

LAST_ASKED = """
select max(query_start) from pg_stat_activity
where datname = current_database() and application_name like 'tocsin api%'
"""
"""When the API last asked Postgres anything."""
OTHERS = ("/upcoming", "/jobs?q=x:y", "/jobs?q=nothing", "/jobs/none", "/jobs?done=deleted")
"""What pages look like with something amiss, with nothing, or after something."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def signed(module_database: str) -> AsyncIterator[tuple[Site, str]]:
    """Serve the dashboard, and make a key."""
    async with served(module_database) as site:
        async with httpx.AsyncClient(base_url=site.address) as api:
            answer = await api.post("/v1/keys", json={"name": "eye", "scopes": ["admin"]})
        yield site, answer.json()["key"]


async def sign_in(page: Page, key: str) -> None:
    """Sign in as a person does, on the page that comes up."""
    await page.goto("/")
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Overview")).to_be_attached()
    await page.wait_for_load_state("load")  # with its scripts, which hear keys


def part_of(site: Site) -> Part:
    """Return the live part of the overview."""
    part: Part = site.app.state.parts["overview"]
    return part


async def streams(site: Site, count: int) -> None:
    """Wait until so many streams are open."""

    async def are_open() -> bool:
        return part_of(site).streams == count

    await until(are_open, f"{count} streams are open")


async def test_an_open_page_shows_what_happens_without_being_asked(
    chromium: Browser, signed: tuple[Site, str], module_database: str
) -> None:
    site, key = signed
    async with opened(chromium, site.address) as (page, said):
        await sign_in(page, key)
        await expect(page.locator("#live-status")).to_have_text("This page is live.")
        await page.evaluate("document.getElementById('under-way').kept = true")

        connection = await asyncpg.connect(module_database)
        job = await insert_job(
            connection, name="newly-broken", cron="61 * * * *", plan_error="minute 61"
        )
        await expect(page.get_by_role("link", name="newly-broken").first).to_be_visible(
            timeout=20_000
        )
        kept = await page.evaluate("document.getElementById('under-way').kept === true")
        await connection.execute("delete from tocsin.jobs where id = $1", job)
        await connection.close()
        await expect(page.get_by_role("link", name="newly-broken")).to_have_count(0, timeout=20_000)

        assert kept, "the page was swapped whole, not morphed"
        assert said == []
        assert await page.evaluate("localStorage.length + sessionStorage.length") == 0
        assert await page.evaluate("document.cookie") == ""
    await streams(site, 0)


async def test_a_hidden_tab_costs_nothing_until_it_is_seen_again(
    chromium: Browser, signed: tuple[Site, str], module_database: str
) -> None:
    site, key = signed
    person = await asyncpg.connect(module_database)
    async with opened(chromium, site.address) as (page, _):
        await sign_in(page, key)
        await streams(site, 1)
        await page.evaluate(HIDE, arg=True)
        await streams(site, 0)
        version = part_of(site).made_at
        asked = await person.fetchval(LAST_ASKED)
        await asyncio.sleep(1.5 * LOOK_SECONDS)
        assert await person.fetchval(LAST_ASKED) == asked
        await person.close()
        await page.evaluate(HIDE, arg=False)
        await streams(site, 1)

        async def is_made_anew() -> bool:
            return part_of(site).made_at > version

        await until(is_made_anew, "the part is made again")


async def test_a_page_that_is_opened_in_a_hidden_tab_opens_no_stream(
    chromium: Browser, signed: tuple[Site, str]
) -> None:
    site, key = signed
    async with opened(chromium, site.address) as (page, _):
        await sign_in(page, key)
        await page.add_init_script(f"({HIDE})(true)")
        await page.goto("/")
        await page.wait_for_load_state("networkidle")

        assert part_of(site).streams == 0
        await page.evaluate(HIDE, arg=False)
        await streams(site, 1)


async def test_many_streams_cost_what_one_does_and_end_with_the_session_and_the_server(
    signed: tuple[Site, str], module_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = signed
    monkeypatch.setattr("app.web.live.BEAT_SECONDS", 0.2)
    monkeypatch.setattr("app.web.live.LOOK_SECONDS", 0.2)
    headers = {"Authorization": f"Bearer {key}", "Accept": "text/event-stream"}
    async with (
        served(module_database) as site,
        httpx.AsyncClient(base_url=site.address, headers=headers, timeout=30) as api,
    ):
        part = part_of(site)
        made, make = 0, part.make

        async def counted() -> str:
            nonlocal made
            made += 1
            return await make()

        part.make = counted

        async def watch() -> int:
            async with api.stream("GET", "/live/overview") as answer:
                assert answer.status_code == 200
                return len([line async for line in answer.aiter_lines()])

        async with asyncio.TaskGroup() as group:
            watching = [group.create_task(watch()) for _ in range(50)]
            await streams(site, 50)
            began, at = made, asyncio.get_running_loop().time()
            await asyncio.sleep(2)
            rate = (made - began) / (asyncio.get_running_loop().time() - at)
            site.server.stop()

        assert all(task.result() > 0 for task in watching)
        assert rate <= 1 / 0.2 + 1
        assert part.streams == 0


async def test_a_stream_goes_on_where_it_was_and_ends_when_its_key_does(
    signed: tuple[Site, str], module_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, key = signed
    monkeypatch.setattr("app.web.live.BEAT_SECONDS", 0.1)
    async with httpx.AsyncClient(
        base_url=site.address, headers={"Authorization": f"Bearer {key}"}, timeout=30
    ) as api:
        other = (await api.post("/v1/keys", json={"name": "brief", "scopes": ["read"]})).json()
        given = {"Authorization": f"Bearer {other['key']}", "Accept": "text/event-stream"}
        async with api.stream("GET", "/live/overview", headers=given) as answer:
            lines = answer.aiter_lines()
            seen = ""
            while not seen.startswith("id: "):
                seen = await anext(lines)
        assert len(seen) == len("id: ") + 16

        async with api.stream("GET", "/live/overview", headers=given) as answer:
            await streams(site, 1)
            assert (await api.delete(f"/v1/keys/{other['prefix']}")).status_code == 204
            async for _ in answer.aiter_lines():
                pass  # to its end


async def test_a_stream_that_is_lost_goes_on_where_it_was(
    chromium: Browser, signed: tuple[Site, str]
) -> None:
    site, key = signed
    async with opened(chromium, site.address) as (page, _):
        asked: list[dict[str, str]] = []
        page.on("request", lambda one: asked.append(one.headers) if "/live/" in one.url else None)
        await sign_in(page, key)
        await streams(site, 1)
        await expect(page.locator("#live-status")).to_have_text("This page is live.")
        version = part_of(site).version

        site.app.state.ending.set()
        await streams(site, 0)
        site.app.state.ending.clear()
        await streams(site, 1)

        await expect(page.locator("#live-status")).to_have_text("This page is live.")
        assert "last-event-id" not in asked[0]
        assert len(asked[-1].get("last-event-id", "")) == len(version)


async def test_the_page_of_a_job_shows_what_becomes_of_it(
    chromium: Browser, signed: tuple[Site, str], module_database: str
) -> None:
    site, key = signed
    connection = await asyncpg.connect(module_database)
    job = await insert_job(connection, name="watched", every_seconds=3600)
    async with opened(chromium, site.address) as (page, said):
        await sign_in(page, key)
        await page.goto(f"/jobs/{job}")
        await expect(page.locator("#live-status")).to_have_text("This page is live.")
        await page.locator("#at").fill("2026-11-29T03:00:07")
        await connection.execute("select tocsin.run_now($1)", job)
        await expect(page.get_by_role("heading", name="Runs beside the plan")).to_be_visible()
        await connection.execute(
            "insert into tocsin.executions (job_id, fence, kind, scheduled_for, attempt, outcome, "
            "started_at) values ($1, 1, 'http', now(), 1, 'timed_out', now())",
            job,
        )
        await expect(page.locator("#ran table").get_by_text("timed out")).to_be_visible()
        await expect(page.locator("#at")).to_have_value("2026-11-29T03:00:07")

        assert [*site.app.state.job_parts] == [job]
        assert said == []
        await connection.execute("delete from tocsin.jobs where run_of = $1", job)
        await connection.execute("delete from tocsin.jobs where id = $1", job)
        await expect(page.get_by_text("The job was deleted")).to_be_visible()
    await connection.close()

    async def is_left() -> bool:
        return not site.app.state.job_parts

    await until(is_left, "nothing of a job is kept that nobody looks at")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everything(module_database: str) -> dict[str, str]:
    """Make one of everything, and return the address of a page of each route."""
    connection = await asyncpg.connect(module_database)
    addresses = await make_everything(connection)
    await connection.close()
    return addresses


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_page_has_barriers_in_either_theme_and_all_fit_a_small_phone(
    chromium: Browser, signed: tuple[Site, str], everything: dict[str, str], scheme: str
) -> None:
    site, key = signed
    assert everything.keys() == page_routes(site.app)
    found: dict[str, list[str]] = {}
    wide: dict[str, int] = {}
    async with opened(
        chromium, site.address, color_scheme=scheme, viewport={"width": 320, "height": 640}
    ) as (page, _):
        await page.goto("/sign-in")
        assert await violations(page) == []
        await sign_in(page, key)
        for address in (*everything.values(), *OTHERS):
            await page.goto(address)
            if broken := await violations(page):
                found[address] = broken
            if (width := await page.evaluate("document.documentElement.scrollWidth")) > 320:
                wide[address] = width

    assert (found, wide) == ({}, {})


async def test_keys_go_to_rows_and_to_the_search_but_not_while_one_types(
    chromium: Browser, signed: tuple[Site, str], module_database: str
) -> None:
    site, key = signed
    connection = await asyncpg.connect(module_database)
    for name in ("first-of-keys", "second-of-keys"):
        await insert_job(connection, name=name, every_seconds=3600)
    await connection.close()
    async with opened(chromium, site.address) as (page, said):
        await sign_in(page, key)
        await page.keyboard.press("/")
        await page.wait_for_url("**/jobs")
        await expect(page.locator("#main")).to_be_focused()
        await page.keyboard.press("j")
        await page.keyboard.press("j")
        await expect(page.get_by_role("link", name="first-of-keys")).to_be_focused()
        await page.keyboard.press("k")
        await expect(page.get_by_role("link", name="second-of-keys")).to_be_focused()
        await page.keyboard.press("/")
        await expect(page.locator("#q")).to_be_focused()
        await page.keyboard.type("j/k?")
        await expect(page.locator("#q")).to_have_value("j/k?")

        await page.locator("#main").focus()
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="second-of-keys")).to_be_visible()
        await page.locator("#main").focus()
        await page.keyboard.press("?")
        dialog = page.get_by_role("dialog", name="Keys")
        await expect(dialog).to_be_visible()
        assert await violations(page) == []
        await dialog.get_by_role("checkbox").uncheck()
        await dialog.get_by_role("button", name="Close").click()
        await page.locator("#main").focus()
        await page.keyboard.press("/")
        await expect(page.locator("#main")).to_be_focused()
        assert said == []


async def test_a_list_says_how_many_are_new_and_does_not_move(
    chromium: Browser, signed: tuple[Site, str], module_database: str
) -> None:
    site, key = signed
    connection = await asyncpg.connect(module_database)
    job = await insert_job(connection, name="of-the-list", every_seconds=3600)
    async with opened(chromium, site.address) as (page, said):
        await sign_in(page, key)
        await page.goto("/executions")

        async def listens() -> bool:
            return len(site.app.state.feed.listeners) == 1 and bool(site.app.state.feed.places)

        await until(listens, "the page listens")
        rows = await page.locator("main tbody tr").count()
        for fence in (1001, 1002):
            await connection.execute(
                "insert into tocsin.executions (job_id, fence, kind, scheduled_for, attempt, "
                "outcome, started_at) values ($1, $2, 'http', now(), 1, 'succeeded', now())",
                job,
                fence,
            )
        await expect(page.locator("#fresh")).to_have_text("2 new")
        assert await page.locator("main tbody tr").count() == rows
        await page.evaluate(HIDE, arg=True)

        async def is_left() -> bool:
            return not site.app.state.feed.listeners

        await until(is_left, "a hidden page listens no more")
        await page.get_by_role("link", name="2 new").click()
        await expect(page.get_by_role("link", name="of-the-list").first).to_be_visible()
        assert said == []
    await connection.close()


LATER = datetime(2100, 1, 1, tzinfo=UTC)
PLACES = """() => [...document.querySelectorAll("main tbody tr")].map(
    (row) => [row.querySelector("a").textContent, Math.round(row.getBoundingClientRect().y)])"""
"""Where each row of a list stands."""


@pytest.mark.parametrize("address", ["/jobs?q=tag:live", "/jobs?q=tag:live&sort=next_run"])
async def test_rows_of_jobs_change_in_place_and_others_are_counted(
    chromium: Browser, signed: tuple[Site, str], module_database: str, address: str
) -> None:
    site, key = signed
    connection = await asyncpg.connect(module_database)
    await connection.execute("delete from tocsin.jobs where tags = '{live}'")
    first, second = [
        await insert_job(connection, name=name, run_at=LATER, tags=["live"])
        for name in ("live-one", "live-two")
    ]
    async with opened(chromium, site.address) as (page, said):
        await sign_in(page, key)
        await page.goto(address)
        await expect(page.locator("#live-status")).to_have_text("This page is live.")
        row = page.locator("tr", has=page.get_by_role("link", name="live-one"))
        await row.get_by_role("link", name="live-one").focus()
        await page.evaluate("getSelection().selectAllChildren(document.activeElement)")
        places = await page.evaluate(PLACES)
        assert len(places) == 2

        await connection.execute("update tocsin.jobs set paused_at = now() where id = $1", first)
        await connection.execute(
            "insert into tocsin.executions (job_id, fence, kind, scheduled_for, attempt, outcome, "
            "started_at) values ($1, 1, 'http', now(), 1, 'timed_out', now())",
            first,
        )
        await expect(row.get_by_text("paused")).to_be_visible(timeout=20_000)
        await expect(row.get_by_label("Last 1 execution: 1 timed out")).to_be_visible()
        await insert_job(connection, name="live-three", run_at=LATER, tags=["live"])
        await connection.execute("delete from tocsin.jobs where id = $1", second)
        new = page.locator("#fresh").get_by_role("link")
        words = "1 new" if "sort" not in address else "1 other here now"
        await expect(new).to_have_text(words, timeout=20_000)
        await expect(page.get_by_text("deleted")).to_be_visible(timeout=20_000)

        assert await page.evaluate(PLACES) == places
        assert await page.evaluate("document.activeElement.textContent") == "live-one"
        assert await page.evaluate("getSelection().toString()") == "live-one"
        assert await violations(page) == []
        assert len(site.app.state.list_parts) == 1
        await page.evaluate(HIDE, arg=True)

        async def is_left() -> bool:
            lists = site.app.state.lists
            return not (site.app.state.list_parts or lists.many or lists.views)

        await until(is_left, "a hidden page is looked after no more")
        await page.evaluate(HIDE, arg=False)
        await new.click()
        await expect(page.get_by_role("link", name="live-three")).to_be_visible()
        assert said == []
    await connection.close()


async def test_a_search_of_executions_says_how_many_are_new(
    chromium: Browser, signed: tuple[Site, str], module_database: str
) -> None:
    site, key = signed
    connection = await asyncpg.connect(module_database)
    job = await insert_job(connection, name="searched", every_seconds=3600)
    async with opened(chromium, site.address) as (page, said):
        await sign_in(page, key)
        await page.goto("/executions?q=job:searched")
        await expect(page.locator("#live-status")).to_have_text("This page is live.")
        await connection.execute(
            "insert into tocsin.executions (job_id, fence, kind, scheduled_for, attempt, outcome, "
            "started_at) values ($1, 1, 'http', now(), 1, 'succeeded', now())",
            job,
        )
        await page.get_by_role("link", name="1 new").click()
        await expect(page.get_by_role("link", name="searched").first).to_be_visible()
        assert said == []
    await connection.execute("delete from tocsin.jobs where id = $1", job)
    await connection.close()


async def insert_lease(connection: asyncpg.Connection, name: str, instance: str) -> UUID:
    """Make a job that an instance executes."""
    job: UUID = await insert_job(connection, name=f"leased-{name}", every_seconds=3600)
    await connection.execute(
        "update tocsin.jobs set locked_by = $2, locked_until = now() + interval '1 hour', "
        "claimed_at = now(), claimed_for = now(), claimed_attempt = 1, attempt = 1, fence = 9, "
        "execution_id = 1 where id = $1",
        job,
        instance,
    )
    return job


TABLES = {
    "bulk": (
        "update tocsin.bulk_actions set matched = 7, changed = 7",
        ("Changed", "7"),
        "insert into tocsin.bulk_actions (action, filter) values ('pause', '{\"tag\": \"x\"}')",
    ),
    "flows": (
        "select tocsin.pause_flow('short', 'it moves')",
        ("State", "paused"),
        "insert into tocsin.flows (flow_key, rate) values ('another', 1)",
    ),
    "instances": (
        "update tocsin.instance_rules set slots = 7 where name = 'host:7:aa'",
        ("Slots", "1 of 7"),
        "",
    ),
}
"""Of short lists: what changes a row, in which column it shows, and what makes another row; of
instances that is a lease."""


async def test_rows_of_short_lists_change_in_place_and_others_are_counted(
    chromium: Browser, signed: tuple[Site, str], module_database: str
) -> None:
    site, key = signed
    connection = await asyncpg.connect(module_database)
    job = await insert_lease(connection, "one", "host:7:aa")
    await connection.execute(
        """
        insert into tocsin.flows (flow_key, max_concurrency) values ('short', 3);
        insert into tocsin.bulk_actions (action, filter) values ('pause', '{"tag": "x"}');
        insert into tocsin.instance_rules (name, version, source, slots, product)
            values ('host:7:aa', '2026a', 'system', 100, '0.2.0');
        delete from tocsin.alert_states;
        """
    )
    await connection.execute(
        "with rule as (insert into tocsin.alert_rules (name, events) values ('short', '{failed}') "
        "returning id) insert into tocsin.alert_states "
        "(rule_id, event, job_id, many, since, last_at, told_at) "
        "select id, 'failed', $1, 4, now(), now(), now() from rule",
        job,
    )
    async with opened(chromium, site.address) as (page, said):
        await sign_in(page, key)
        for name, (change, (column, text), another) in TABLES.items():
            await page.goto(f"/{name}")
            await expect(page.locator("#live-status")).to_have_text("This page is live.")
            rows = await page.locator("main tbody tr").count()
            await connection.execute(change)
            changed = page.locator(f"td[data-label='{column}']", has_text=text)
            await expect(changed.first).to_be_visible(timeout=20_000)
            if another:
                await connection.execute(another)
            else:
                await insert_lease(connection, "two", "host:8:bb")
            await expect(page.locator("#fresh")).to_have_text("1 new", timeout=20_000)
            assert await page.locator("main tbody tr").count() == rows, name
        await page.goto("/alerts")
        await expect(page.locator("#live-status")).to_have_text("This page is live.")
        firing = page.locator("ul.attention li", has_text="leased-one").first
        await expect(firing).to_contain_text("4 in a row")
        await connection.execute("update tocsin.alert_states set many = 5, last_at = now()")
        await expect(firing).to_contain_text("5 in a row", timeout=20_000)
        await connection.execute("delete from tocsin.alert_states")
        await expect(firing).to_contain_text("is over", timeout=20_000)
        assert await violations(page) == []
        assert len(site.app.state.table_parts) == 1
        await page.evaluate(HIDE, arg=True)

        async def is_left() -> bool:
            return not (site.app.state.table_parts or site.app.state.tables.watched)

        await until(is_left, "a hidden page is looked after no more")
        assert said == []
    await connection.close()


async def test_the_week_is_asked_for_twice_once_in_a_browser(
    chromium: Browser, signed: tuple[Site, str]
) -> None:
    site, key = signed
    async with opened(chromium, site.address, timezone_id="Asia/Tokyo") as (page, said):
        await sign_in(page, key)
        await expect(page.locator("#own-zone")).to_have_attribute("data-zone", "Asia/Tokyo")
        asked: list[str] = []
        page.on("request", lambda one: asked.append(one.url))
        await page.goto("/")
        await expect(page.locator("#own-zone")).to_have_attribute("data-zone", "Asia/Tokyo")
        await expect(page.locator("#live-status")).to_have_text("This page is live.")
        await page.goto("/?zone=UTC")
        await expect(page.get_by_role("link", name="show in Asia/Tokyo")).to_be_visible()

        assert [one for one in asked if "zone=Asia" in one] == []
        assert said == []
