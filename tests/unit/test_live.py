"""The live parts of pages of jobs, as streams come and go."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from litestar.datastructures import State
from markupsafe import Markup

from app.api.access import Caller
from app.api.events import stream_events
from app.api.problems import ApiRequest
from app.api.streams import Streams
from app.errors import TooManyStreams
from app.web.cells import Cell, Cells, cell
from app.web.live import Part, live_of_job, versions_for

JOB = UUID("6f1c9a52-0d53-4d0c-9d0e-3a8f6d1c5b07")


async def test_the_part_of_a_job_is_kept_only_while_a_stream_shows_it() -> None:
    ended: list[UUID] = []

    def watch(id: UUID) -> Part:
        async def read() -> str:
            return f"<p>{id}</p>"

        async def end() -> None:
            ended.append(id)

        return Part(read, end=end)

    streams = Streams(most=3)
    state = State(
        {
            "job_parts": {},
            "watch": watch,
            "ending": asyncio.Event(),
            "streams": streams,
            "feed": None,
        }
    )
    caller = Caller(actor="key a", limited_as="a", scopes=frozenset())
    scope: Any = {"type": "http", "method": "GET", "headers": [], "user": caller}
    request: ApiRequest = ApiRequest(scope)

    never_begun = await live_of_job.fn(request, state, id=JOB)  # whose client is gone already
    assert state.job_parts == {}

    begun = [(await live_of_job.fn(request, state, id=JOB)).iterator for _ in range(2)]
    for stream in begun:
        await anext(stream)
        assert str(JOB) in (await anext(stream)).decode()
    assert state.job_parts[JOB].streams == 2
    for more in (live_of_job.fn(request, state, id=JOB), stream_events.fn(request, state)):
        with pytest.raises(TooManyStreams):
            await more

    await begun[0].aclose()
    assert state.job_parts[JOB].streams == 1
    await begun[1].aclose()
    await never_begun.iterator.aclose()
    assert (state.job_parts, ended) == ({}, [JOB])


@pytest.mark.parametrize("text", ["------\nx: y\n", "------\rx: y\r", "é" * 12])
@pytest.mark.parametrize("is_header", [True, False])
async def test_what_is_no_version_of_ours_gets_into_no_stream(
    text: str, *, is_header: bool
) -> None:
    async def make() -> list[Cell]:
        return [cell("a", Markup("1")), cell("b", None)]

    headers = [(b"last-event-id", text.encode("latin-1"))] if is_header else []
    scope: Any = {"type": "http", "method": "GET", "headers": headers}
    state = State({"ending": asyncio.Event()})
    given = versions_for(ApiRequest(scope), state, Cells(make), has="" if is_header else text)
    await anext(given)
    told = (await anext(given)).decode()
    await given.aclose()

    first, second, *rest = told.split("\n")
    assert first == f"id: {cell('a', Markup('1')).digest}------"
    assert (second.partition(" ")[0], rest) == ("data:", ["", ""])
