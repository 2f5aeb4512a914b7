"""`tocsin keys`: makes, lists and revokes API keys."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import click
from msgspec import to_builtins

from app.cli.database import read_all, run_with_database, say_empty
from app.cli.remote.output import Output
from app.cli.remote.showing import local
from app.core.access.api_key import RANDOM_BYTES, Scope, issue
from app.core.access.key_limits import KeyLimits, in_words
from app.core.jobs.job import HUNDRED_YEARS
from app.core.schedule.duration import duration_seconds
from app.db import Database
from app.db import keys as stored
from app.errors import InvalidInput
from app.wire.keys import ApiKey, limits_of
from app.wire.pages import KEYS

T = TypeVar("T")

FIRST = (
    "It is the first key: from now on every caller needs one, the dashboard and programs on this "
    "machine as well, also once it is revoked."
)
ADMIN = "`tocsin keys create NAME --scope admin` makes one that may do everything."


class Duration(click.ParamType[float]):
    """A parameter that is a duration in days, hours, minutes and seconds, such as 90d or 12h."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the duration in seconds."""
        days, found, rest = str(value).rpartition("d")
        try:
            seconds = int(days) * 86_400.0 if found else 0.0
            seconds += duration_seconds(rest, field="") if rest or not found else 0.0
        except (InvalidInput, ValueError):
            self.fail(f"{value!r} is no duration; write 90d, 12h or 1d12h", param, ctx)
        if not 0 < seconds <= HUNDRED_YEARS:
            self.fail(f"{value!r} is out of range; write up to 36500d", param, ctx)
        return seconds


@click.group()
def keys() -> None:
    """Make, list and revoke API keys.

    From the first key on, every request to the API needs one.
    """


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What it allows: write includes read, admin both. May be repeated.",
)
@click.option("--expires-in", type=Duration(), help="Such as 90d or 12h; else it never expires.")
@click.option("--max-jobs", type=int, help="How many of the jobs that exist it may have made.")
@click.option("--min-interval", type=Duration(), help="The shortest from run to run, such as 5m.")
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    help="Its jobs may send to this host, or *.example.com, only; may be repeated.",
)
@click.option(
    "--default-ends-in",
    type=Duration(),
    help="Its recurring jobs end so long after they begin, where they say nothing else.",
)
def create(
    *,
    name: str,
    scopes: Sequence[str],
    expires_in: float | None,
    max_jobs: int | None,
    min_interval: float | None,
    allowed_hosts: tuple[str, ...],
    default_ends_in: float | None,
) -> None:
    """Make a key called NAME and print it, once.

    A program that writes jobs by itself gets limits, which are the key's for good. One with the
    scope admin can have none.
    """
    limits = KeyLimits(
        max_jobs=max_jobs,
        min_interval_seconds=min_interval,
        allowed_hosts=allowed_hosts or None,
        default_ends_in_seconds=default_ends_in,
    )
    key = issue(secrets.token_bytes(RANDOM_BYTES))

    async def create_it(db: Database) -> bool:
        there_were = (await stored.read_valid(db)).any_key
        await stored.create(
            db,
            key,
            name=name,
            scopes=[Scope(scope) for scope in scopes],
            expires_in_seconds=expires_in,
            limits=limits,
        )
        return not there_were

    is_first = run(create_it)
    click.echo(key.key)
    click.echo("This is shown once. Send it as Authorization: Bearer KEY.", err=True)
    if is_first:
        click.echo(FIRST if Scope.ADMIN in scopes else f"{FIRST} {ADMIN}", err=True)


@keys.command("list")
@local("ApiKey")
def list_keys(output: Output) -> None:
    """List all keys, newest first, without their secret part."""
    now = datetime.now(UTC)
    found = run(lambda db: read_all(partial(stored.list_page, db), KEYS))
    if not found:
        say_empty("there is no API key: `tocsin keys create NAME --scope admin` makes one")
    if output.is_asked_for:
        output.print_list([to_builtins(key) for key in found], ())
        return
    for key in found:
        click.echo("  ".join((key.prefix, f"{','.join(key.scopes):<16}", *standing(key, now))))


@keys.command()
@click.argument("key")
def revoke(key: str) -> None:
    """Revoke the key with this prefix or name; all API processes follow within seconds."""

    async def find_and_revoke(db: Database) -> ApiKey:
        found = await stored.find(db, key)
        await stored.revoke(db, found)
        return found

    click.echo(f"revoked {run(find_and_revoke).prefix}")


def standing(key: ApiKey, now: datetime) -> tuple[str, str, str]:
    """Return the last columns of a key: whether it is valid, when it was last used, its name."""
    if key.revoked_at is not None:
        state = f"revoked {shown(key.revoked_at)}"
    elif key.expires_at is None:
        state = "does not expire"
    else:
        state = f"{'expired' if key.expires_at <= now else 'expires'} {shown(key.expires_at)}"
    used = f"used {shown(key.last_used_at)}" if key.last_used_at else "never used"
    limits = ", ".join(in_words(limits_of(key)))
    return f"{state:<26}", f"{used:<21}", f"{key.name}  ({limits})" if limits else key.name


def shown(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M}"


def run(work: Callable[[Database], Awaitable[T]]) -> T:
    """Run a coroutine function with a connection to the database that the settings name."""
    return run_with_database(lambda db, _: work(db), application_name="tocsin keys")
