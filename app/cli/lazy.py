"""A group of commands, each of which is imported when it is called."""

from importlib import import_module
from typing import Any

import click
from click import Command, Context, HelpFormatter


class LazyGroup(click.Group):
    """A group whose help needs none of its commands, only the line that it has for each.

    `lazy`: by the name of a command, `module:name` and the first sentence of its help, by section.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - as click's own
        lazy: dict[str, dict[str, tuple[str, str]]],
        **more: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **more)
        self.sections = lazy
        self.lazy = {name: one for section in lazy.values() for name, one in section.items()}

    def list_commands(self, ctx: Context) -> list[str]:
        """Name all commands, in the order of their sections."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """Import a command."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, _, name = self.lazy[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, Command)  # noqa: S101 - for mypy
        return command

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the commands with a line for each, by section."""
        width = max(map(len, self.lazy))
        for section, commands in self.sections.items():
            with formatter.section(section):
                formatter.write_dl(
                    [(name.ljust(width), said) for name, (_, said) in commands.items()]
                )
