"""Merge patches of jobs (RFC 7396): a value replaces, null restores the default, objects merge."""

from typing import Any

from msgspec import NODEFAULT, UNSET, Struct
from msgspec.structs import FieldInfo, fields, replace

from app.core.jobs.job import JobDocument
from app.errors import FieldError, InvalidInput


def patched(document: JobDocument, patch: Struct) -> JobDocument:
    """Apply a `JobPatch` to a document; the result has yet to be checked.

    Raises:
        InvalidInput: the patch has null for a field without a default.
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
    if changes.get("run_in_seconds") is not None:
        changes.setdefault("run_at", None)  # the old one gives way to the new one
    return replace(document, **changes)


def merged(value: Any, patch: Any) -> Any:  # noqa: ANN401 - any JSON
    """Apply a merge patch to a JSON value, by the algorithm of RFC 7396."""
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
    """Return the default of an optional field."""
    return one.default if one.default is not NODEFAULT else one.default_factory()
