"""Judges what `tocsin doctor` found out about alert rules and channels."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from app.core.health import MAX_NAMED, MAX_TOLD, Finding


class SilentRule(Struct, frozen=True, kw_only=True):
    """An alert rule of which nobody hears."""

    name: str
    problem: str


class FailingChannel(Struct, frozen=True, kw_only=True):
    """A channel that delivered nothing since it last failed to."""

    name: str
    failed: int
    """How many alerts of a week, of at most 1,000, it did not deliver."""
    error: str | None


def alert_findings(
    rules: Sequence[SilentRule], channels: Sequence[FailingChannel]
) -> Iterator[Finding]:
    """Judge rules that tell nobody, which may be meant so, and channels that do not deliver."""
    told = "; ".join(f"{one.name}: {one.problem}" for one in rules[:MAX_NAMED])
    yield Finding(
        subject="alert rules",
        found=f"nobody hears of {len(rules)}, such as {told}" if rules else "each has whom to tell",
        remedy="Name a channel, and a job or tag that there is, or delete the rule."
        if rules
        else "",
        grave=False,
    )
    why = "; ".join(
        f"{one.name} ({one.failed}: {(one.error or 'unknown')[:MAX_TOLD]})"
        for one in channels[:MAX_NAMED]
    )
    yield Finding(
        subject="alert channels",
        found=f"not delivered by {why}" if channels else "none fails to deliver",
        remedy="Correct the target, then try it: POST /v1/alerts/channels/NAME/test."
        if channels
        else "",
    )
