"""Jobs as files write them: without what goes without saying."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import NODEFAULT, Struct, UnsetType, to_builtins
from msgspec.structs import FieldInfo, fields

from app.core.jobs.exact_json import same
from app.core.jobs.job import SCHEDULE_FIELDS, JobDocument
from app.core.sets.shorthand import NEVER, in_short

LEFT_OUT = frozenset({*NEVER, "paused"})
"""Fields of jobs that exports do not have: a pause is of today, a file for long."""
FIRST = ("description", *SCHEDULE_FIELDS, "kind", "target")
"""What is read first."""


def written_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job of the API as a file has it."""
    found = written(JobDocument, job, leave_out=LEFT_OUT)
    order = [*(name for name in FIRST if name in found), *(n for n in found if n not in FIRST)]
    return in_short({name: found[name] for name in order})


def written(
    type_: type[Struct], state: Mapping[str, Any], *, leave_out: Iterable[str] = ()
) -> dict[str, Any]:
    """Return what people write of something that the API answered, without the defaults."""
    kept = [one for one in fields(type_) if one.name in state and one.name not in leave_out]
    return {
        one.name: state[one.name]
        for one in kept
        if one.required or not same(state[one.name], default_of(one))
    }


def default_of(one: FieldInfo) -> Any:  # noqa: ANN401 - the field's own type
    """Return the default of a field as JSON has it."""
    value = one.default if one.default is not NODEFAULT else one.default_factory()
    return None if isinstance(value, UnsetType) else to_builtins(value)
