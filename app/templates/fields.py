"""Finds the texts of a target that are templates; needs no template engine."""

from collections.abc import Iterable, Iterator
from typing import Any

from app.core.secrets.places import Part, Path, Spot

MARK = '"templates":'
"""Stands in every target with templates, as Postgres writes JSON out; matches at any depth."""
BEGINNINGS = ("{{", "{%", "{#")
"""What a template begins an expression, a statement or a comment with."""


def brings_templates(stored: str) -> bool:
    """Return whether a target, as stored, may have templates, which are to be rendered."""
    return MARK in stored


def is_template(text: str) -> bool:
    """Return whether rendering could change a text."""
    return any(beginning in text for beginning in BEGINNINGS)


def templates_in(
    templatable: Iterable[str], target: dict[str, Any], spots: Iterable[Spot]
) -> dict[Path, str]:
    """Return the templates of a target, each with its path.

    These are the texts in those fields that the target itself declares in `templates`, and that its
    kind allows. A value that is secret as a whole is never a template.
    """
    declared = target.get("templates")
    if not isinstance(declared, list):
        return {}
    secret = {spot.path for spot in spots if spot.part is Part.WHOLE}
    return {
        path: text
        for field in templatable
        if field in declared and field in target
        for path, text in texts_in(target[field], (field,))
        if path not in secret and is_template(text)
    }


def texts_in(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield the texts in a JSON value, in their order, each with its path; never recurses.

    Names of objects are none of them.
    """
    left: list[tuple[Path, object]] = [(path, value)]
    while left:
        here, item = left.pop()
        match item:
            case str():
                yield here, item
            case dict():
                left += [((*here, name), inner) for name, inner in reversed(item.items())]
            case list():
                left += [((*here, index), item[index]) for index in reversed(range(len(item)))]
            case _:
                pass
