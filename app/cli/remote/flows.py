"""`tocsin flows`: limits that jobs share."""

import click

from app.cli.remote.api import address
from app.cli.remote.instants import instant_given
from app.cli.remote.options import remote
from app.cli.remote.reading import is_given
from app.cli.remote.remote import Remote

COLUMNS = (
    "flow_key",
    "max_concurrency",
    "rate",
    "period_seconds",
    "executing",
    "waiting",
    "paused",
)
KEY = click.argument("key")


def path_of(key: str, *more: str) -> str:
    return address("flows", key, *more)


@click.group()
def flows() -> None:
    """Read and set limits that jobs share: of concurrency, and of starts in a time."""


@flows.command("list")
@remote("Flow")
def list_flows(on: Remote) -> None:
    """List the flows that have limits."""
    found = on.api.pages("/v1/flows", limit=None)
    on.output.print_list(found, COLUMNS, empty="no flow has limits")


@flows.command("get")
@KEY
@remote("Flow")
def get_flow(on: Remote, *, key: str) -> None:
    """Read a flow: its limits, and how many executions it has."""
    on.output.print_one(on.api.call("GET", path_of(key)))


@flows.command("set")
@KEY
@click.option("--max-concurrency", type=int, help="Executions at the same time.")
@click.option("--rate", type=int, help="Starts in any --period.")
@click.option("--period", "period_seconds", type=float, help="Seconds of the rate; 1.")
@click.option("--burst", type=int, help="Starts in --period * burst / rate.")
@click.option("--paused", is_flag=True, help="Have its jobs wait.")
@remote("Flow", writes=True)
def set_flow(on: Remote, *, key: str, **given: object) -> None:
    """Set the limits of a flow; those left out are none. A key with * is a pattern."""
    on.confirm(f"set the limits of {key}")
    limits = {name: one for name, one in given.items() if is_given(one)}
    on.output.print_one(on.api.call("PUT", path_of(key), body=limits))


@flows.command("pause")
@KEY
@click.option("--reason", help="Why, for those who wonder later.")
@click.option("--until", help="When it is resumed by itself.")
@remote("Flow", writes=True)
def pause_flow(on: Remote, *, key: str, reason: str | None, until: str | None) -> None:
    """Have the jobs of a flow wait; its limits stay. A key with * is a pattern."""
    given = {"reason": reason, "until": instant_given(until, "--until")}
    on.confirm(f"pause {key}")
    wanted = {name: one for name, one in given.items() if one is not None}
    on.output.print_one(on.api.call("POST", path_of(key, "pause"), body=wanted))


@flows.command("resume")
@KEY
@remote("Flow", writes=True)
def resume_flow(on: Remote, *, key: str) -> None:
    """Let the jobs of a paused flow start again, as far as its limits allow."""
    on.confirm(f"resume {key}")
    on.output.print_one(on.api.call("POST", path_of(key, "resume")))


@flows.command("delete")
@KEY
@remote(None, writes=True)
def delete_flow(on: Remote, *, key: str) -> None:
    """Take the limits of a flow away."""
    on.confirm(f"delete the limits of {key}")
    on.api.call("DELETE", path_of(key))


@flows.command("release")
@KEY
@remote("Flow", writes=True)
def release_flow(on: Remote, *, key: str) -> None:
    """Let jobs start that wait since their target asked for a pause, by 429 or 503."""
    on.confirm(f"release {key}")
    on.output.print_one(on.api.call("POST", path_of(key, "release")))
