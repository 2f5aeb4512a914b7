"""Pictures as SVG, drawn on the server: text says what each shows, and style sheets its colours."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from math import log10

from markupsafe import Markup, escape
from msgspec import Struct

from app.core.runs.outcome import Outcome
from app.db.pages import Minute
from app.web.words import OUTCOMES, duration, number, plural

STRIP_BARS = 50
"""How many executions a strip shows."""
BAR, GAP, TALL = 4, 1, 24
LEAST, MOST = 0.25, 1.0
"""The height of the bar of the shortest and of the longest execution."""
SHORT_SECONDS, LONG_SECONDS = 0.01, 60.0
HATCH = 'fill="url(#hatch)" '


class Ended(Struct, frozen=True):
    """An execution in a strip."""

    outcome: str
    seconds: float | None
    finished_at: datetime


def height(seconds: float | None) -> float:
    """Return a bar's height from 0 to 1, by the logarithm of how long an execution took."""
    if seconds is None:
        return LEAST
    share = log10(max(seconds, SHORT_SECONDS) / SHORT_SECONDS) / log10(LONG_SECONDS / SHORT_SECONDS)
    return LEAST + (MOST - LEAST) * min(share, 1.0)


def unheard(parts: Sequence[str]) -> str:
    """Put the bars of a picture together, each with a title for the mouse.

    Who listens hears the picture's label, and not each bar.
    """
    return f'<g aria-hidden="true">{"".join(parts)}</g>'


def strip(ended: Sequence[Ended]) -> Markup:
    """Draw the last executions of a job, the newest on the right.

    Bars are taller the longer it took; what did not succeed has full height, and what was missed is
    hatched, so that no colour says anything by itself.
    """
    shown = list(ended)[-STRIP_BARS:]
    parts = [
        f'<rect class="empty" x="{index * (BAR + GAP)}" y="{TALL - 2}" width="{BAR}" height="2"/>'
        for index in range(STRIP_BARS - len(shown))
    ]
    for index, one in enumerate(shown, start=STRIP_BARS - len(shown)):
        tall = round(TALL * (height(one.seconds) if one.outcome == "succeeded" else 1.0), 1)
        took = f", {duration(one.seconds)}" if one.seconds is not None else ""
        parts.append(
            f'<rect class="{one.outcome}" {HATCH if one.outcome == "missed" else ""}'
            f'x="{index * (BAR + GAP)}" y="{round(TALL - tall, 1)}" width="{BAR}" height="{tall}">'
            f"<title>{OUTCOMES[Outcome(one.outcome)]}{took}, "
            f"{one.finished_at:%Y-%m-%d %H:%M:%S} UTC</title></rect>"
        )
    wide = STRIP_BARS * (BAR + GAP) - GAP
    return Markup(  # noqa: S704 - numbers and words of ours
        f'<svg class="strip" role="img" viewBox="0 0 {wide} {TALL}" width="{wide}" height="{TALL}" '
        f'aria-label="{strip_in_words(shown)}">{unheard(parts)}</svg>'
    )


def strip_in_words(ended: Sequence[Ended]) -> str:
    """Say what a strip shows."""
    if not ended:
        return "No executions yet"
    counts = Counter(one.outcome for one in ended)
    listed = ", ".join(f"{counts[one]} {word}" for one, word in OUTCOMES.items() if counts[one])
    return f"Last {plural(len(ended), 'execution')}: {listed}"


class Span(Struct, frozen=True):
    """A span of time in a picture of what is to come."""

    at: datetime
    runs: int
    names: Sequence[str] = ()
    """Whose they are, if that is told."""


def density(spans: Sequence[Span], *, every: timedelta) -> Markup:
    """Draw how many runs each of the spans has, on a scale whose top is the busiest one."""
    wide, tall = 720, 96
    most = max((one.runs for one in spans), default=0)
    step = wide / max(len(spans), 1)
    parts = [f'<line class="axis" x1="0" x2="{wide}" y1="{tall}" y2="{tall}"/>']
    for index, one in enumerate(spans):
        if one.runs:
            high = max(round((tall - 4) * one.runs / most, 1), 2)
            parts.append(
                f'<rect class="coming" x="{round(index * step, 2)}" y="{round(tall - high, 1)}" '
                f'width="{round(max(step - 1, 1), 2)}" height="{high}"><title>'
                f"{one.at:%a %H:%M} to {one.at + every:%H:%M} UTC: {plural(one.runs, 'run')}"
                f"{whose(one)}</title></rect>"
            )
    busiest = max(spans, key=lambda one: one.runs, default=None)
    told = (
        f"{plural(sum(one.runs for one in spans), 'run')}; most, {number(most)}, "
        f"from {busiest.at:%a %H:%M} UTC"
        if busiest and most
        else "no runs"
    )
    return Markup(  # noqa: S704 - numbers and words of ours
        f'<svg class="density" role="img" viewBox="0 0 {wide} {tall + 1}" '
        f'preserveAspectRatio="none" aria-label="What comes: {told}">{unheard(parts)}</svg>'
    )


