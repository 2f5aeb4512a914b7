"""Writes the plan of a set for people."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

SIGNS = {
    "create": "+",
    "change": "~",
    "take_over": ">",
    "pause": "-",
    "delete": "-",
    "conflict": "!",
    "keep": " ",
}
"""How the line of a step begins; what is unchanged has no line."""
SAID = {
    "create": "is new",
    "change": "changes",
    "take_over": "is taken over as it is",
    "pause": "is not in the files any more: is paused",
    "delete": "is not in the files any more: is deleted",
    "conflict": "is in the way",
    "keep": "is not in the files any more",
}
COUNTED = {
    "create": "new",
    "change": "changed",
    "take_over": "taken over",
    "pause": "paused",
    "delete": "deleted",
    "conflict": "in the way",
    "keep": "left alone",
    "unchanged": "unchanged",
}
NOTHING = "(nothing)"
MOST = 60
"""The most characters of a value."""


def plan_lines(plan: dict[str, Any], *, text: Callable[[object], str], zone: str) -> Iterator[str]:
    """Write a plan, line by line; `text` writes a value in one line, by clocks of `zone`."""
    steps = [one for one in plan["steps"] if one["action"] in SIGNS]
    for step in steps:
        yield from step_lines(step, text, zone)
    for one in plan.get("warnings") or ():
        yield f"? {text(one['field'])}: {text(one['message'])}"
    if steps:
        yield ""
    counts = plan["counts"]
    said = ", ".join(f"{counts[name]} {word}" for name, word in COUNTED.items() if counts.get(name))
    yield f"set {text(plan['set'])}: {said or 'has nothing'}"


def step_lines(step: dict[str, Any], text: Callable[[object], str], zone: str) -> Iterator[str]:
    """Write what becomes of one member."""
    action = step["action"]
    detail = f": {text(step['detail'])}" if step.get("detail") else ""
    paused = " (paused, and stays so)" if step.get("paused") and action != "delete" else ""
    yield f"{SIGNS[action]} {step['kind']} {text(step['name'])} {SAID[action]}{detail}{paused}"
    for one in step.get("changes") or ():
        drift = "   [changed elsewhere since it was last applied]" if one.get("drift") else ""
        before, after = (shown(one.get(name, NOTHING), text) for name in ("before", "after"))
        yield f"    {text(one['field'])}: {before} → {after}{drift}"
    if runs := step.get("runs"):
        yield from run_lines(runs, text, zone)
        yield from (f"    ! {text(note)}" for note in runs.get("notes") or ())


def run_lines(runs: dict[str, Any], text: Callable[[object], str], zone: str) -> Iterator[str]:
    """Write the next runs before and after, side by side, and those that fall away."""
    before, after, dropped = runs["before"], runs["after"], runs["dropped"]
    if not before:
        head = f"runs ({zone})"
        for number, run in enumerate(after):
            yield f"    {(head if not number else '').ljust(len(head) + 2)}{text(run)}"
        return
    left = [f"runs before ({zone})", *(mark(run, dropped, text) for run in before)]
    right = ["and after", *(text(run) for run in after)]
    width = max(map(len, left)) + 3
    for number in range(max(len(left), len(right))):
        one = left[number] if number < len(left) else ""
        other = right[number] if number < len(right) else ""
        yield f"    {one.ljust(width)}{other}".rstrip()
    if dropped:
        yield f"    ✗ {len(dropped)} of these runs fall away"


def mark(run: str, dropped: Sequence[str], text: Callable[[object], str]) -> str:
    """Write a run that there was, with a cross if it falls away."""
    return f"{text(run)} ✗" if run in dropped else text(run)


def shown(value: object, text: Callable[[object], str]) -> str:
    """Write a value of a field as JSON, shortened."""
    if value == NOTHING:
        return NOTHING
    said = text(json.dumps(value, ensure_ascii=False))
    return said if len(said) <= MOST else said[: MOST - 1] + "…"
