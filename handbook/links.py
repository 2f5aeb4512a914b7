"""Links of the built site that lead nowhere, and what it loads from elsewhere.

Zensical finds links to pages and anchors that are not there, and not those to other files or from
the navigation.
"""

from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINKS = {"a": "href", "img": "src", "script": "src", "link": "href", "iframe": "src"}
LOADED = {"img", "script", "iframe", "link"}


class Anchors(HTMLParser):
    """Collects the links of a page, with their tags, and the anchors in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the link and the anchor of an element."""
        given = dict(attrs)
        if tag == "link" and given.get("rel") in ("canonical", "prev", "next"):
            return
        if (name := LINKS.get(tag)) and (link := given.get(name)):
            self.links.append((tag, link))
        if anchor := given.get("id"):
            self.anchors.add(anchor)


@cache
def read(page: Path) -> Anchors:
    """Read a page."""
    return Anchors(page.read_text("utf-8"))


def wrong_links(site: Path) -> Iterator[str]:
    """Yield a sentence for each link that leads nowhere, and for what is loaded from elsewhere."""
    for page in sorted(site.rglob("*.html")):
        if page.name == "404.html":  # whose links are from the root, wherever that is
            continue
        for tag, link in read(page).links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if tag in LOADED:
                    yield f"{page.relative_to(site)} loads {link}"
            elif not leads(page, unquote(parts.path), unquote(parts.fragment)):
                yield f"{page.relative_to(site)} links to {link}"


def leads(page: Path, path: str, fragment: str) -> bool:
    """Return whether there is something where a link of a page leads."""
    target = (page.parent / path).resolve() if path else page
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return False
    top = fragment in ("", "__top")
    return top or target.suffix != ".html" or fragment in read(target).anchors
