"""`tocsin completion` and `tocsin version`."""

from importlib.metadata import version

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion of a shell: bash, zsh or fish.

    In bash: eval "$(tocsin completion bash)"
    """
    complete = get_completion_class(shell)
    assert complete is not None  # noqa: S101 - click knows these shells
    click.echo(complete(ctx.find_root().command, {}, "tocsin", "_TOCSIN_COMPLETE").source())


@click.command("version")
def print_version() -> None:
    """Print the version."""
    click.echo(version("tocsin"))
