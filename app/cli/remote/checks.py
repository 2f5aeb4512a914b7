"""`tocsin checks`: jobs that expect a ping, and the addresses for these."""

import click

from app.cli.remote.api import address
from app.cli.remote.options import remote
from app.cli.remote.remote import Remote

JOB = click.argument("job")


def path_of(job: str, *more: str) -> str:
    return address("checks", job, *more)


@click.group()
def checks() -> None:
    """Read checks, which expect pings, and make the addresses for these."""


@checks.command("get")
@JOB
@remote("Check")
def get_check(on: Remote, *, job: str) -> None:
    """Read how a check stands."""
    on.output.print_one(on.api.call("GET", path_of(job)))


@checks.command("token")
@JOB
@click.option("--revoke", is_flag=True, help="Have the address lead nowhere.")
@remote("CheckAddress", writes=True)
def make_token(on: Remote, *, job: str, revoke: bool) -> None:
    """Make the address for the pings of a check; it is shown this once.

    The one before leads nowhere from then on.
    """
    on.confirm(f"replace the address of {job}")
    if revoke:
        on.api.call("DELETE", path_of(job, "token"))
        return
    on.output.print_one(on.api.call("POST", path_of(job, "token")))
