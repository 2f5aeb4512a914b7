"""What differs between two documents, field by field."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from app.core.field_paths import joined
from app.core.jobs.exact_json import same

Path = tuple[str, ...]


class FieldChange(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A field that differs. Secrets read `***`; what is left out is not there."""

    field: str
    before: Any = UNSET
    after: Any = UNSET
    drift: bool = False
    """Whether the field was changed elsewhere since the set was last applied."""


def changes(
    before: Mapping[str, Any], after: Mapping[str, Any], applied: Mapping[str, Any] | None
) -> list[FieldChange]:
    """List what differs; `applied` is what the set had last, None: it never had this.

    A whole field that it did not have, as the file said nothing of it, is nobody's change.
    """
    return [
        FieldChange(
            field=joined("", *path),
            before=was,
            after=will_be,
            drift=applied is not None
            and path[0] in applied
            and not alike(was, value_at(applied, path)),
        )
        for path, was, will_be in leaves(before, after, ())
    ]


def leaves(before: Any, after: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:  # noqa: ANN401
    """Yield what differs, as far inside as both are objects."""
    if alike(before, after):
        return
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        yield path, before, after
        return
    for name in [*before, *(name for name in after if name not in before)]:
        yield from leaves(before.get(name, UNSET), after.get(name, UNSET), (*path, name))


def value_at(document: Any, path: Path) -> Any:  # noqa: ANN401 - any JSON
    """Return the value at a path; UNSET if there is none."""
    for name in path:
        if not isinstance(document, Mapping) or name not in document:
            return UNSET
        document = document[name]
    return document


def alike(one: Any, other: Any) -> bool:  # noqa: ANN401
    """Whether Postgres stores the two alike; a value that is not there differs from all others."""
    if isinstance(one, UnsetType) or isinstance(other, UnsetType):
        return one is other
    return same(one, other)
