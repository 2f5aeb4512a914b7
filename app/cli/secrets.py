"""`tocsin secrets`: sets, lists and deletes named secrets, and rotates the keys that encrypt."""

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import click
from msgspec import to_builtins

from app.cli.database import read_all, run_with_database, say_empty
from app.cli.remote.output import Output
from app.cli.remote.showing import local
from app.core.secrets.bindings import host_error
from app.core.secrets.references import MAX_VALUE_LENGTH, name_error
from app.db import Database
from app.db import secrets as stored
from app.errors import SecretKeysMissing
from app.vault import SecretKeys, of_secret
from app.vault.keys import NO_KEYS
from app.vault.rotate import Rotated, rotate
from app.wire.pages import SECRETS

T = TypeVar("T")


@click.group()
def secrets() -> None:
    """Set, list and delete the secrets that targets refer to as ${secret:NAME}.

    They are stored encrypted with the first key of TOCSIN_SECRET_KEYS.
    """


@secrets.command("set")
@click.argument("name")
@click.option("--host", "hosts", multiple=True, help="Send it to this host only; may be repeated.")
@click.option("--any-host", is_flag=True, help="Send it to any host; so it is unless bound.")
def set_secret(name: str, hosts: tuple[str, ...], any_host: bool) -> None:
    """Set the secret NAME to the text on stdin; on a terminal, the command asks for it.

    A host is api.example.com, *.example.com for all names below, an address, or one of these with
    scheme and port: https://api.example.com:8443. Without --host and --any-host, an existing secret
    keeps its hosts.

    One newline at the end is left out. The value is no argument, as all users of a machine can see
    the arguments of its commands.
    """
    if error := name_error(name):
        raise click.BadParameter(error, param_hint="NAME")
    if any_host and hosts:
        raise click.UsageError("give either --host or --any-host")
    for host in hosts:
        if error := host_error(host):
            raise click.BadParameter(error, param_hint="--host")
    bound_to = list(hosts) if hosts or any_host else None

    async def put(db: Database, keys: SecretKeys) -> bool:
        if not keys:
            raise SecretKeysMissing(NO_KEYS)  # before the value is asked for
        token = keys.encrypt(read_value(name), of_secret(name))
        _, is_new = await stored.put(db, name, token, hosts=bound_to)
        return is_new

    click.echo(f"{'created' if run(put) else 'changed'} {name}")


@secrets.command("list")
@local("NamedSecret")
def list_secrets(output: Output) -> None:
    """List the names, when each value was set, and the hosts that it may be sent to."""
    found = run(lambda db, _: read_all(partial(stored.list_page, db), SECRETS))
    if not found:
        say_empty("there is no named secret: `tocsin secrets set NAME` makes one")
    if output.is_asked_for:
        output.print_list([to_builtins(secret) for secret in found], ())
        return
    for secret in found:
        hosts = " ".join(secret.hosts) or "any host"
        click.echo(f"{secret.updated_at:%Y-%m-%d %H:%M}  {secret.name}  {hosts}")


@secrets.command()
@click.argument("name")
def delete(name: str) -> None:
    """Delete the secret NAME; jobs that refer to it fail until the secret is set again."""
    run(lambda db, _: stored.delete(db, name))
    click.echo(f"deleted {name}")


@secrets.command("rotate")
@click.option(
    "--unbound",
    is_flag=True,
    help="Also what development versions encrypted (encrypted.v1), which is good for any job: bind "
    "it to the job that has it. Once, while nobody else can write jobs.",
)
def rotate_keys(unbound: bool) -> None:
    """Encrypt everything with the first key, also what is in clear; safe to run at any time.

    Only when it says that all is done may the other keys be removed.
    """
    rotated = run(partial(rotate, unbound=unbound))
    click.echo(
        f"encrypted the secrets of {rotated.targets} targets and {rotated.secrets} named secrets "
        "with the first key"
    )
    if left := not_done(rotated):
        click.echo(f"tocsin: not all is done, keep the other keys: {'; '.join(left)}", err=True)
        sys.exit(1)
    click.echo("all is done: no other key is needed any more")


def not_done(rotated: Rotated) -> list[str]:
    """List what a rotation could not encrypt anew, and what to do about each."""
    left = {
        f"{rotated.undecrypted} cannot be decrypted, add their key to TOCSIN_SECRET_KEYS or, where "
        "they are copies of others, write their secrets anew": rotated.undecrypted,
        f"{rotated.unread} targets cannot be read or are of a kind that is not installed "
        "here": rotated.unread,
        f"{rotated.busy} are locked by others, run this again": rotated.busy,
    }
    return [text for text, count in left.items() if count]


def read_value(name: str) -> str:
    """Read the value of a secret from stdin, which may be a terminal.

    Raises:
        BadParameter: the value is empty or too long.
    """
    if sys.stdin.isatty():
        value = click.prompt(name, hide_input=True, confirmation_prompt=True)
    else:
        value = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not 1 <= len(value) <= MAX_VALUE_LENGTH:
        message = f"has to have 1 to {MAX_VALUE_LENGTH} characters; write it to stdin"
        raise click.BadParameter(message, param_hint="the value")
    return str(value)


def run(work: Callable[[Database, SecretKeys], Awaitable[T]]) -> T:
    """Run a coroutine function with the database and the secret keys that the settings name."""
    return run_with_database(
        lambda db, settings: work(db, SecretKeys(settings.secret_keys)),
        application_name="tocsin secrets",
    )
