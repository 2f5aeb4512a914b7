"""A job in a person's editor."""

import sys
from typing import Any

import click

from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.output import in_yaml
from app.cli.remote.reading import changes, parsed

READ_ONLY = (
    *("id", "state", "failing", "next_run", "scheduled_for", "created_at", "updated_at"),
    *("last_outcome", "last_finished_at", "consecutive_failures", "runs", "attempt", "plan_error"),
    "set",
)


def edited(job: dict[str, Any]) -> dict[str, Any]:
    """Let a person edit a job in an editor, and return the patch that this comes to."""
    if not sys.stdin.isatty():
        message = "there is no terminal for an editor: give --set or --file"
        raise CommandFailed(message, exit_code=USAGE)
    shown = {name: one for name, one in job.items() if name not in READ_ONLY}
    text = click.edit(in_yaml(shown) + "\n", extension=".yaml")
    if text is None:
        return {}
    document = parsed(text, "what you wrote")
    if not isinstance(document, dict):
        raise CommandFailed("what you wrote has no fields of a job", exit_code=USAGE)
    return changes(shown, document)
