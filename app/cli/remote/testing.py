"""`tocsin jobs test`: has the API send the target of a job once, without an execution."""

import sys

import click

from app.cli.remote.api import job_path
from app.cli.remote.options import remote
from app.cli.remote.remote import Remote


@click.command("test")
@click.argument("job")
@click.option("--timeout", type=float, help="So many seconds at most; the job's own, up to 20.")
@remote("TestedTarget", writes=True)
def test_job(on: Remote, *, job: str, timeout: float | None) -> None:
    """Send the target of a job once, now, and show the answer; no execution is recorded.

    Exits with 1 if the target does not succeed.
    """
    on.confirm(f"test {job}")
    body = {} if timeout is None else {"timeout_seconds": timeout}
    tested = on.api.call("POST", job_path(job, "test"), body=body)
    on.output.print_one(tested)
    if tested["outcome"] != "succeeded":
        sys.exit(1)
