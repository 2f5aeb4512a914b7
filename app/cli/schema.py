"""`tocsin schema`: the JSON Schema of files with jobs."""

import json

import click


@click.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of the files, for editors.

    \b
    tocsin schema > jobs.schema.json
    """  # noqa: D301 - a mark of click
    from app.jobs.set_schema import set_schema

    click.echo(json.dumps(set_schema(), indent=2))
