"""Names of jobs below the picture of what is to come, where there is room for them."""

from collections.abc import Sequence

from markupsafe import Markup, escape
from msgspec import Struct

from app.web.pictures import Span, whose

NARROW, WIDE = 50.0, 14.0
"""How much of the picture's width a name takes on a phone, and on a desk, in percent."""
NAME_LINES, NAME_LENGTH, LINE = 2, 20, 16


class Label(Struct, frozen=True):
    """A name below the bar of a span."""

    text: str
    x: float
    """In percent of the width, as the bar's middle."""
    line: int
    is_wide: bool
    """Whether a phone has no room for it."""

    def drawn(self) -> str:
        """Draw it."""
        y, of = self.line * LINE, ' class="wide"' if self.is_wide else ""
        end = ' text-anchor="end"' if self.x > 100 - (WIDE if self.is_wide else NARROW) else ""
        return (
            f'<g{of}><line class="axis" x1="{self.x}%" x2="{self.x}%" y1="0" y2="4"/>'
            f'<text x="{self.x}%" y="{y + LINE}"{end}>{escape(self.text)}</text></g>'
        )


def names(spans: Sequence[Span]) -> Markup:
    """Name the jobs of spans with few runs below the bars, each once, where there is room."""
    labels = labelled(spans)
    if not labels:
        return Markup()
    lines = 1 + max(one.line for one in labels)
    return Markup(  # noqa: S704 - numbers of ours and escaped names
        f'<svg class="names" aria-hidden="true" width="100%" height="{lines * LINE + 4}">'
        f"{''.join(one.drawn() for one in labels)}</svg>"
    )


def labelled(spans: Sequence[Span]) -> list[Label]:
    """Find room for names: first on a phone, and then for more of them on a desk."""
    step = 100 / max(len(spans), 1)
    taken: list[list[tuple[float, float]]] = [[] for _ in range(NAME_LINES)]
    found: dict[str, Label] = {}
    for wide, is_wide in ((NARROW, False), (WIDE, True)):
        for index, span in enumerate(spans):
            x, text = round((index + 0.5) * step, 2), called_by(span) if whose(span) else ""
            begin = x - wide if x > 100 - wide else x
            for line, places in enumerate(taken if is_wide else taken[:1]):
                is_free = all(begin >= end or begin + wide <= start for start, end in places)
                if text and text not in found and is_free:
                    places.append((begin, begin + (WIDE if is_wide else NARROW)))
                    found[text] = Label(text, x, line, is_wide)
    return [*found.values()]


def called_by(span: Span) -> str:
    """Name the first job of a span, and how many more there are."""
    first = span.names[0]
    short = first if len(first) <= NAME_LENGTH else f"{first[: NAME_LENGTH - 1]}…"
    return f"{short} +{len(span.names) - 1}" if len(span.names) > 1 else short
