"""The live part of a page in pieces, so that only those are sent that are other than a client has.

A version is the digests of all pieces: it tells on any process what a client has.
"""

from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b

from markupsafe import Markup
from msgspec import Struct

from app.web.live import End, Part, end_nothing

DIGEST = 6
"""How many characters of a version stand for a piece."""


class Cell(Struct, frozen=True):
    """What an element of a page has in it."""

    id: str
    """The element's."""
    html: Markup | None
    digest: str = ""

    def as_part(self) -> str:
        """Write it as htmx takes it."""
        return f'<hx-partial hx-target="#{self.id}" hx-swap="innerMorph">{self.html}</hx-partial>'


def cell(id: str, html: Markup | None) -> Cell:
    """Return what an element has in it; None: what it had."""
    if html is None:
        return Cell(id, None)
    digest = blake2b(html.encode(), digest_size=DIGEST // 2).hexdigest()
    return Cell(id, html, digest)


def version_of(cells: Sequence[Cell]) -> str:
    """Return the version of what a page shows."""
    return "".join(one.digest or "-" * DIGEST for one in cells)


class Cells(Part):
    """The live part of a page in pieces, always the same ones in one order."""

    def __init__(
        self, make_cells: Callable[[], Awaitable[Sequence[Cell]]], *, end: End = end_nothing
    ) -> None:
        super().__init__(self.make_text, end=end)
        self.make_cells = make_cells
        self.cells: Sequence[Cell] = ()

    async def make_text(self) -> str:
        """Make the pieces; the text only tells one version of them from another."""
        self.cells = await self.make_cells()
        return version_of(self.cells)

    def news(self, seen: str) -> tuple[str, str] | None:
        """Return the pieces that are other than in the version `seen`, and what is seen then."""
        had = [seen[start : start + DIGEST] for start in range(0, len(seen), DIGEST)]
        if len(had) != len(self.cells):
            had = ["-" * DIGEST] * len(self.cells)
        is_other = [
            one.html is not None and one.digest != old
            for one, old in zip(self.cells, had, strict=True)
        ]
        if not any(is_other):
            return None
        pairs = [*zip(self.cells, is_other, had, strict=True)]
        text = "".join(one.as_part() for one, other, _ in pairs if other)
        return text, "".join(one.digest if other else old for one, other, old in pairs)
