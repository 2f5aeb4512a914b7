"""What a command is given that uses the API."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.cli.remote import contexts
from app.cli.remote.api import Api
from app.cli.remote.output import Output, Shown, output_of, print_note

MORE = "more follow: see them by a larger --limit"


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
            print_note(MORE)

    def confirm(self, what: str, *, always: bool = False) -> None:
        """Ask before a change in production, or, with `always`, anywhere.

        Raises:
            CommandFailed: the answer is no, or there is no terminal to ask on.
        """
        contexts.confirm(self.context, what, yes=self.yes, always=always)


def carry_out(
    command: Callable[..., None],
    shown: Shown,
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
    """Carry out a command with a `Remote` in place of the options that all such commands share.

    Raises:
        CommandFailed: the command failed.
    """
    output = output_of(
        shown, more, format=format, json_fields=json_fields, columns=columns, utc=utc
    )
    on = Remote(contexts.chosen(context_name, api_url), output, yes=yes)
    try:
        command(on, **more)
    finally:
        on.api.close()
