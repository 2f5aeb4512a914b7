"""The options that all commands share which use the API."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import wraps
from typing import Any

import click

from app.cli.remote import contexts
from app.cli.remote.api import Api
from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.output import Output
from app.cli.remote.showing import SHOWING, Command, Shown, all_of, output_of

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
MORE = "more follow: see them by a larger --limit"
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


class Remote:
    """What a command that uses the API is given: the API, the context and the output."""

    def __init__(self, context: contexts.Context, output: Output, *, yes: bool = False) -> None:
        self.context = context
        self.output = output
        self.yes = yes
        self.api = Api(context.url, context.key)

    def __repr__(self) -> str:
        return f"<Remote {self.api}, {self.output}>"

    def print_pages(
        self,
        path: str,
        columns: Sequence[str],
        *,
        query: Mapping[str, object] | None = None,
        limit: int | None,
        empty: str,
    ) -> None:
        """Print the items of a list, at most `limit`, and say on stderr if more follow."""
        found = self.api.pages(path, query=query, limit=limit)
        self.output.print_list(found, columns, empty=empty)
        if self.api.more_follow:
            click.echo(MORE, err=True)

    def confirm(self, what: str, *, always: bool = False) -> None:
        """Ask before a change in production, or, with `always`, anywhere.

        Raises:
            CommandFailed: the answer is no, or there is no terminal to ask on.
        """
        contexts.confirm(self.context, what, yes=self.yes, always=always)


def remote(shown: Shown, *, writes: bool = False) -> Callable[[Command], Command]:
    """Add the shared options to a command, which gets a `Remote` in their place.

    `shown`: what it prints, so that fields that this does not have are refused before a request.
    `writes`: the command changes something, so that it has `--yes`.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_remote(
            *,
            api_url: str | None,
            context_name: str | None,
            format: str | None,
            json_fields: str | None,
            columns: str | None,
            utc: bool,
            yes: bool = False,
            **more: Any,  # noqa: ANN401 - the command's own options
        ) -> None:
            refuse_empty(more)
            output = output_of(
                shown, more, format=format, json_fields=json_fields, columns=columns, utc=utc
            )
            on = Remote(contexts.chosen(context_name, api_url), output, yes=yes)
            with closing(on.api):
                command(on, **more)

        return all_of((*PLACE, *SHOWING, *((YES,) if writes else ())))(with_remote)

    return decorate