def whose(span: Span) -> str:
    """Name the jobs of a span, if all of its runs have names."""
    if not span.names or len(span.names) != span.runs:
        return ""
    return f", {escape(', '.join(span.names))}"


def hour(minutes: Sequence[Minute], *, now: datetime) -> Markup:
    """Draw how many executions of each minute of the last hour ended how."""
    wide, tall = 360, 64
    start = now.replace(second=0, microsecond=0) - timedelta(minutes=59)
    most = max((one.succeeded + one.failed + one.missed for one in minutes), default=0)
    step = wide / 60
    parts = [f'<line class="axis" x1="0" x2="{wide}" y1="{tall}" y2="{tall}"/>']
    for one in minutes:
        x, y = round((one.at - start).total_seconds() / 60 * step, 1), float(tall)
        if x < 0:
            continue
        title = (
            f"<title>{one.at:%H:%M} UTC: {number(one.succeeded)} succeeded, "
            f"{number(one.failed)} failed, {number(one.missed)} missed</title>"
        )
        bars = []
        for outcome in ("succeeded", "missed", "failed"):
            count = getattr(one, outcome)
            if not count:
                continue
            high = max((tall - 4) * count / most, 1.5)
            y -= high
            bars.append(
                f'<rect class="{outcome}" {HATCH if outcome == "missed" else ""}x="{x}" '
                f'y="{y:.1f}" width="{step - 1:.1f}" height="{high:.1f}"/>'
            )
        parts.append(f"<g>{title}{''.join(bars)}</g>")
    told = ", ".join(
        f"{number(sum(getattr(one, outcome) for one in minutes))} {outcome}"
        for outcome in ("succeeded", "failed", "missed")
    )
    return Markup(  # noqa: S704 - numbers and words of ours
        f'<svg class="hour" role="img" viewBox="0 0 {wide} {tall + 1}" preserveAspectRatio="none" '
        f'aria-label="The last hour by minute: {told}">{unheard(parts)}</svg>'
    )


def meter(used: int, most: int) -> Markup:
    """Draw how much of a limit is used; the numbers stand beside it."""
    wide, share = 48, min(used / most, 1.0)
    full = "lost" if used >= most else "coming"
    return Markup(  # noqa: S704 - numbers of ours
        f'<svg class="meter" aria-hidden="true" viewBox="0 0 {wide} 8" width="{wide}" height="8">'
        f'<rect class="empty" width="{wide}" height="8"/>'
        f'<rect class="{full}" width="{round(wide * share, 1)}" height="8"/></svg>'
    )


def by_minute(minutes: Sequence[float]) -> Markup:
    """Draw how many runs of a week each minute of the hour has."""
    wide, tall = 360, 64
    step, most = wide / len(minutes), max(minutes)
    parts = [f'<line class="axis" x1="0" x2="{wide}" y1="{tall}" y2="{tall}"/>']
    for minute, runs in enumerate(minutes):
        if round(runs):
            high = max(round((tall - 4) * runs / most, 1), 1.5)
            parts.append(
                f'<rect class="coming" x="{round(minute * step, 2)}" y="{round(tall - high, 1)}" '
                f'width="{round(step - 1, 2)}" height="{high}">'
                f"<title>:{minute:02}, {plural(round(runs), 'run')}</title></rect>"
            )
    busiest = max(range(len(minutes)), key=lambda minute: minutes[minute])
    return Markup(  # noqa: S704 - numbers and words of ours
        f'<svg class="hour" role="img" viewBox="0 0 {wide} {tall + 1}" preserveAspectRatio="none" '
        f'aria-label="Runs by minute of the hour; most, {number(round(most))}, at :{busiest:02}">'
        f"{unheard(parts)}</svg>"
    )
