"""How a page reads to who does not see it: by the tree that Chromium gives screen readers."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from playwright.async_api import Page

LANDMARKS = ("banner", "navigation 'Pages'", "main", "contentinfo")
"""What every page has, in this order; without a session there are no pages to go to."""
NAMED = frozenset(
    {
        *("button", "link", "textbox", "searchbox", "combobox", "checkbox", "radio", "spinbutton"),
        *("Date", "DateTime", "image", "region", "table", "columnheader", "rowheader", "dialog"),
        *("progressbar", "ProgressIndicator", "radiogroup", "heading"),
    }
)
"""What says nothing without a name."""
SILENT = frozenset({"none", "generic", "InlineTextBox", "StaticText"})


async def troubles_of(page: Page, *, is_signed_in: bool = True) -> list[str]:
    """Say what of a page reads badly."""
    session = await page.context.new_cdp_session(page)
    nodes = (await session.send("Accessibility.getFullAXTree"))["nodes"]
    await session.detach()
    return [*troubles([*read(nodes)], [one for one in LANDMARKS if is_signed_in or "'" not in one])]


def read(nodes: list[dict[str, Any]]) -> Iterator[tuple[int, str, str, int]]:
    """List what is read in its order: how deep it lies, its role, its name, its level."""
    known = {one["nodeId"]: one for one in nodes}
    left = [(0, nodes[0]["nodeId"])]
    while left:
        depth, id = left.pop()
        one = known[id]
        role = one.get("role", {}).get("value", "")
        if not one.get("ignored") and role not in SILENT:
            given = {each["name"]: each["value"].get("value") for each in one.get("properties", ())}
            yield depth, role, one.get("name", {}).get("value", ""), given.get("level", 0)
        left += [(depth + 1, child) for child in one.get("childIds", ())[::-1] if child in known]


def troubles(
    nodes: list[tuple[int, str, str, int]], landmarks: Sequence[str] = LANDMARKS
) -> Iterator[str]:
    """Say what reads badly of what is read."""
    said = [f"{role} {name!r}" if name else role for _, role, name, _ in nodes]
    places = [said.index(one) if one in said else -1 for one in landmarks]
    if -1 in places or places != sorted(places):
        yield f"landmarks are not there in their order: {landmarks}"
    levels = [level for _, role, _, level in nodes if role == "heading"]
    if levels[:1] != [1] or levels.count(1) != 1:
        yield f"the headings do not begin with the only one of the first level: {levels}"
    if any(after > before + 1 for before, after in pairwise(levels)):
        yield f"headings leave out a level: {levels}"
    for index, (depth, role, name, _) in enumerate(nodes):
        if role in NAMED and not name.strip():
            yield f"{role} without a name after {said[max(index - 3, 0) : index]}"
        if role == "image" and index + 1 < len(nodes) and nodes[index + 1][0] > depth:
            yield f"{said[index]} is read piece by piece"
    navigations = [name for _, role, name, _ in nodes if role in {"navigation", "region"}]
    if len(set(navigations)) < len(navigations):
        yield f"landmarks have the same names: {navigations}"
