"""The page on which a browser signs in, and the button with which it signs out."""

from urllib.parse import quote, urlsplit

from litestar import Response, get, post
from litestar.datastructures import State
from litestar.response import Redirect

from app.api.access import KeyRing
from app.api.parameters import Db
from app.api.problems import ApiRequest
from app.api.rate_limit import limit_by_address
from app.api.session import SIGN_INS_A_MINUTE, begin_session, check_page, end_session
from app.errors import KeyRequired
from app.web.forms import came_from, read_form
from app.web.rendering import page
from app.wire.session import MAX_KEY_LENGTH

SIGN_IN = "/sign-in"


def within(address: str) -> str:
    """Return an address if it leads to a page of ours, and else that of the first page."""
    parts = urlsplit(address)
    ours = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if ours and not parts.scheme and not parts.netloc and parts.path else "/"


def sign_in_first(request: ApiRequest, error: KeyRequired) -> Response[bytes] | Redirect:
    """Lead a browser without a session to the page where it signs in, and then back.

    A page of elsewhere that links here comes without the cookie, as that is SameSite=Strict: the
    browser is told to ask once more, now as from a page of ours.
    """
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        return page(request, "again.html")
    address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.method == "POST":  # the form is shown again, not sent
        address = came_from(request)
    over = "&over=1" if error.refused else ""
    back = f"?next={quote(address, safe='/')}{over}" if address != "/" or over else ""
    return Redirect(f"{SIGN_IN}{back}", status_code=303)


@get(SIGN_IN)
async def sign_in_page(request: ApiRequest, state: State) -> Response[bytes]:
    """Ask for an API key."""
    ring: KeyRing = state.key_ring
    return page(
        request,
        "sign_in.html",
        next=within(request.query_params.get("next", "/")),
        error="Your session is over." if "over" in request.query_params else "",
        any_key=await ring.has_any_key(),
    )


@post(SIGN_IN, status_code=200, middleware=[limit_by_address(SIGN_INS_A_MINUTE)])
async def sign_in(request: ApiRequest, db: Db, state: State) -> Response[bytes] | Redirect:
    """Begin a session, and show the page that was asked for."""
    check_page(request)
    form = await read_form(request)
    back = within(form["next"])
    try:
        _, cookie = await begin_session(request, db, state, form["key"][: MAX_KEY_LENGTH + 1])
    except KeyRequired:
        return page(
            request,
            "sign_in.html",
            status=401,
            next=back,
            error="This key is unknown, expired or revoked: `tocsin keys list` shows all.",
            any_key=True,
        )
    return Redirect(back, status_code=303, cookies=[cookie])


@post("/sign-out", status_code=303)
async def sign_out(request: ApiRequest, db: Db) -> Redirect:
    """End the session."""
    check_page(request)
    return Redirect(SIGN_IN, status_code=303, cookies=[await end_session(request, db)])
