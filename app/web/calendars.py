"""The page of calendars: what each is made of, the time that it has next, and who uses it."""

from litestar import Response, get
from litestar.params import FromQuery

from app.api.parameters import Clock
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.db import calendars
from app.web.parameters import ON_A_PAGE, Reader
from app.web.rendering import page
from app.wire.pages import CALENDARS


@get("/calendars", opt={"scope": Scope.READ})
async def calendars_page(
    request: ApiRequest, reader: Reader, clock: Clock, cursor: FromQuery[str | None] = None
) -> Response[bytes]:
    """List the calendars by name."""
    found = await calendars.list_page(reader, after=CALENDARS.read(cursor), limit=ON_A_PAGE)
    return page(
        request,
        "calendars.html",
        listed=found.items,
        following=CALENDARS.after(found.items, more=found.more),
        cursor=cursor,
        at=await clock.now(),
    )
