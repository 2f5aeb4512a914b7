"""`tocsin login` and `tocsin context`: they keep contexts, and choose one."""

import sys
from contextlib import closing

import click

from app.cli.remote.api import Api
from app.cli.remote.contexts import Context, config_file, load, save
from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.output import Output
from app.cli.remote.showing import local


@click.command()
@click.argument("name", default="default")
@click.option("--url", help="Address of the API, such as https://tocsin.example.com.")
@click.option(
    "--key-stdin", is_flag=True, help="Read the key from stdin, where no terminal asks for it."
)
@click.option("--no-key", is_flag=True, help="The API has no keys yet.")
@click.option("--production", is_flag=True, help="Have commands that change something ask before.")
def login(*, name: str, url: str | None, key_stdin: bool, no_key: bool, production: bool) -> None:
    """Save the address and the key of an API as the context NAME.

    The key is asked for, and tried. The context is the current one from then on.
    """
    kept = load()
    if url is None and name in kept.contexts:
        url = kept.contexts[name].url
    if url is None:
        raise CommandFailed("which API is meant: give --url", exit_code=USAGE)
    key = None
    if key_stdin:
        key = sys.stdin.readline().strip()
    elif not no_key:
        if not sys.stdin.isatty():
            message = "there is no terminal to ask for the key on: give --key-stdin or --no-key"
            raise CommandFailed(message, exit_code=USAGE)
        key = click.prompt("Key", hide_input=True, err=True).strip()
    with closing(Api(url, key)) as api:
        api.call("GET", "/v1/stats")
    kept.contexts[name] = Context(name, url.rstrip("/"), key or None, production=production)
    kept.current = name
    save(kept)
    click.echo(f"{name} is {url.rstrip('/')} from now on, saved in {config_file()}", err=True)
    if api.is_exposed:
        click.echo("tocsin: the key goes over the network unencrypted: use https", err=True)


@click.group()
def context() -> None:
    """Choose which of several APIs is meant."""


@context.command("list")
@local("SavedContext")
def list_contexts(output: Output) -> None:
    """List the contexts; the current one has an asterisk."""
    kept = load()
    there = sorted(kept.contexts.values(), key=lambda one: one.name)
    if output.is_asked_for:
        output.print_list([one.shown(current=kept.current) for one in there], ())
        return
    for one in there:
        mark = "*" if one.name == kept.current else " "
        click.echo(f"{mark} {one.name}  {one.url}" + ("  production" if one.production else ""))
    if not kept.contexts:
        click.echo("there are no contexts: `tocsin login` makes one", err=True)


@context.command("use")
@click.argument("name")
def use_context(name: str) -> None:
    """Make a context the current one."""
    kept = load()
    kept.current = kept.named(name).name
    save(kept)


@context.command("remove")
@click.argument("name")
def remove_context(name: str) -> None:
    """Forget a context, and its key."""
    kept = load()
    del kept.contexts[kept.named(name).name]
    kept.current = None if kept.current == name else kept.current
    save(kept)
