"""`tocsin alerts`: who is told when jobs go wrong, and what was told."""

from collections.abc import Sequence
from typing import Any

import click

from app.cli.remote.api import address
from app.cli.remote.options import remote
from app.cli.remote.reading import read_fields
from app.cli.remote.remote import Remote

TOLD = ("at", "event", "job", "many", "rule", "channel", "delivery", "why")
RULES = ("name", "events", "after", "job", "tag", "channels", "told_jobs")
CHANNELS = ("name", "preset", "target.url", "updated_at")
NAME = click.argument("name")
FILE = click.option("-f", "--file", "path", help="Its fields in JSON or YAML; - reads stdin.")
SET = click.option("--set", "more", multiple=True, help="Any other field, as FIELD=VALUE.")


def rule_path(name: str) -> str:
    return address("alerts/rules", name)


def channel_path(name: str, *more: str) -> str:
    return address("alerts/channels", name, *more)


@click.group()
def alerts() -> None:
    """Say who is told when jobs go wrong, and read what was told."""


@alerts.command("list")
@click.option("--job", help="Those about this job, by id or name.")
@click.option("--rule", help="Those of this rule.")
@click.option("--limit", type=click.IntRange(min=1), default=50, help="So many at most; 50.")
@remote("ToldAlert")
def list_alerts(on: Remote, *, job: str | None, rule: str | None, limit: int) -> None:
    """List what was told, the latest first."""
    query = {"job": job, "rule": rule}
    on.print_pages("/v1/alerts", TOLD, query=query, limit=limit, empty="nothing was told")


@alerts.group()
def rules() -> None:
    """Read and set rules: what is told, of which jobs, to whom."""


@rules.command("list")
@remote("AlertRule")
def list_rules(on: Remote) -> None:
    """List the rules."""
    found = on.api.pages("/v1/alerts/rules", limit=None)
    on.output.print_list(found, RULES, empty="there are no rules: nobody is told of anything")


@rules.command("get")
@NAME
@remote("AlertRule")
def get_rule(on: Remote, *, name: str) -> None:
    """Read a rule."""
    on.output.print_one(on.api.call("GET", rule_path(name)))


@rules.command("set")
@NAME
@FILE
@click.option("--event", "events", multiple=True, help="What is told, such as failed.")
@click.option("--channel", "channels", multiple=True, help="By which channels.")
@click.option("--job", help="Of this job only, by id or name.")
@click.option("--tag", help="Of jobs with this tag only.")
@click.option("--after", type=int, help="Only after so many in a row.")
@SET
@remote("AlertRule", writes=True)
def set_rule(
    on: Remote,
    *,
    name: str,
    path: str | None,
    events: Sequence[str],
    channels: Sequence[str],
    more: Sequence[str],
    **given: Any,  # noqa: ANN401 - job, tag, after
) -> None:
    """Make a rule, or replace it.

    \b
    tocsin alerts rules set three --event failed --event recovered --after 3 --channel ops
    """  # noqa: D301 - a mark of click
    given |= {"events": list(events), "channels": list(channels)}
    on.confirm(f"set rule {name}")
    on.output.print_one(on.api.call("PUT", rule_path(name), body=read_fields(path, given, more)))


@rules.command("delete")
@NAME
@remote(None, writes=True)
def delete_rule(on: Remote, *, name: str) -> None:
    """Delete a rule. What it told stays on record."""
    on.confirm(f"delete rule {name}")
    on.api.call("DELETE", rule_path(name))


@alerts.group()
def channels() -> None:
    """Read, set and try channels: where messages go."""


@channels.command("list")
@remote("Channel")
def list_channels(on: Remote) -> None:
    """List the channels."""
    found = on.api.pages("/v1/alerts/channels", limit=None)
    on.output.print_list(found, CHANNELS, empty="there are no channels")


@channels.command("get")
@NAME
@remote("Channel")
def get_channel(on: Remote, *, name: str) -> None:
    """Read a channel."""
    on.output.print_one(on.api.call("GET", channel_path(name)))


@channels.command("set")
@NAME
@FILE
@click.option("--preset", help="What its messages look like, such as slack.")
@click.option("--url", help="Where they go; secrets by name, as ${secret:NAME}.")
@SET
@remote("Channel", writes=True)
def set_channel(
    on: Remote,
    *,
    name: str,
    path: str | None,
    preset: str | None,
    url: str | None,
    more: Sequence[str],
) -> None:
    """Make a channel, or replace it.

    \b
    tocsin alerts channels set ops --preset slack --url 'https://hooks.slack.com/${secret:slack}'
    """  # noqa: D301 - a mark of click
    given = {"preset": preset, "target": {"url": url} if url else None}
    on.confirm(f"set channel {name}")
    on.output.print_one(on.api.call("PUT", channel_path(name), body=read_fields(path, given, more)))


@channels.command("delete")
@NAME
@remote(None, writes=True)
def delete_channel(on: Remote, *, name: str) -> None:
    """Delete a channel."""
    on.confirm(f"delete channel {name}")
    on.api.call("DELETE", channel_path(name))


@channels.command("test")
@NAME
@remote("ToldAlert", writes=True)
def test_channel(on: Remote, *, name: str) -> None:
    """Send a message by a channel, to see whether that arrives."""
    on.confirm(f"send a message by {name}")
    on.output.print_one(on.api.call("POST", channel_path(name, "test")))
