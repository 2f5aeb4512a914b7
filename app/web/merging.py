"""Puts an edit together with one that others made meanwhile, field by field."""

from msgspec import Raw, Struct

from app.core.jobs.exact_json import DECODER, same
from app.web.job_fields import Document


class Three(Struct, frozen=True, kw_only=True):
    """A field that others changed, or that was changed here as well."""

    name: str
    was: str
    theirs: str
    mine: str
    is_contested: bool
    """Whether both changed it, to different values: then mine is taken."""


class Merged(Struct, frozen=True, kw_only=True):
    """Two edits of the same job as one."""

    document: Document
    fields: list[Three]


def merged(was: Document, theirs: Document, mine: Document) -> Merged:
    """Take what was changed here, and of the other fields what others made of them."""
    document = dict(mine)
    told: list[Three] = []
    for name in dict.fromkeys((*was, *theirs, *mine)):
        values = (was.get(name), theirs.get(name), mine.get(name))
        if equal(values[0], values[1]):
            continue
        is_mine = not equal(values[0], values[2])
        if not is_mine:
            document.pop(name, None)
            if values[1] is not None:
                document[name] = values[1]
        is_contested = is_mine and not equal(values[1], values[2])
        shown = [written(one) for one in values]
        told.append(
            Three(
                name=name,
                was=shown[0],
                theirs=shown[1],
                mine=shown[2],
                is_contested=is_contested,
            )
        )
    return Merged(document=document, fields=told)


def equal(one: Raw | None, other: Raw | None) -> bool:
    """Return whether two values are the same JSON."""
    if one is None or other is None:
        return one is other
    try:
        return same(DECODER.decode(one), DECODER.decode(other))
    except ValueError:  # a number beyond any float
        return bytes(one) == bytes(other)


def written(value: Raw | None) -> str:
    """Write a value out for people; empty for a default."""
    return "" if value is None else bytes(value).decode()
