"""`tocsin export`: jobs as files have them."""

from collections.abc import Iterable, Iterator
from typing import Any

import click

from app.cli.remote.api import address, job_path
from app.cli.remote.errors import NOT_FOUND, CommandFailed
from app.cli.remote.jobs import filters
from app.cli.remote.options import remote
from app.cli.remote.remote import Remote

ENDED = ("finished", "failed")
ADDRESSES = {
    "calendar": "calendars",
    "flow": "flows",
    "channel": "alerts/channels",
    "rule": "alerts/rules",
}
"""Where what belongs to jobs is, by its kind."""


@click.command("export")
@filters
@click.option("--set", "set_name", help="What belongs to this set; else all that the filters find.")
@remote(None)
def export(on: Remote, *, set_name: str | None, **found_by: Any) -> None:  # noqa: ANN401
    """Print jobs as files have them, of a set or of all.

    \b
    tocsin export --set billing > billing.yaml
    tocsin export --tag billing > billing.yaml

    A plan of what is exported is empty. A secret that is written out in a job reads ***, which in a
    file means: as it is.
    """  # noqa: D301 - a mark of click
    exporting = Exporting(on)
    document = exporting.of_set(set_name) if set_name else exporting.of_all(found_by)
    for line in exporting.notes:
        click.echo(f"tocsin: {line}", err=True)
    if on.output.is_table:
        on.output.format = "yaml"
        click.echo(f"# yaml-language-server: $schema={on.context.url}/schemas/jobs.schema.json")
    on.output.print_document(document)


class Exporting:
    """What is exported so far, and what one has to know about it."""

    def __init__(self, on: Remote) -> None:
        self.on = on
        self.notes: list[str] = []

    def __repr__(self) -> str:
        return f"<Exporting from {self.on.context.url}>"

    def of_set(self, name: str) -> dict[str, Any]:
        """Export what belongs to a set."""
        members = self.on.api.call("GET", address("sets", name))["members"]
        there = [(one["kind"], one["name"]) for one in members if not one["removed_at"]]
        jobs = self.found(job_path(name) for kind, name in there if kind == "job")
        document = {"set": name, "jobs": dict(self.jobs(jobs))}
        for kind, path in ADDRESSES.items():
            names = [one for each, one in there if each == kind]
            found = self.found(address(path, one) for one in names)
            document[f"{kind}s"] = self.others(kind, found)
        return {section: one for section, one in document.items() if one}

    def found(self, paths: Iterable[str]) -> Iterator[Any]:
        """Read what is at some addresses; what somebody deleted, or renamed, is left out."""
        for path in paths:
            try:
                yield self.on.api.call("GET", path)
            except CommandFailed as failure:
                if failure.exit_code != NOT_FOUND:
                    raise
                self.notes.append(f"left out: {path}, which is gone")

    def of_all(self, found_by: dict[str, Any]) -> dict[str, Any]:
        """Export the jobs that filters find; without any, also what belongs to jobs."""
        given = {name: one for name, one in found_by.items() if one}
        found = self.on.api.pages("/v1/jobs", query=given, limit=None)
        document: dict[str, Any] = {"set": "exported", "jobs": dict(self.jobs(found))}
        self.notes.append("write the name of your set in place of `exported`")
        if not given:
            for kind, path in ADDRESSES.items():
                document[f"{kind}s"] = self.others(
                    kind, self.on.api.pages(f"/v1/{path}", limit=None)
                )
        return {section: one for section, one in document.items() if one}

    def jobs(self, found: Any) -> Iterator[tuple[str, dict[str, Any]]]:  # noqa: ANN401
        """Export jobs, each by its name."""
        from app.core.sets.written import written_job

        for job in sorted(found, key=lambda one: one["name"] or ""):
            if not job["name"]:
                self.notes.append(f"left out: the job {job['id']}, which has no name")
            elif job["run_at"] and job["state"] in ENDED:
                self.notes.append(f"left out: {job['name']}, which ran once and is over")
            else:
                if "***" in str(job["target"]):
                    self.notes.append(f"{job['name']} has a secret written out: it reads ***")
                yield job["name"], written_job(job)

    def others(self, kind: str, found: Any) -> dict[str, Any]:  # noqa: ANN401
        """Export calendars and the like, each by its name."""
        from app.core.sets.written import written
        from app.wire.alerts import ChannelDocument, RuleDocument
        from app.wire.calendars import CalendarDocument
        from app.wire.flows import FlowLimits

        types: dict[str, Any] = {
            "calendar": CalendarDocument,
            "flow": FlowLimits,
            "channel": ChannelDocument,
            "rule": RuleDocument,
        }
        kept = (one for one in found if kind != "flow" or one["created_at"])
        return {one.get("name") or one["flow_key"]: written(types[kind], one) for one in kept}
