"""The pages of the site: those of the repository at their paths, and the navigation."""

import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from handbook.places import PAGES, ROOT

CONFIGURATION = ROOT / "zensical.toml"
SHOWN = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs")
"""What is on the site, with all files that these link to, and so on."""
LINK = re.compile(r"\]\(([^)\s#]+)")
DECISIONS = "docs/adr/"
RESULTS = "benchmarks/results/"
"""The pages below these are found from an index of their own."""


def shown_files() -> list[Path]:
    """Return the files of the site that are in the repository, relative to it."""
    paths = [ROOT / name for name in SHOWN]
    waiting = [one for path in paths for one in (path.rglob("*") if path.is_dir() else [path])]
    found: set[Path] = set()
    while waiting:
        file = waiting.pop().resolve()
        if file in found or not file.is_file() or not file.is_relative_to(ROOT):
            continue
        found.add(file)
        if file.suffix == ".md":
            links = LINK.findall(file.read_text("utf-8"))
            waiting += [file.parent / link for link in links if "://" not in link]
    return sorted(file.relative_to(ROOT) for file in found)


def navigation() -> list[str]:
    """Return the pages in the navigation."""
    nav = tomllib.loads(CONFIGURATION.read_text("utf-8"))["project"]["nav"]
    return list(pages_in(nav))


def pages_in(entry: Any) -> Iterator[str]:  # noqa: ANN401 - a list, a title with its pages, or a page
    match entry:
        case str(page):
            yield page
        case dict():
            for below in entry.values():
                yield from pages_in(below)
        case _:
            for one in entry:
                yield from pages_in(one)


def unlisted() -> list[str]:
    """Name the pages of the repository that the navigation lacks."""
    listed = set(navigation())
    return [
        str(page)
        for page in shown_files()
        if page.suffix == ".md"
        and str(page) not in listed
        and not (str(page).startswith((DECISIONS, RESULTS)) and page.name != "README.md")
    ]


def lay_out(made: dict[str, str]) -> None:
    """Copy the pages of the repository, and write those that are made, by their path."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for file in shown_files():
        target = PAGES / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, target)
    for name, text in made.items():
        target = PAGES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{text.rstrip()}\n", "utf-8")
