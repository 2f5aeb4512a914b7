"""What WCAG 2.2 asks for beside what axe-core finds unasked: docs/accessibility.md names each."""

import re

import asyncpg
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page

from tests.support.browser import opened, served
from tests.support.pages import ROOT
from tests.support.read_aloud import troubles_of
from tests.support.shown import OUTCOMES, make_everything, page_routes

SPACED = """* {
    line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important;
}
p { margin-bottom: 2em !important; }"""
"""The spacing that people may set (1.4.12)."""
CUT_OFF = """() => [...document.querySelectorAll("main *, header.top *")].filter((one) =>
    one.childElementCount === 0 && one.textContent.trim()
    && !one.closest(".unseen, svg, select, option")
    && getComputedStyle(one).overflowX === "hidden" && one.scrollWidth > one.clientWidth + 1
).map((one) => one.outerHTML.slice(0, 200))"""
FOCUSED = """() => {
    const one = document.activeElement;
    const style = getComputedStyle(one), box = one.getBoundingClientRect();
    const over = document.elementFromPoint(
        Math.min(Math.max(box.x + box.width / 2, 0), innerWidth - 1),
        Math.min(Math.max(box.y + box.height / 2, 0), innerHeight - 1));
    return {
        name: one === document.body ? "" : one.outerHTML.slice(0, 120),
        isMarked: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
        isSeen: Boolean(over) && (one.contains(over) || over.contains(one)),
    };
}"""
MOVING = """() => [...document.querySelectorAll("*")].filter((one) => {
    const style = getComputedStyle(one);
    return style.animationName !== "none"
        || style.transitionDuration.split(",").some((each) => parseFloat(each) > 0);
}).length"""
FORCED = """() => ({
    bars: [...document.querySelectorAll(".strip rect:not(.empty)")].map(
        (one) => getComputedStyle(one).fill),
    edges: [...document.querySelectorAll(".outcome, .state:not(.scheduled)")].map(
        (one) => getComputedStyle(one).borderTopColor),
    text: getComputedStyle(document.body).color,
})"""
STOPS = 25
"""Of how many elements it is looked at how their focus shows."""


async def targets(page: Page) -> list[str]:
    """List what is smaller than 24 pixels and near to something else (2.5.8)."""
    options = {"runOnly": {"type": "rule", "values": ["target-size"]}}
    found = await Axe().run(page, options=options)
    return [node["html"][:200] for one in found.response["violations"] for node in one["nodes"]]


@pytest.mark.asyncio(loop_scope="module")
async def test_pages_read_well_targets_are_large_focus_shows_and_text_may_be_spaced(
    module_database: str, chromium: Browser
) -> None:
    connection = await asyncpg.connect(module_database)
    addresses = await make_everything(connection)
    await connection.close()
    small: dict[str, list[str]] = {}
    hidden: dict[str, list[str]] = {}
    cut: dict[str, list[str]] = {}
    moving: dict[str, int] = {}
    unclear: dict[str, list[str]] = {}
    async with (
        served(module_database) as site,
        opened(chromium, site.address, bypass_csp=True, reduced_motion="reduce") as (page, _),
    ):
        assert addresses.keys() == page_routes(site.app)
        for address in addresses.values():
            await page.goto(address)
            if found := await troubles_of(page, is_signed_in=address != "/sign-in"):
                unclear[address] = found
            if found := await targets(page):
                small[address] = found
            for _ in range(STOPS):
                await page.keyboard.press("Tab")
                at = await page.evaluate(FOCUSED)
                if not at["name"]:
                    break
                if not (at["isMarked"] and at["isSeen"]):
                    hidden.setdefault(address, []).append(str(at))
            if many := await page.evaluate(MOVING):
                moving[address] = many
            await page.add_style_tag(content=SPACED)
            wide = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
            if (found := await page.evaluate(CUT_OFF)) or wide:
                cut[address] = found

        await page.goto("/jobs")
        await page.emulate_media(forced_colors="active")
        forced = await page.evaluate(FORCED)

    assert unclear == {}
    assert (small, hidden, cut, moving) == ({}, {}, {}, {})
    assert len(set(forced["bars"])) == len(OUTCOMES) - 1, "lost and timed out look alike"
    assert set(forced["edges"]) == {forced["text"]}


def test_each_criterion_of_the_page_names_tests_that_there_are() -> None:
    page = (ROOT / "docs" / "accessibility.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d\.\d\.\d{1,2}) .* \| (.+) \|$", page, re.MULTILINE)
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
    }

    assert len(rows) > 40
    for criterion, met in rows:
        named = re.findall(r"`(test_\w+)`", met)
        assert set(named) <= there, criterion
        assert named or "axe-core" in met or "No " in met, criterion
