"""The JSON Schema of files that declare jobs, made of the Structs that the API reads them by."""

from typing import Any

import msgspec
from msgspec import Struct

from app.core.jobs.job import JobDocument
from app.core.schedule.schedule import FORMS
from app.core.sets.shorthand import NEVER
from app.targets.registry import KINDS, target_type
from app.wire.sets import SetFile

REF = "#/$defs/{name}"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
ADDRESS = "/schemas/jobs.schema.json"
"""Where the API has it."""


def set_schema() -> dict[str, Any]:
    """Describe a file: a set, jobs with the kind as the name of the target, and the rest.

    Editors complete and check by it; the API checks more, such as crons.
    """
    targets: dict[str, type[Struct]] = {kind: target_type(kind) for kind in KINDS}
    _, found = msgspec.json.schema_components(
        [SetFile, JobDocument, *targets.values()], ref_template=REF
    )
    job = found.pop(JobDocument.__name__)
    kinds = {kind: {"$ref": REF.format(name=one.__name__)} for kind, one in targets.items()}
    given = {name: one for name, one in job["properties"].items() if name not in NEVER}
    fields = given | {kind: one for kind, one in kinds.items() if kind not in given}
    whole = found.pop(SetFile.__name__)
    found |= {
        "Job": {
            "title": "Job",
            "type": "object",
            "properties": fields,
            "additionalProperties": False,
        },
        "Defaults": {
            "title": "Defaults",
            "description": "Fields of all jobs of this file that do not say otherwise.",
            "type": "object",
            "properties": fields | {kind: {"type": "object"} for kind in kinds},
            "additionalProperties": False,
        },
    }
    properties = whole["properties"] | {
        "env": {
            "description": "Variables that texts may have as ${NAME}; only `tocsin` fills them in.",
            "type": "array",
            "items": {"type": "string"},
        },
        "defaults": {"$ref": REF.format(name="Defaults")},
        "jobs": {
            "description": "Jobs by name.",
            "type": "object",
            "additionalProperties": {
                "allOf": [{"$ref": REF.format(name="Job")}],
                "oneOf": [{"required": [one]} for one in ("kind", *kinds)],
            },
        },
    }
    return {
        "$schema": DIALECT,
        "title": "Jobs of Tocsin",
        "description": f"Jobs in files. A schedule is one of {', '.join(FORMS)}.",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": found,
    }
