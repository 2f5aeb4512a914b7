"""The settings, each an environment variable."""

from pathlib import Path

from msgspec.structs import FieldInfo, fields

from app.config import PREFIX, Settings
from handbook.tables import code, described_attributes, table


def shown(field: FieldInfo) -> str:
    """Return the default of a setting as one writes it, or nothing for none."""
    match field.default:
        case None | "" | ():
            return ""
        case bool() as switch:
            return code(str(switch).lower())
        case float() as seconds:
            return code(f"{seconds:g}")
        case Path() as path:
            return code(str(path))
        case other:
            return code(str(other))


def settings_page() -> str:
    """Return the page of all settings."""
    said = described_attributes(Settings)
    rows = [
        (
            code(PREFIX + field.name.upper()),
            shown(field),
            field.type.__metadata__[0].description,
            said[field.name],
        )
        for field in fields(Settings)
    ]
    return "\n\n".join(
        [
            "# Settings",
            (
                "Environment variables, read once at the start. "
                "[Configuration](../configuration.md) says more of the database's "
                "address, and what else is read."
            ),
            table(("variable", "default", "takes", "meaning"), rows),
        ]
    )
