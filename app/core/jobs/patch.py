"""Merge patches (RFC 7396): what is given replaces, null takes away, objects merge."""

from typing import Any

from msgspec import NODEFAULT, UNSET, Struct
from msgspec.structs import FieldInfo, fields, replace

from app.core.jobs.job import JobDocument
from app.errors import FieldError, InvalidInput


def patched(document: JobDocument, patch: Struct) -> JobDocument:
    """Apply a `JobPatch`; fields that it leaves out stay as they are, checked or not.

    Raises:
        InvalidInput: null for a field that has no default.
    """
    changes = {}
    errors = []
    for one in fields(JobDocument):
        value = getattr(patch, one.name)
        if value is UNSET:
            continue
        if isinstance(value, dict):
            changes[one.name] = merged(getattr(document, one.name), value)
        elif value is not None:
            changes[one.name] = value
        elif one.required:
            errors.append(FieldError(field=one.name, message="is required: it cannot be null"))
        else:
            changes[one.name] = default_of(one)
    if errors:
        raise InvalidInput(*errors)
    return replace(document, **changes)


def merged(value: Any, patch: Any) -> Any:  # noqa: ANN401 - any JSON
    """Apply a merge patch to a JSON value, as RFC 7396 has it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for name, change in patch.items():
        if change is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), change)
    return result


def default_of(one: FieldInfo) -> Any:  # noqa: ANN401 - the field's own type
    """What a field is when nothing is said about it."""
    return one.default if one.default is not NODEFAULT else one.default_factory()
