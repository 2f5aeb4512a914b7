"""`tocsin schema`: the JSON Schema of files with jobs."""

import json

import click


@click.command("schema")
def print_schema() -> None:
    r"""Print the JSON Schema of the files, for editors.

    \b
    tocsin schema > jobs.schema.json
    """
    from app.jobs.set_schema import set_schema

    click.echo(json.dumps(set_schema(), indent=2))
