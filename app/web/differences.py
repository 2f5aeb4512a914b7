"""What an edit changed, part by part, as pages show it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

MAX_SHOWN = 500
"""Characters of a value that are shown."""
OPENED = frozenset({"target", "metadata"})
"""Columns whose parts are shown one by one."""

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.]\d+)?[+]00:00")
"""How the log has instants."""

Values = Mapping[str, Any]


class Difference(Struct, frozen=True, kw_only=True):
    """A part before and after an edit, as text; None: there was or is none.

    Both are None for what was changed and is not on record, as it can be secret.
    """

    part: str
    before: str | None
    after: str | None


def differences(
    before: Values | None, after: Values | None, changed: Sequence[str] | None = None
) -> list[Difference]:
    """Compare what an entry of the audit log has of before and after; equal parts are left out.

    `changed`: the parts that were changed, which may have the same `***` on both sides.
    """
    was, is_now = dict(parts(before or {})), dict(parts(after or {}))
    found = [
        Difference(part=part, before=was.get(part), after=is_now.get(part))
        for part in {**was, **is_now}
        if was.get(part) != is_now.get(part)
    ]
    told = {one.part for one in found}
    return found + [
        Difference(part=part, before=None, after=None)
        for part in changed or ()
        if part not in told and part in was
    ]


def parts(values: Values) -> Iterator[tuple[str, str]]:
    """List the parts of a row; those of a target and of metadata by their own names."""
    for name, value in values.items():
        if name in OPENED and isinstance(value, dict):
            yield from ((f"{name}.{key}", text_of(one)) for key, one in value.items())
        elif value is not None and value not in ([], {}):
            yield name, text_of(value)


def text_of(value: object) -> str:
    """Write a value as people do: a text as it is, all else as JSON, and no more than a screen."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and INSTANT.fullmatch(value):
        return f"{value[:-6].replace('T', ' ')} UTC"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def together(edits: Sequence[Sequence[Difference]]) -> list[Difference]:
    """Say what several edits, the newest first, changed as a whole.

    What one changed and a later one changed back is left out.
    """
    was: dict[str, str | None] = {}
    is_now: dict[str, str | None] = {}
    unknown: set[str] = set()
    for one in (one for edit in reversed(edits) for one in edit):
        was.setdefault(one.part, one.before)
        is_now[one.part] = one.after
        if one.before is None and one.after is None:
            unknown.add(one.part)
    return [
        Difference(part=part, before=before, after=is_now[part])
        for part, before in was.items()
        if before != is_now[part] or part in unknown
    ]
