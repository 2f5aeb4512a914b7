"""The options that all commands share which use the API."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import click

from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.output import Output, Shown
from app.cli.remote.reads import READS
from app.cli.remote.remote import carry_out
from app.cli.remote.showing import SHOWING, Command, all_of

PLACE = (
    click.option("--api", "api_url", help="Address of the API, before TOCSIN_URL."),
    click.option("--context", "context_name", help="The API that was saved so by `tocsin login`."),
)
OVERLAPS = ("as_job", "skip", "buffer_one", "buffer_all", "cancel_other", "allow_all")
asked_overlap = click.option(
    "--overlap",
    type=click.Choice(OVERLAPS),
    help="What becomes of it while another run of the job is unfinished; it waits its turn.",
)
YES = click.option("-y", "--yes", is_flag=True, help="Ask nothing: change what is named.")


def refuse_empty(given: Mapping[str, object]) -> None:
    """Refuse an option or argument that is given as an empty text.

    It is what `--tag "$TAG"` comes to where the variable is not set; as an option that is left out
    it would have more found, or changed, than is meant.

    Raises:
        CommandFailed: there is one.
    """
    for parameter in click.get_current_context().command.params:
        value = given.get(parameter.name or "")
        if value == "" or (isinstance(value, tuple) and "" in value):
            called = next((one for one in parameter.opts if one.startswith("--")), parameter.name)
            message = f"{called}: is empty: give it a value, or leave it out"
            raise CommandFailed(message, exit_code=USAGE)


def job_or_bulk(_: Output, given: Mapping[str, Any]) -> str:
    """Say what a command prints that changes what is named, or else all that filters find."""
    return "Job" if given.get("names") or given.get("ids") else "Bulk"


def by_format(table: str, document: str) -> Shown:
    """Say what a command prints that has less in its table than in its JSON."""
    return lambda output, _: table if output.is_table else document


def remote(shown: Shown, *, writes: bool = False) -> Callable[[Command], Command]:
    """Add the shared options to a command, which gets a `Remote` in their place.

    `shown`: what it prints, so that fields that this does not have are refused before a request.
    `writes`: the command changes something, so that it has `--yes`.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_remote(**given: Any) -> None:  # noqa: ANN401 - the shared options and its own
            refuse_empty({name: one for name, one in given.items() if name != "json_fields"})
            carry_out(command, shown, **given)

        return all_of((*PLACE, *SHOWING, *((YES,) if writes else ())))(with_remote)

    return decorate


def remote_read(name: str) -> Command:
    """Return a command of `READS`, with the shared options."""
    command, shown = READS[name]
    return remote(shown)(command)
