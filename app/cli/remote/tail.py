"""Follows executions as they end."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from app.cli.remote.api import Api
from app.cli.remote.errors import UNREACHABLE, CommandFailed
from app.cli.remote.instants import instant_of

ASK_SECONDS = 1.0
"""The pause between two questions."""
OVERLAP = timedelta(seconds=10)
"""How long before the latest end that is known one may have been recorded only since then."""
EXECUTIONS = "/v1/executions"


class Tail:
    """The executions that end from now on, or from an instant on, those of one look at a time.

    They are told in the order of their ends: their ids are drawn when they begin, so that one which
    takes long has a lower id than others that ended before it.
    """

    def __init__(self, api: Api, query: dict[str, Any]) -> None:
        self.api = api
        self.query = query
        self.begin = instant_of(query["from"], "--from") if query.get("from") else None
        self.since = self.begin
        """The latest end that is known."""
        self.told: dict[int, datetime] = {}
        """When those ended that were told and may be found again, by their ids."""

    def __repr__(self) -> str:
        return f"<Tail since {self.since}>"

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        """Yield what has ended since the last look; looks without any are left out.

        Raises:
            CommandFailed: the API refused, or did not answer the first question.
        """
        if self.since is None:
            newest = self.api.call("GET", EXECUTIONS, query={"limit": 1})["items"]
            self.since = min(ended(newest[0]), datetime.now(UTC)) if newest else None
            self.look()  # which are told already
        is_away, has_answered = False, self.begin is None
        while True:
            try:
                found = self.look()
            except CommandFailed as failure:
                if failure.exit_code != UNREACHABLE or not has_answered:
                    raise
                if not is_away:
                    click.echo(f"{failure}: going on once it does", err=True)
                is_away, found = True, []
            else:
                is_away, has_answered = False, True
            if found:
                yield found
            time.sleep(ASK_SECONDS)

    def look(self) -> list[dict[str, Any]]:
        """Return what was not told yet, the earliest end first."""
        query = dict(self.query)
        if self.since:
            begin = self.since - OVERLAP
            query["from"] = max(begin, self.begin or begin).isoformat()
        found = [
            one
            for one in self.api.pages(EXECUTIONS, query=query, limit=None)
            if one["id"] not in self.told
        ]
        found.sort(key=ended)
        for one in found:
            self.told[one["id"]] = ended(one)
        if found:
            # A clock that was ahead for a while must not hide what ends before that time comes.
            last = min(ended(found[-1]), datetime.now(UTC))
            self.since = max(self.since or last, last)
            kept = self.since - 2 * OVERLAP
            self.told = {id: at for id, at in self.told.items() if at >= kept}
        return found


def ended(execution: dict[str, Any]) -> datetime:
    """Return when an execution ended."""
    return datetime.fromisoformat(execution["finished_at"])
