"""Writes the path of a field in the input, as errors name the field.

A name follows a dot, an index stands in brackets, and a name that could be misread stands in
brackets as a JSON string: `target.url`, `[3].tags[0]`, `metadata["a.b"]`.
"""

import json
import re

from msgspec.structs import replace

from app.errors import WHOLE, FieldError

MISREADABLE = re.compile(r'|\$|.*[.\[\]"].*', re.DOTALL)
"""Names that look like a path, like the whole input or like no name."""


def joined(path: str, *steps: str | int) -> str:
    """Return the path that leads on from `path` by names and indexes; empty stands for the top."""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        elif MISREADABLE.fullmatch(step):
            path += f"[{json.dumps(step, ensure_ascii=False)}]"
        else:
            path += f".{step}" if path else step
    return path


def at_index(index: int, error: FieldError) -> FieldError:
    """Place an error of one item in its list."""
    inner = "" if error.field == WHOLE else error.field
    dot = "." if inner and not inner.startswith("[") else ""
    return replace(error, field=f"[{index}]{dot}{inner}")
