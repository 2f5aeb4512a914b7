"""The commands of `tocsin`."""

import sys

import click

from app.cli.ends import asks_for_json, keep_standard_streams, told
from app.cli.lazy import LazyGroup
from app.cli.remote.errors import CommandFailed

COMMANDS = {
    "Jobs, by the API": {
        "jobs": ("app.cli.remote.jobs:jobs", "List, read, create, edit and run jobs."),
        "executions": (
            "app.cli.remote.executions:executions",
            "Read what jobs have done: each attempt, and each run that was missed.",
        ),
        "backfill": (
            "app.cli.remote.bulk:backfill",
            "Carry out the runs that a schedule has in a range of the past.",
        ),
        "upcoming": (
            "app.cli.remote.coming:upcoming",
            "List what runs next, of all jobs or of some, the earliest first.",
        ),
        "preview": (
            "app.cli.remote.plans:preview",
            "Say what a schedule comes to: its words, and its next runs.",
        ),
        "flows": (
            "app.cli.remote.flows:flows",
            "Read and set limits that jobs share: of concurrency, and of starts in a time.",
        ),
        "calendars": (
            "app.cli.remote.calendars:calendars",
            "Read and set calendars: time that jobs keep to, or avoid.",
        ),
        "maintenance": (
            "app.cli.remote.maintenance:maintenance",
            "Lay, list and end windows of maintenance, in which jobs do not run.",
        ),
        "pauses": (
            "app.cli.remote.pauses:pauses",
            "Pause a tag or everything, and end that.",
        ),
        "checks": (
            "app.cli.remote.checks:checks",
            "Read checks, which expect pings, and make the addresses for these.",
        ),
        "alerts": (
            "app.cli.remote.alerts:alerts",
            "Say who is told when jobs go wrong, and read what was told.",
        ),
        "bulk": ("app.cli.remote.bulk:bulk", "Watch and cancel changes of many jobs."),
        "mcp": (
            "app.cli.remote.agents:serve_tools",
            "Serve the API to an agent, by the Model Context Protocol on stdin and stdout.",
        ),
    },
    "Jobs in files": {
        "plan": (
            "app.cli.remote.sets:plan_files",
            "Say what files would change; nothing is written.",
        ),
        "apply": (
            "app.cli.remote.sets:apply_files",
            "Make all jobs as files have them, or change nothing.",
        ),
        "export": (
            "app.cli.remote.exporting:export",
            "Print jobs as files have them, of a set or of all.",
        ),
        "import": (
            "app.cli.remote.importing:import_jobs",
            "Make a file of jobs that are kept elsewhere; nothing is written but that.",
        ),
        "sets": ("app.cli.remote.sets:sets", "Read and forget sets: what files own."),
        "schema": (
            "app.cli.schema:print_schema",
            "Print the JSON Schema of the files, for editors.",
        ),
    },
    "Where the API is": {
        "login": (
            "app.cli.remote.login:login",
            "Save the address and the key of an API as the context NAME.",
        ),
        "context": ("app.cli.remote.login:context", "Choose which of several APIs is meant."),
    },
    "The service, on Postgres itself": {
        "dev": (
            "app.cli.services:dev",
            "Run everything on this machine: an embedded Postgres, the API and one instance.",
        ),
        "api": ("app.cli.services:api", "Serve the REST API."),
        "scheduler": (
            "app.cli.services:scheduler",
            "Run scheduler instances: one, or more with --processes; any number, on any machines.",
        ),
        "migrate": (
            "app.cli.upkeep:migrate_database",
            "Bring the database to the schema of this version; safe to run at any time.",
        ),
        "roles": (
            "app.cli.upkeep:make_roles",
            "Make the roles of Tocsin in Postgres, and grant each what it needs.",
        ),
        "prune": (
            "app.cli.upkeep:prune_database",
            "Do the upkeep now that instances do hourly, in short steps.",
        ),
        "doctor": (
            "app.cli.upkeep:examine_database",
            "Look at everything an operator would, and say what to do about it.",
        ),
        "keys": ("app.cli.keys:keys", "Make, list and revoke API keys."),
        "secrets": (
            "app.cli.secrets:secrets",
            "Set, list and delete the secrets that targets refer to as ${secret:NAME}.",
        ),
    },
    "This program": {
        "completion": (
            "app.cli.completion:completion",
            "Print the completion of a shell: bash, zsh or fish.",
        ),
        "version": ("app.cli.completion:print_version", "Print the version."),
    },
}


class Commands(LazyGroup):
    """The commands, which report each of Tocsin's own errors in one line.

    `obj` of the context is None, or what to write for `tocsin` in commands that an error names.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments, and whether errors are to be JSON."""
        CommandFailed.as_json = asks_for_json(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; report an error and exit with its code, unless it is a bug."""
        keep_standard_streams()
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            if not CommandFailed.as_json:
                raise
            CommandFailed(error.format_message(), exit_code=error.exit_code).write()
            sys.exit(error.exit_code)
        except (click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # noqa: BLE001 - raised again if it is a bug
            sys.exit(told(error, command=ctx.obj))


@click.group(cls=Commands, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tocsin", message="%(version)s", help="Print the version.")
def main() -> None:
    """Tocsin calls other services at exact times, from jobs kept in Postgres.

    Settings of the service are environment variables that start with TOCSIN_; see
    docs/configuration.md. Commands that use the API find it by TOCSIN_URL and TOCSIN_API_KEY, or by
    what `tocsin login` saved; see docs/cli.md.
    """
