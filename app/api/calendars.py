"""Named calendars: set, list, read, delete."""

import asyncio
from functools import partial
from typing import Annotated

from litestar import Response, delete, get, put
from litestar.params import PathParameter

from app.api.body import decode_body
from app.api.parameters import Clock, Cursor, Db, Limit
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.core.jobs.names import calendar_name_error
from app.core.schedule.calendars import work_out
from app.db import calendars
from app.errors import FieldError, InvalidInput
from app.wire.calendars import Calendar, CalendarDocument, CalendarPage
from app.wire.pages import CALENDARS

Name = Annotated[
    str, PathParameter(description="What jobs call the calendar, such as business-hours.")
]


@put(
    "/{name:str}",
    operation_id="putCalendar",
    summary="Set a calendar",
    opt={
        "scope": Scope.WRITE,
        "body": CalendarDocument,
        "also": (201,),
        "problems": (400, 409, 413, 415, 422),
    },
)
async def put_calendar(request: ApiRequest, db: Db, clock: Clock, name: Name) -> Response[Calendar]:
    """It counts for every run that comes due from now on; what waits for its times is replanned."""
    if error := calendar_name_error(name):
        raise InvalidInput(FieldError(field="name", message=error))
    given = await decode_body(request, CalendarDocument)
    if errors := [*given.errors()]:
        raise InvalidInput(*errors)
    # In a thread, as rules and events may take seconds.
    spans = await asyncio.to_thread(partial(work_out, given.rules(), now=await clock.now()))
    is_new = await calendars.put(db, name, given, spans)
    return Response(await calendars.find(db, name), status_code=201 if is_new else 200)


@get("/", operation_id="listCalendars", summary="List calendars", opt={"scope": Scope.READ})
async def list_calendars(db: Db, limit: Limit = 50, cursor: Cursor = None) -> CalendarPage:
    """By name, each with the time that it has next."""
    page = await calendars.list_page(db, after=CALENDARS.read(cursor), limit=limit)
    return CalendarPage(items=page.items, next_cursor=CALENDARS.after(page.items, more=page.more))


@get(
    "/{name:str}",
    operation_id="getCalendar",
    summary="Read a calendar",
    opt={"scope": Scope.READ, "problems": (404,)},
)
async def get_calendar(db: Db, name: Name) -> Calendar:
    """Also how many jobs use it."""
    return await calendars.find(db, name)


@delete(
    "/{name:str}",
    operation_id="deleteCalendar",
    summary="Delete a calendar",
    opt={"scope": Scope.WRITE, "problems": (404, 409)},
)
async def delete_calendar(db: Db, name: Name) -> None:
    """One that jobs, or windows of maintenance, use is refused, and the answer says which."""
    await calendars.delete(db, name)
